"""The table of features in a GeoPackage: its name and its columns."""

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

from pyproj import CRS
from pyproj.exceptions import CRSError

from products.errors import BrokenSource


@dataclass(frozen=True, slots=True)
class Column:
    """An attribute and its GeoPackage type in capitals, `TEXT` or `INTEGER` for example."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class QuotedNames:
    """The names of a layer, quoted for SQL; `columns` are key, geometry and attributes, with commas between them."""

    table: str
    key: str
    geometry: str
    index: str
    columns: str
    by_name: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Layer:
    """One table of features.

    `key` is its integer primary key, or else SQLite's rowid, and then `identity` is the primary key of another type.
    `epsg` is 0 if its coordinates have no EPSG code: then `system` is the definition for PROJ, empty if unknown.
    `indexed` is whether it has an R-tree.
    """

    table: str
    epsg: int
    columns: tuple[Column, ...]
    geometry_type: str = "MULTIPOLYGON"
    geometry: str = "geometry"
    key: str = "fid"
    title: str = ""
    description: str = ""
    system: str = ""
    identity: str | None = None
    indexed: bool = True
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict, compare=False)
    """Title and description of attributes, if the file has them (OGC 12-128r17, F.9)."""
    names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The names of its attributes."""
    quoted: QuotedNames = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = tuple(column.name for column in self.columns)
        by_name = {name: quote(name) for name in (self.key, self.geometry, *names)}
        columns = ", ".join(by_name[name] for name in (self.key, self.geometry, *names))
        quoted = QuotedNames(
            quote(self.table), by_name[self.key], by_name[self.geometry], quote(self.index), columns, by_name
        )
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "quoted", quoted)

    @property
    def index(self) -> str:
        """The name of its R-tree, as specified."""
        return f"rtree_{self.table}_{self.geometry}"


def quote(identifier: str) -> str:
    """Return a quoted identifier for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


_VIEW_KEY = "OGC_FID"
"""The column of a view that numbers its rows, by GDAL's convention."""
_WHOLE = {"INTEGER", "INT", "MEDIUMINT", "SMALLINT", "TINYINT", "BIGINT"}
"""Types of integer columns: those of GeoPackage (1.3, table 1), and BIGINT, which other programs write."""
_UNDEFINED_GEOGRAPHIC = 0
_LONGITUDE_LATITUDE = 4326
_HIDDEN = 1
"""SQLite's value for a hidden column of a virtual table; generated columns are 2 and 3."""

_LAYERS = """
SELECT c.table_name, g.column_name, g.geometry_type_name, g.srs_id, s.organization, s.organization_coordsys_id,
    s.definition, c.identifier, c.description, m.type
FROM gpkg_contents c JOIN gpkg_geometry_columns g ON lower(g.table_name) = lower(c.table_name)
    LEFT JOIN gpkg_spatial_ref_sys s ON s.srs_id = g.srs_id
    LEFT JOIN sqlite_master m ON lower(m.name) = lower(c.table_name) AND m.type IN ('table', 'view')
WHERE c.data_type = 'features' ORDER BY c.rowid
"""
_TEXTS = """
SELECT column_name, CAST(title AS TEXT), CAST(description AS TEXT) FROM gpkg_data_columns
WHERE lower(table_name) = lower(?)
"""
_INDEXED = """
SELECT 1 FROM gpkg_extensions, sqlite_master WHERE lower(table_name) = lower(?) AND lower(column_name) = lower(?)
    AND extension_name = 'gpkg_rtree_index' AND type = 'table' AND lower(name) = lower(?)
"""


def read_layer(connection: sqlite3.Connection, table: str | None = None, key: str | None = None) -> Layer:
    """Return the layer of that name, or else the only one; `key` is the column that numbers the rows of a view.

    Raises BrokenSource if it is missing or ambiguous, sqlite3.Error.
    """
    layers = connection.execute(_LAYERS).fetchall()
    there = ", ".join(row[0] for row in layers)
    if not layers:
        raise BrokenSource("no table of features")
    found = [row for row in layers if table is None or row[0] == table]
    if not found:
        raise BrokenSource(f"there is no layer {table}; there are {there}")
    if len(found) > 1 and len({row[0] for row in found}) == 1:
        geometries = ", ".join(row[1] for row in found)
        raise BrokenSource(f"table {found[0][0]} has several columns of geometry, {geometries}: a GeoPackage's has one")
    if len(found) > 1:
        raise BrokenSource(f"there are several layers: name one of {there} as `table`")
    name, kind = found[0][0], found[0][-1]
    if kind is None:
        raise BrokenSource(f"table {name} is missing")
    columns = [row for row in connection.execute("SELECT * FROM pragma_table_xinfo(?)", (name,)) if row[6] != _HIDDEN]
    numbered = _view_numbered(name, columns, key) if kind == "view" else _numbered(connection, name, columns)
    layer = _described(found[0], columns, numbered)
    return replace(
        layer, indexed=numbered.whole and _is_indexed(connection, layer), texts=_texts(connection, layer.table)
    )


def _texts(connection: sqlite3.Connection, table: str) -> Mapping[str, Mapping[str, str]]:
    with suppress(sqlite3.OperationalError):  # few files have the table
        return {
            name: {"title": title or "", "description": description or ""}
            for name, title, description in connection.execute(_TEXTS, (table,))
        }
    return {}


def _is_indexed(connection: sqlite3.Connection, layer: Layer) -> bool:
    with suppress(sqlite3.OperationalError):  # a file without extensions may be without their table
        return connection.execute(_INDEXED, (layer.table, layer.geometry, layer.index)).fetchone() is not None
    return False


class _Numbered(NamedTuple):
    """The column that numbers the rows, another primary key, and whether the first is the primary key."""

    key: str
    identity: str | None = None
    whole: bool = False


def _view_numbered(view: str, columns: list[tuple[Any, ...]], given: str | None) -> _Numbered:
    """Return the column that numbers the rows of a view, in which SQLite's rowid is NULL.

    It is the given column, else GDAL's, else the first one, which is unique in a GeoPackage.
    """
    names = [row[1] for row in columns]
    for name in (given, _VIEW_KEY):
        if name in names and name:
            return _Numbered(name)
    if columns and columns[0][2].upper() in _WHOLE:
        return _Numbered(names[0])
    raise BrokenSource(
        f"view {view} begins with no column of whole numbers, nor has it {_VIEW_KEY}: name a column of unique values "
        "as `id_field`"
    )


def _numbered(connection: sqlite3.Connection, table: str, columns: list[tuple[Any, ...]]) -> _Numbered:
    keys = [(row[1], row[2].upper()) for row in columns if row[5]]
    if len(keys) == 1 and keys[0][1] == "INTEGER":
        return _Numbered(keys[0][0], whole=True)
    taken = {row[1].lower() for row in columns}
    for alias in sorted({"rowid", "_rowid_", "oid"} - taken, reverse=True):
        with suppress(sqlite3.OperationalError):
            connection.execute(f"SELECT {alias} FROM {quote(table)} LIMIT 0")  # noqa: S608 - a name, quoted
            return _Numbered(alias, keys[0][0] if len(keys) == 1 else None)
    raise BrokenSource(f"table {table} has no rowid: name a column of unique values as `id_field`")


def _described(found: tuple[Any, ...], columns: list[tuple[Any, ...]], numbered: _Numbered) -> Layer:
    table, geometry, geometry_type, srs, authority, code, definition, title, description, _ = found
    place = next((row[1] for row in columns if row[1].lower() == geometry.lower()), None)
    if place is None:
        raise BrokenSource(f"table {table} has no column {geometry}")
    attributes = tuple(Column(row[1], row[2].upper()) for row in columns if row[1] not in {place, numbered.key})
    epsg, system = _system(authority or "EPSG", srs if code is None else code, definition or "")
    if srs == _UNDEFINED_GEOGRAPHIC:
        epsg, system = _LONGITUDE_LATITUDE, ""
    return Layer(
        table,
        epsg,
        attributes,
        geometry_type,
        place,
        numbered.key,
        title or table,
        description or "",
        system,
        numbered.identity,
    )


@lru_cache(256)
def _system(authority: str, code: int, definition: str) -> tuple[int, str]:
    """Return the EPSG code, or 0 and a text for PROJ: another authority's code, or the definition."""
    for name in (f"{authority.upper()}:{code}", definition):
        try:
            crs = CRS.from_user_input(name)
        except CRSError:
            continue
        if name is definition:
            epsg = crs.to_epsg(min_confidence=100)
            return (epsg, "") if epsg else (0, definition)
        return (code, "") if authority.upper() == "EPSG" else (0, name)
    return 0, ""
