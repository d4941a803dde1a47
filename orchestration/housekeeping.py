"""Remove what the house needs no more."""

import fcntl
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from orchestration.house import LOCK, Edition
from orchestration.kept import HOUSE
from orchestration.store import JobStore
from products.catalogue import Catalogue, InvalidConfiguration, catalogue_of, read_configuration
from products.errors import ProductError
from products.nations import NATIONS

_log = logging.getLogger(__name__)

_AGE = 86_400.0
"""Seconds that a folder of the house stays at least: an order may be about to get what lies in it."""


def sweep_house(results: Path, store: JobStore, config: Path) -> None:
    """Remove the folders made from products as they are no more, unless a result names them or they are young.

    Nothing is removed while the configuration or a product cannot be read, as it then says nothing of what is current.
    """
    folders = [folder for folder in (results / HOUSE).glob("*") if time.time() - folder.stat().st_mtime > _AGE]
    if not folders:
        return
    try:
        needed = set(_current(catalogue_of(read_configuration(config))))
    except (InvalidConfiguration, ProductError) as error:
        _log.warning("the house is not swept: %s", error)
        return
    needed |= {Path(path).parts[1] for path in store.kept_paths() if path.startswith(f"{HOUSE}/")}
    for folder in folders:
        if folder.name not in needed:
            _remove(folder)


def _current(catalogue: Catalogue) -> Iterator[str]:
    for product in catalogue.products:
        yield Edition(product, "Raster").key()
        for nation in NATIONS:
            yield Edition(product, "Raster", nation).key()
            if product.vector is not None:
                yield Edition(product, "Vector", nation).key()


def _remove(folder: Path) -> None:
    """Remove a folder of the house unless something is being made in it."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(folder)
    _log.info("house folder removed: %s", folder.name)
