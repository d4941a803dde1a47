"""The table of features in a GeoPackage: what it is called and what it holds."""

import sqlite3
from dataclasses import dataclass
from typing import Any

from products.errors import BrokenSource

Bounds = tuple[float, float, float, float]
"""Least x, least y, greatest x, greatest y, in the layer's own coordinates."""


@dataclass(frozen=True, slots=True)
class Column:
    """An attribute and its GeoPackage type in capitals, `TEXT` or `INTEGER` for example."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One table of features; `key` is its integer primary key."""

    table: str
    epsg: int
    columns: tuple[Column, ...]
    geometry_type: str = "MULTIPOLYGON"
    geometry: str = "geometry"
    key: str = "fid"
    title: str = ""
    description: str = ""

    @property
    def index(self) -> str:
        """The name of its R-tree, as the specification makes it."""
        return f"rtree_{self.table}_{self.geometry}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its attributes."""
        return tuple(column.name for column in self.columns)


def quote(identifier: str) -> str:
    """Return an identifier for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


_LAYER = """
SELECT g.table_name, g.column_name, g.geometry_type_name, s.organization_coordsys_id, c.identifier, c.description
FROM gpkg_geometry_columns g JOIN gpkg_contents c USING (table_name) JOIN gpkg_spatial_ref_sys s ON s.srs_id = g.srs_id
WHERE c.data_type = 'features' ORDER BY c.rowid LIMIT 1
"""
_INDEXED = "SELECT 1 FROM gpkg_extensions WHERE table_name = ? AND column_name = ? AND extension_name = ?"


def read_layer(connection: sqlite3.Connection) -> Layer:
    """Return the first layer of features. Raises BrokenSource where it is missing or has no R-tree, sqlite3.Error."""
    found = connection.execute(_LAYER).fetchone()
    if found is None:
        raise BrokenSource("no table of features")
    layer = _described(found, connection.execute("SELECT * FROM pragma_table_info(?)", found[:1]).fetchall())
    indexed = connection.execute(_INDEXED, (layer.table, layer.geometry, "gpkg_rtree_index")).fetchone()
    if indexed is None:
        raise BrokenSource(f"table {layer.table} has no spatial index")
    return layer


def _described(found: tuple[Any, ...], columns: list[tuple[Any, ...]]) -> Layer:
    table, geometry, geometry_type, epsg, title, description = found
    keys = [name for _, name, _, _, _, key in columns if key]
    if len(keys) != 1:
        raise BrokenSource(f"table {table} has no integer primary key")
    attributes = (Column(name, kind.upper()) for _, name, kind, *_ in columns if name not in {geometry, keys[0]})
    return Layer(table, epsg, tuple(attributes), geometry_type, geometry, keys[0], title or table, description or "")
