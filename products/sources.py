"""What `data` of a coverage names: one file, several as one raster, or one on a server; and its files."""

import os
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from xml.sax.saxutils import unescape

from products.errors import BrokenSource
from products.remote import is_remote

MOST_FILES = 1_000
"""Maximum files of a folder, and of a VRT or a tile index that are looked at for changes."""
_SOURCE = re.compile(r'<SourceFilename\b(?:[^>]*?relativeToVRT="([01])")?[^>]*>([^<]+)</SourceFilename>')
_INDEX = re.compile(r"<IndexDataset>([^<]+)</IndexDataset>")
_INDEXES = (".gti", ".gti.gpkg")
_RASTERS = (".tif", ".tiff")
_FILES = (*_RASTERS, ".gpkg")


def is_one_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of one file on this machine, which can be downloaded and ordered as it is."""
    name = os.fspath(path).lower()
    if name.endswith(_INDEXES) or is_remote(name):
        return False
    return name.endswith(_FILES) or not (name.endswith(".vrt") or os.path.isdir(path))  # noqa: PTH112 - a Path costs as much again


def driver_of(source: Path) -> str:
    """Return the name of the only driver of GDAL that opens a raster."""
    if source.name.lower().endswith(_INDEXES):
        return "GTI"
    return "GTiff" if is_remote(source) or is_one_file(source) else "VRT"


def files_of(path: str, version: tuple[int, ...]) -> tuple[str, ...]:
    """Return the files of which several make one raster, without the one that the path names.

    Empty if they cannot be read, which GDAL says when it opens them. `version` is that of the path.
    """
    name = path.lower()
    if name.endswith(_INDEXES):
        return _in_index(path, version)
    if name.endswith(".vrt"):
        return _in_vrt(path, version)
    return tuple(map(str, rasters_in(path)))


def rasters_in(folder: str | os.PathLike[str]) -> Sequence[Path]:
    """Return the GeoTIFFs of a folder, by name."""
    try:
        with os.scandir(folder) as entries:
            names = [each.name for each in entries if each.name.lower().endswith(_RASTERS) and each.name[0] != "."]
    except OSError:
        return ()
    return [Path(folder, name) for name in sorted(names)]


@lru_cache(64)
def _in_vrt(vrt: str, version: tuple[int, ...]) -> tuple[str, ...]:
    del version
    try:
        text = Path(vrt).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ()
    folder, found = Path(vrt).parent, _SOURCE.findall(text)
    paths = (folder / unescape(name) if "1" in relative else Path(unescape(name)) for relative, name in found)
    return tuple(dict.fromkeys(map(str, paths)))[:MOST_FILES]


@lru_cache(64)
def _in_index(index: str, version: tuple[int, ...]) -> tuple[str, ...]:
    """Return the database of an index and the files that it lists in `location`, relative to the database."""
    del version
    database = Path(index)
    if not index.lower().endswith(".gpkg"):
        try:
            found = _INDEX.search(database.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return ()
        if found is None:
            return ()
        database = database.parent / unescape(found[1])
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            (table,) = connection.execute(
                "select table_name from gpkg_contents where data_type = 'features'"
            ).fetchone()
            quoted = str(table).replace('"', '""')
            rows = connection.execute(f'select location from "{quoted}" limit ?', (MOST_FILES,)).fetchall()  # noqa: S608
    except (sqlite3.Error, TypeError):
        return (str(database),)
    return str(database), *(str(database.parent / str(location)) for (location,) in rows)


def check_local(source: Path) -> None:
    """Raise BrokenSource if a raster of several files names one that is not on this machine."""
    if source.exists():
        state = source.stat()
        if any(each.startswith("/vsi") for each in files_of(str(source), (state.st_ino, state.st_mtime_ns))):
            raise BrokenSource(f"{source.name} names a file that is not on this machine")
