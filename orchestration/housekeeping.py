"""Remove prebuilt files that are no longer needed, and incomplete files of killed processes."""

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from orchestration.files.results import is_old
from orchestration.files.usage import allocated
from orchestration.lock import try_all
from orchestration.prebuilt.product import LOCKS, PrebuiltProduct
from orchestration.prebuilt.record import PREBUILT_FOLDER
from orchestration.store import JobStore
from products.catalogue import Catalogue, InvalidConfiguration, catalogue_of, read_configuration
from products.errors import ProductError
from products.nations import NATIONS
from products.whole import is_draft

_log = logging.getLogger(__name__)


def sweep_prebuilt(results: Path, store: JobStore, config: Path) -> None:
    """Remove prebuilt folders of outdated products, unless a result uses them or they are less than a day old.

    An order may be about to use a new one. Incomplete files are removed from every folder. No folder is removed while
    the configuration or a product cannot be read, as the current products are then unknown.
    """
    prebuilt = _folders(results)
    for stray in set((results / PREBUILT_FOLDER).glob("*")).difference(prebuilt):
        stray.unlink()
    old = [folder for folder in prebuilt if is_old(folder)]
    for folder in prebuilt:
        _locked(folder, _remove_incomplete)
    if not old:
        return
    try:
        needed = set(_current(catalogue_of(read_configuration(config))))
    except (InvalidConfiguration, ProductError) as error:
        _log.warning("outdated prebuilt files are not removed: %s", error)
        return
    needed |= _named(store)
    for folder in old:
        if folder.name not in needed:
            _locked(folder, _remove)


def spare_prebuilt(results: Path, store: JobStore, cap: int | None) -> None:
    """Remove the largest prebuilt folders that no result uses while the results have reached the cap.

    Prebuilt files do not expire, so they would otherwise fill the cap and block every order. A later order makes them
    again. A folder less than a day old is kept, as an order may be about to use it.
    """
    if cap is None or allocated(results) < cap:
        return
    named = _named(store)
    spare = [folder for folder in _folders(results) if folder.name not in named and is_old(folder)]
    for folder in sorted(spare, key=allocated, reverse=True):
        _locked(folder, _remove)
        if allocated(results) < cap:
            return


def _folders(results: Path) -> list[Path]:
    return [entry for entry in (results / PREBUILT_FOLDER).glob("*") if entry.is_dir() and not entry.is_symlink()]


def _named(store: JobStore) -> set[str]:
    """Return the folders that results use which have not expired."""
    return {Path(path).parts[1] for path in store.stored_paths() if path.startswith(f"{PREBUILT_FOLDER}/")}


def _current(catalogue: Catalogue) -> Iterator[str]:
    for product in catalogue.products:
        yield PrebuiltProduct(product, "Raster").key()
        for nation in NATIONS:
            yield PrebuiltProduct(product, "Raster", nation).key()
            if product.vector is not None:
                yield PrebuiltProduct(product, "Vector", nation).key()


def _locked(folder: Path, act: Callable[[Path], None]) -> None:
    """Call `act` on a prebuilt folder unless a process is writing in it."""
    with ExitStack() as stack:
        if try_all(stack, *(folder / lock for lock in LOCKS)):
            act(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)
    _log.info("prebuilt folder removed: %s", folder.name)


def _remove_incomplete(folder: Path) -> None:
    """Remove everything except files with a record, and their records."""
    names = {entry.name for entry in folder.iterdir()}
    whole = {name for name in names if f"{name}.json" in names}
    for name in names.difference(whole, {f"{name}.json" for name in whole}, LOCKS):
        (folder / name).unlink()
        _log.info("incomplete file removed: %s/%s", folder.name, name)


def sweep_drafts(folders: Iterable[Path]) -> None:
    """Remove drafts of atomically written files that killed processes left, once they are a day old."""
    for folder in folders:
        for draft in folder.glob(".*.part*"):
            if is_draft(draft.name) and is_old(draft):
                draft.unlink()
                _log.info("incomplete file removed: %s", draft)
