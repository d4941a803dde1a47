"""GeoPackages (OGC 12-128r17, version 1.3) of one layer, written and read with sqlite3 and shapely."""

# ruff: noqa: S608 - identifiers come from the layer, quoted; values are never formatted in

import math
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from products.errors import BrokenSource, RequestTooLarge
from products.operation import Bounds
from products.vector.blob import Geometries, decode, encode
from products.vector.layer import Layer, quote, read_layer
from products.whole import cached_by_file, whole_file

_RTREE = "http://www.geopackage.org/spec120/#extension_rtree"
_CELL = np.dtype([("id", ">i8"), ("box", ">f4", 4)])
"""SQLite's record of each part of an R-tree's node, after depth and number of parts in two bytes each."""
_STEPS = 10_000
"""Steps of SQLite's virtual machine, some tenths of a millisecond, between two checks of the time."""
_UNWRITABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
_FETCHED = 1_000
_TOO_LONG = "the query takes too long; ask for less"

Row = tuple[Any, ...]
Strip = tuple[float, float]
"""A range for the minimum y of a feature's envelope: from the first value, below the second."""
EVERYWHERE: Strip = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class Writer:
    """A GeoPackage that is being written."""

    layer: Layer
    connection: sqlite3.Connection
    extent: NDArray[np.float64] = field(default_factory=lambda: np.array([np.inf, np.inf, -np.inf, -np.inf]))
    """The bounds of the added features."""

    def add(self, keys: Sequence[int], geometries: Geometries, rows: Sequence[Sequence[Any]]) -> None:
        """Add features: their keys, geometries (none empty) and attributes in the order of the layer's columns."""
        if not len(keys):
            return
        places = ", ".join("?" * (2 + len(self.layer.columns)))
        blobs = encode(geometries, self.layer.epsg)
        features = ((key, blob, *row) for key, blob, row in zip(keys, blobs, rows, strict=True))
        self.connection.executemany(f"INSERT INTO {quote(self.layer.table)} VALUES ({places})", features)
        bounds = shapely.bounds(geometries)
        self.widen(bounds)
        boxes = zip(keys, *bounds[:, [0, 2, 1, 3]].T.tolist(), strict=True)
        self.connection.executemany(f"INSERT INTO {quote(self.layer.index)} VALUES (?, ?, ?, ?, ?)", boxes)

    def widen(self, bounds: NDArray[np.float64]) -> None:
        """Extend the extent to these bounds, one in each row."""
        self.extent[:2] = np.minimum(self.extent[:2], bounds[:, :2].min(axis=0))
        self.extent[2:] = np.maximum(self.extent[2:], bounds[:, 2:].max(axis=0))

    def style(self, name: str, *, qml: str, sld: str) -> None:
        """Add the style that QGIS applies when it opens the layer."""
        self.connection.executescript(_script("styles.sql"))
        self.connection.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
            " styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, ?, ?, ?, ?, 1, ?, '')",
            (self.layer.table, self.layer.geometry, name, qml, sld, self.layer.title),
        )


@contextmanager
def write_geopackage(target: Path, layer: Layer) -> Iterator[Writer]:
    """Write a GeoPackage; it gets its name, complete and synced, when the context ends without an error."""
    with whole_file(target) as part:
        with closing(sqlite3.connect(part, autocommit=True)) as connection:
            connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32000;")
            connection.executescript(f"BEGIN; {_script('schema.sql')}")
            _create(connection, layer)
            yield (writer := Writer(layer, connection))
            _finish(writer)
            connection.execute("COMMIT")
        part.chmod(0o644)


def _create(connection: sqlite3.Connection, layer: Layer) -> None:
    crs = CRS.from_epsg(layer.epsg)
    connection.execute(
        "INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, 'EPSG', ?, ?, NULL)",
        (crs.name, layer.epsg, layer.epsg, crs.to_wkt("WKT1_GDAL")),
    )
    connection.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id)"
        " VALUES (?, 'features', ?, ?, ?)",
        (layer.table, layer.title or layer.table, layer.description, layer.epsg),
    )
    connection.execute(
        "INSERT INTO gpkg_geometry_columns VALUES (?, ?, ?, ?, 0, 0)",
        (layer.table, layer.geometry, layer.geometry_type, layer.epsg),
    )
    connection.execute(
        "INSERT INTO gpkg_extensions VALUES (?, ?, 'gpkg_rtree_index', ?, 'write-only')",
        (layer.table, layer.geometry, _RTREE),
    )
    columns = "".join(f", {quote(column.name)} {column.type}" for column in layer.columns)
    connection.execute(
        f"CREATE TABLE {quote(layer.table)} ({quote(layer.key)} INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,"
        f" {quote(layer.geometry)} {layer.geometry_type}{columns})"
    )
    connection.execute(f"CREATE VIRTUAL TABLE {quote(layer.index)} USING rtree(id, minx, maxx, miny, maxy)")


def _finish(writer: Writer) -> None:
    layer = writer.layer
    names = {"t": layer.table, "g": layer.geometry, "k": layer.key, "r": layer.index}
    writer.connection.executescript(Template(_script("index.sql")).substitute(names))
    if np.isfinite(writer.extent).all():
        writer.connection.execute(
            "UPDATE gpkg_contents SET min_x = ?, min_y = ?, max_x = ?, max_y = ? WHERE table_name = ?",
            (*writer.extent.tolist(), layer.table),
        )


def _script(name: str) -> str:
    return (files("products.vector") / name).read_text()


@dataclass(frozen=True, slots=True)
class Batch:
    """Some features of a layer; `rows` are their attributes in the order of its columns."""

    keys: Sequence[int]
    geometries: Geometries
    rows: Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Reader:
    """A GeoPackage that is being read; its methods raise BrokenSource if it is damaged.

    No query continues after `end`, in CPU seconds of this thread, so that it is independent of the machine's load.
    """

    source: Path
    layer: Layer
    connection: sqlite3.Connection
    end: float = math.inf

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return the rows of a query; text that is not UTF-8 has U+FFFD for undecodable bytes."""
        self.keep_time()
        with readable(self.source):
            try:
                return list(self.connection.execute(query, values))
            except sqlite3.OperationalError as error:
                if "decode to UTF-8" not in str(error):
                    raise
        return [row for rows in self.batches(query, values, size=_FETCHED) for row in rows]

    def batches(self, query: str, values: Sequence[Any] = (), *, size: int) -> Iterator[list[Row]]:
        """Yield the rows of `rows`, `size` at a time."""
        self.keep_time()
        self.connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        with readable(self.source):
            cursor = self.connection.execute(query, values)
        fetched = 0
        while rows := self._fetch(cursor, size):
            yield rows
            if len(rows) < size:
                return
            fetched += size
            if fetched % _FETCHED < size:
                self.keep_time()

    def keep_time(self) -> None:
        """Raise RequestTooLarge after the time limit."""
        if time.thread_time() > self.end:
            raise RequestTooLarge(_TOO_LONG)

    def extent(self) -> Bounds | None:
        """Return bounds that contain every feature of the R-tree, or None."""
        if not self.layer.indexed:
            return None
        roots = [*self.rows(f"SELECT data FROM {quote(f'{self.layer.index}_node')} WHERE nodeno = 1")]
        parts = parts_of(roots[0][0] if roots else None)
        if not len(parts):
            return None
        west, east, south, north = parts["box"].T.tolist()
        return min(west), min(south), max(east), max(north)

    def count(self, bounds: Bounds, strip: Strip = EVERYWHERE) -> int:
        """Return how many features of a strip have an envelope that intersects the bounds."""
        [(count,)] = self.rows(f"SELECT count(*) FROM {self._meeting}", (*corners(bounds), *strip))
        return int(count)

    def features(self, bounds: Bounds, strip: Strip = EVERYWHERE, *, size: int = 2_000) -> Iterator[Batch]:
        """Yield the features of a strip with envelopes that intersect the bounds, `size` at a time, unordered."""
        columns = ", ".join(f"f.{quote(name)}" for name in (self.layer.key, self.layer.geometry, *self.layer.names))
        table, key = quote(self.layer.table), quote(self.layer.key)
        query = f"SELECT {columns} FROM (SELECT id FROM {self._meeting}) r JOIN {table} f ON f.{key} = r.id"
        for rows in self.batches(query, (*corners(bounds), *strip), size=size):
            yield Batch([row[0] for row in rows], decode([row[1] for row in rows]), [row[2:] for row in rows])

    def _fetch(self, cursor: sqlite3.Cursor, size: int) -> list[tuple[Any, ...]]:
        with readable(self.source):
            return cursor.fetchmany(size)

    @property
    def _meeting(self) -> str:
        if not self.layer.indexed:
            raise BrokenSource(f"{self.source.name}: table {self.layer.table} has no spatial index")
        box = "maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?"
        return f"{quote(self.layer.index)} WHERE {box} AND miny >= ? AND miny < ?"


@contextmanager
def read_geopackage(
    source: Path,
    *,
    layer: Layer | None = None,
    table: str | None = None,
    key: str | None = None,
    seconds: float | None = None,
) -> Iterator[Reader]:
    """Open a layer of a GeoPackage for reading: the given one, or that of `read_layer`. Raises BrokenSource.

    After so many CPU seconds a query raises RequestTooLarge. Only the thread that opened it can read it.
    """
    with closing(_connect(source)) as connection:
        end = math.inf
        if seconds is not None:
            end = time.thread_time() + seconds
            connection.set_progress_handler(lambda: time.thread_time() > end, _STEPS)
        yield Reader(source, layer or layer_of(source, table, key), connection, end)


@contextmanager
def change_geopackage(source: Path, layer: Layer) -> Iterator[Reader]:
    """Open a layer for changes in one transaction, undone by an error; only one process changes a file at a time.

    The triggers of the R-tree find the functions that they need. Raises BrokenSource.
    """
    address = f"{source.absolute().as_uri()}?mode=rw"
    with readable(source), closing(sqlite3.connect(address, uri=True, timeout=_WAIT, autocommit=True)) as connection:
        for name, place in _ENVELOPE.items():
            connection.create_function(name, 1, partial(_side, place), deterministic=True)
        connection.create_function("ST_IsEmpty", 1, lambda blob: _side(0, blob) is None, deterministic=True)
        connection.execute("BEGIN IMMEDIATE")
        yield Reader(source, layer, connection)
        connection.execute(
            "UPDATE gpkg_contents SET last_change = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE table_name = ?",
            (layer.table,),
        )
        connection.execute("COMMIT")


_WAIT = 5.0
"""Seconds that a change waits for another one, and for readers."""
_ENVELOPE = {"ST_MinX": 0, "ST_MinY": 1, "ST_MaxX": 2, "ST_MaxY": 3}


def _side(place: int, blob: bytes | None) -> float | None:
    """Return a side of the envelope of a geometry, None for an empty one."""
    [geometry] = decode([blob])
    return None if geometry is None or geometry.is_empty else float(geometry.bounds[place])


@cached_by_file(most=1_024)
def layer_of(source: Path, table: str | None = None, key: str | None = None) -> Layer:
    """Return the layer of `read_layer` in a GeoPackage; the file is opened only if it changed."""
    with closing(_connect(source)) as connection, readable(source):
        return read_layer(connection, table, key)


def _connect(source: Path) -> sqlite3.Connection:
    """Open the file for reading; if its folder is not writable, without its write-ahead log if that is empty."""
    address = f"{source.absolute().as_uri()}?mode=ro"
    with readable(source):
        connection = sqlite3.connect(address, uri=True)
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").close()
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorcode & 0xFF not in _UNWRITABLE or not _logs_ahead(source):
                raise
            log = Path(f"{source}-wal")
            if log.exists() and log.stat().st_size:
                raise BrokenSource(
                    "its last changes are in the write-ahead log beside it, and the folder is not writable"
                ) from error
            connection = sqlite3.connect(f"{address}&immutable=1", uri=True)
    return connection


def _logs_ahead(source: Path) -> bool:
    """Return whether the file uses write-ahead logging (SQLite file format, 1.3.3)."""
    with source.open("rb") as file:
        return file.read(20)[18:20] == b"\2\2"


@contextmanager
def readable(source: Path) -> Iterator[None]:
    """Convert SQLite's errors for an unreadable file to BrokenSource, for an interruption to RequestTooLarge."""
    try:
        yield
    except (sqlite3.Error, OSError, BrokenSource) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise RequestTooLarge(_TOO_LONG) from error
        raise BrokenSource(f"{source.name}: {error}") from error


def parts_of(node: object) -> NDArray[Any]:
    """Return the parts of an R-tree's node: `id`, a child's number or in a leaf a feature's key, and `box`.

    Raises BrokenSource for an invalid node.
    """
    if not isinstance(node, bytes) or len(node) < 4 + int.from_bytes(node[2:4]) * _CELL.itemsize:
        raise BrokenSource("its spatial index is damaged; make it anew")
    return np.frombuffer(node, _CELL, int.from_bytes(node[2:4]), 4)


def corners(bounds: Bounds) -> tuple[float, ...]:
    """Return the bounds in the order of an R-tree query: maxx >= ?, minx <= ?, maxy >= ?, miny <= ?."""
    west, south, east, north = bounds
    return west, east, south, north
