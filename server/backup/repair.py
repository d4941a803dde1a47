"""Repair a restored state: the configuration, links to source rasters, and orders without their files."""

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from orchestration.errors import ResultMissing
from orchestration.files.results import ResultFiles
from orchestration.job import ResultFile
from orchestration.prebuilt.product import PrebuiltProduct
from orchestration.prebuilt.record import PREBUILT_FOLDER, recorded_file
from orchestration.store.jobs import StoredJobs
from products.catalogue import InvalidConfiguration, catalogue_of, read_configuration
from products.whole import link, whole_file
from server.backup.contents import CONFIGURATION, RESULTS
from server.backup.members import StatePaths


def repair(paths: StatePaths, unpacked: Path, database: Path) -> tuple[Path | None, int]:
    """Repair; return the configuration's path if it was not put in place, and the number of orders without files.

    The orders are in the SQLite `database`, even if they are moved to PostgreSQL later. It may be repeated.
    """
    elsewhere = _place_configuration(paths, unpacked / CONFIGURATION)
    _link_sources(paths)
    return elsewhere, _note_missing(paths.state, database)


def _place_configuration(paths: StatePaths, saved: Path) -> Path | None:
    """Write the configuration if it does not exist; into the state folder if it differs or cannot be written."""
    if not saved.exists() or _holds(paths.configuration, saved.read_bytes()):
        return None
    if not paths.configuration.exists():
        with suppress(OSError):
            _put(saved, paths.configuration)
            return None
    elsewhere = paths.state / f"restored-{CONFIGURATION}"
    _put(saved, elsewhere)
    return elsewhere


def _holds(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content


def _put(saved: Path, target: Path) -> None:
    with whole_file(target) as part:
        part.write_bytes(saved.read_bytes())


def _link_sources(paths: StatePaths) -> None:
    """Link the European rasters that have a record but no file to their sources again."""
    rasters = dict(_rasters(paths.configuration))
    for record in (paths.state / RESULTS / PREBUILT_FOLDER).glob("*/*.json"):
        target = record.with_suffix("")
        if target.name in rasters and not target.exists(follow_symlinks=False):
            link(rasters[target.name], target)
            if recorded_file(target) is None:
                target.unlink()


def _rasters(configuration: Path) -> Iterator[tuple[str, Path]]:
    with suppress(InvalidConfiguration):
        for product in catalogue_of(read_configuration(configuration)).products:
            if product.raster.is_file():
                yield PrebuiltProduct(product, "Raster").name, product.raster


def _note_missing(state: Path, database: Path) -> int:
    """Mark the results of orders with missing files as expired; return how many."""
    files = ResultFiles(state / RESULTS)
    with closing(StoredJobs(database)) as store:
        lost = {job_id for job_id, file in store.named_files() if not _is_there(files, file)}
        for job_id in lost:
            store.files_removed(job_id)
    return len(lost)


def _is_there(files: ResultFiles, file: ResultFile) -> bool:
    try:
        return files.path_of(file).is_file()
    except ResultMissing:
        return False
