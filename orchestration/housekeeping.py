"""Remove prebuilt files that are not needed any more, and what killed processes left half-written."""

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
    """Remove the folders made from products as they are no more, unless a result names them or they are young.

    An order may be about to get what lies in a young one. What is half-written goes from every folder. No folder goes
    while the configuration or a product cannot be read, as it then says nothing of what is current.
    """
    rooms = _rooms(results)
    for stray in set((results / PREBUILT_FOLDER).glob("*")).difference(rooms):
        stray.unlink()
    folders = [folder for folder in rooms if is_old(folder)]
    for folder in rooms:
        _alone_in(folder, _remove_halves)
    if not folders:
        return
    try:
        needed = set(_current(catalogue_of(read_configuration(config))))
    except (InvalidConfiguration, ProductError) as error:
        _log.warning("prebuilt files are not swept: %s", error)
        return
    needed |= _named(store)
    for folder in folders:
        if folder.name not in needed:
            _alone_in(folder, _remove)


def spare_prebuilt(results: Path, store: JobStore, cap: int | None) -> None:
    """Remove the largest folders that no result names while all results together have reached the cap.

    They do not expire, so without this they would fill the cap and every order would wait. What is ordered again
    is made again; a young folder stays, as an order may be about to get what lies in it.
    """
    if cap is None or allocated(results) < cap:
        return
    named = _named(store)
    spare = [room for room in _rooms(results) if room.name not in named and is_old(room)]
    for room in sorted(spare, key=allocated, reverse=True):
        _alone_in(room, _remove)
        if allocated(results) < cap:
            return


def _rooms(results: Path) -> list[Path]:
    return [entry for entry in (results / PREBUILT_FOLDER).glob("*") if entry.is_dir() and not entry.is_symlink()]


def _named(store: JobStore) -> set[str]:
    """Return the folders that a result names whose time has not ended."""
    return {Path(path).parts[1] for path in store.kept_paths() if path.startswith(f"{PREBUILT_FOLDER}/")}


def _current(catalogue: Catalogue) -> Iterator[str]:
    for product in catalogue.products:
        yield PrebuiltProduct(product, "Raster").key()
        for nation in NATIONS:
            yield PrebuiltProduct(product, "Raster", nation).key()
            if product.vector is not None:
                yield PrebuiltProduct(product, "Vector", nation).key()


def _alone_in(folder: Path, act: Callable[[Path], None]) -> None:
    """Do something with a folder of prebuilt files unless something is being made in it."""
    with ExitStack() as stack:
        if try_all(stack, *(folder / lock for lock in LOCKS)):
            act(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)
    _log.info("prebuilt folder removed: %s", folder.name)


def _remove_halves(folder: Path) -> None:
    """Remove what is neither a file with its record nor such a record."""
    names = {entry.name for entry in folder.iterdir()}
    whole = {name for name in names if f"{name}.json" in names}
    for name in names.difference(whole, {f"{name}.json" for name in whole}, LOCKS):
        (folder / name).unlink()
        _log.info("half-written file removed: %s/%s", folder.name, name)


def sweep_drafts(folders: Iterable[Path]) -> None:
    """Remove what killed processes left of files that were to appear whole, once it has lain still for a day."""
    for folder in folders:
        for draft in folder.glob(".*.part*"):
            if is_draft(draft.name) and is_old(draft):
                draft.unlink()
                _log.info("half-written file removed: %s", draft)
