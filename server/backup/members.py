"""The files of a backup and their names in the archive."""

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestration.job import ResultFile
from orchestration.prebuilt.record import PREBUILT_FOLDER, record_of
from orchestration.store.jobs import StoredJobs
from products.catalogue import InvalidConfiguration, catalogue_of, read_configuration
from server.backup.contents import CONFIGURATION, DATABASE, KEYS, PRODUCTS, RESULTS, Parts


@dataclass(frozen=True, slots=True)
class StatePaths:
    """The state folder and the configuration file."""

    state: Path
    configuration: Path


def members_of(paths: StatePaths, snapshot: Path, parts: Parts) -> dict[str, Path]:
    """Return the files by their names in the archive; the snapshot of the orders names the results."""
    members = {DATABASE: snapshot, CONFIGURATION: paths.configuration}
    members |= {key: paths.state / key for key in KEYS if (paths.state / key).is_file()}
    if parts.results:
        members |= _results(paths, snapshot)
    if parts.products:
        members |= {f"{PRODUCTS}/{path.name}": path for path in _made(paths.state / PRODUCTS)}
    return members


def _results(paths: StatePaths, snapshot: Path) -> Iterator[tuple[str, Path]]:
    sources = tuple(_sources(paths.configuration))
    root = paths.state / RESULTS
    with closing(StoredJobs(snapshot)) as store:
        files = dict.fromkeys(file for _, file in store.named_files())
    for file in files:
        yield from ((f"{RESULTS}/{path.relative_to(root)}", path) for path in _paths(root, file, sources))


def _paths(root: Path, file: ResultFile, sources: tuple[Path, ...]) -> Iterator[Path]:
    """Yield a result file; for a prebuilt file also its record, and for a link to a source only the record."""
    path = root / file.path
    if Path(file.path).parts[0] != PREBUILT_FOLDER:
        yield path
        return
    yield record_of(path)
    if not path.is_symlink() and not any(_is_same(path, source) for source in sources):
        yield path


def _is_same(path: Path, source: Path) -> bool:
    try:
        return path.samefile(source)
    except OSError:
        return False


def _sources(configuration: Path) -> Iterator[Path]:
    """Yield the rasters of the products; an invalid configuration has none, and is backed up unchanged."""
    with suppress(InvalidConfiguration):
        for product in catalogue_of(read_configuration(configuration)).products:
            yield product.raster


def _made(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.glob("[!.]*")) if path.is_file() and not path.is_symlink())
