"""GeoPackages as other programs make them, valid or not: each is made by code, and unusual in one way."""

# ruff: noqa: S608 - names are those of this module

import gzip
import json
import sqlite3
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import shapely
from pyproj import CRS, Transformer

from products.vector.geopackage import write_geopackage
from products.vector.layer import Column, Layer

WARSAW, KRAKOW = (21.0, 52.2), (19.9, 50.1)
EPSG_4326 = "http://www.opengis.net/def/crs/EPSG/0/4326"
LAEA = "+proj=laea +lat_0=50 +lon_0=20 +x_0=100 +y_0=200 +ellps=WGS84 +units=m"

_TABLES = """
PRAGMA application_id = 0x47504B47;
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
    organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
INSERT INTO gpkg_spatial_ref_sys VALUES ('none', -1, 'NONE', -1, 'undefined', ''),
    ('none', 0, 'NONE', 0, 'undefined', ''),
    ('WGS 84', 4326, 'EPSG', 4326, '', '');
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
    description TEXT DEFAULT '', last_change DATETIME, min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE,
    srs_id INTEGER);
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL,
    geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL);
"""


def blob(body: bytes | Any, *, envelope: int = 0, flags: int = 1) -> bytes:
    """Return a geometry's blob with an envelope of this kind and wrong values."""
    body = body if isinstance(body, bytes) else shapely.to_wkb(body)
    return (
        b"GP\0" + bytes([flags | envelope << 1]) + struct.pack("<i", 4326) + bytes((0, 32, 48, 48, 64)[envelope]) + body
    )


def by_hand(
    path: Path,
    columns: str,
    rows: Sequence[Sequence[Any]],
    *,
    table: str = "places",
    geometry: str = "geom",
    srs: tuple[int, str, int, str] | None = None,
    more: str = "",
    constraint: str = "",
) -> None:
    """Write a layer without a spatial index; each row ends with its blob."""
    code = srs[0] if srs else 4326
    with closing(sqlite3.connect(path, autocommit=True)) as connection:
        fresh = not connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        connection.executescript(_TABLES if fresh else "")
        if srs:
            connection.execute("INSERT OR REPLACE INTO gpkg_spatial_ref_sys VALUES ('x', ?, ?, ?, ?, '')", srs)
        quoted = table.replace('"', '""')
        connection.execute(f'CREATE TABLE "{quoted}" ({columns}, "{geometry}" GEOMETRY{constraint})')
        connection.execute(
            "INSERT INTO gpkg_contents VALUES (?, 'features', ?, '', '', 9, 9, 9, 9, ?)", (table, table, code)
        )
        connection.execute(
            "INSERT INTO gpkg_geometry_columns VALUES (?, ?, 'GEOMETRY', ?, 0, 0)", (table, geometry, code)
        )
        for row in rows:
            connection.execute(f'INSERT INTO "{quoted}" VALUES ({", ".join("?" * len(row))})', row)
        connection.executescript(more)


def by_us(path: Path, columns: Sequence[Column], rows: Sequence[Sequence[Any]], *, points: Sequence[Any] = ()) -> None:
    """Write a layer of points with an index, its keys from 1 on."""
    places = [shapely.Point(20 + n / 10, 50) for n in range(len(rows))] if not points else list(points)
    with write_geopackage(path, Layer("places", 4326, tuple(columns), geometry_type="POINT")) as writer:
        writer.add(range(1, len(rows) + 1), shapely.points([place.coords[0] for place in places]), rows)


def by_gdal(path: Path, features: Sequence[Mapping[str, Any]], *options: str) -> None:
    """Write a layer `places` with ogr2ogr."""
    source = path.with_suffix(".geojson")
    source.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    subprocess.run(["ogr2ogr", "-f", "GPKG", path, source, "-nln", "places", *options], check=True)


def wkb(kind: int, *parts: bytes, order: str = "<") -> bytes:
    """Return a WKB of this kind."""
    return struct.pack(f"{order}BI", order == "<", kind) + b"".join(parts)


def numbers(*values: float, order: str = "<") -> bytes:
    """Return coordinates."""
    return struct.pack(f"{order}{len(values)}d", *values)


def count(value: int, order: str = "<") -> bytes:
    """Return a number of parts."""
    return struct.pack(f"{order}I", value)


ARC = wkb(8, count(3), numbers(19, 50, 20, 51, 21, 50))
"""Half a circle of radius 1 round 20, 50."""
CURVES: Mapping[str, tuple[bytes, str]] = {
    "circular string": (ARC, "LineString"),
    "compound curve": (wkb(9, count(2), ARC, wkb(2, count(2), numbers(21, 50, 19, 50))), "LineString"),
    "curve polygon": (wkb(10, count(1), wkb(9, count(2), ARC, wkb(2, count(2), numbers(21, 50, 19, 50)))), "Polygon"),
    "circle": (wkb(10, count(1), wkb(8, count(3), numbers(19, 50, 21, 50, 19, 50))), "Polygon"),
    "multi curve": (wkb(11, count(2), ARC, wkb(2, count(2), numbers(1, 1, 2, 2))), "MultiLineString"),
    "multi surface": (
        wkb(
            12,
            count(2),
            shapely.to_wkb(shapely.box(1, 1, 2, 2)),
            wkb(10, count(1), wkb(8, count(3), numbers(19, 50, 21, 50, 19, 50))),
        ),
        "MultiPolygon",
    ),
    "polyhedral surface": (wkb(15, count(1), shapely.to_wkb(shapely.box(1, 1, 2, 2))), "MultiPolygon"),
    "tin": (wkb(16, count(1), wkb(17, count(1), count(4), numbers(0, 0, 1, 0, 0, 1, 0, 0))), "MultiPolygon"),
    "triangle": (wkb(17, count(1), count(4), numbers(0, 0, 1, 0, 0, 1, 0, 0)), "Polygon"),
    "tin with heights": (
        wkb(1016, count(1), wkb(1017, count(1), count(4), numbers(0, 0, 5, 1, 0, 6, 0, 1, 7, 0, 0, 5))),
        "MultiPolygon",
    ),
    "big endian": (wkb(8, count(3, ">"), numbers(19, 50, 20, 51, 21, 50, order=">"), order=">"), "LineString"),
    "collection": (wkb(7, count(2), ARC, shapely.to_wkb(shapely.Point(1, 2))), "GeometryCollection"),
}

ONE = "id INTEGER PRIMARY KEY, name TEXT"


TWO = [(1, "Warsaw", blob(shapely.Point(WARSAW))), (2, "Kraków", blob(shapely.Point(KRAKOW)))]


def _one(path: Path, **how: Any) -> None:
    by_hand(path, ONE, TWO, **how)


def laea(path: Path) -> None:
    """A CRS without a code."""
    _one(path, srs=(100_001, "me", 1, CRS.from_user_input(LAEA).to_wkt("WKT1_GDAL")))
    _move(path, CRS.from_user_input(LAEA))


def esri(path: Path) -> None:
    """A code of ESRI."""
    _one(path, srs=(102_014, "ESRI", 102_014, ""))
    _move(path, CRS.from_authority("ESRI", 102_014))


def false_epsg(path: Path) -> None:
    """A code of ESRI under the name EPSG, as older programs write it, with a correct definition."""
    _one(path, srs=(102_014, "EPSG", 102_014, CRS.from_authority("ESRI", 102_014).to_wkt("WKT1_GDAL")))
    _move(path, CRS.from_authority("ESRI", 102_014))


def _move(path: Path, crs: CRS) -> None:
    there = Transformer.from_crs(4326, crs, always_xy=True)
    with closing(sqlite3.connect(path, autocommit=True)) as connection:
        for key, place in ((1, WARSAW), (2, KRAKOW)):
            moved = blob(shapely.Point(there.transform(*place)))
            connection.execute("UPDATE places SET geom = ? WHERE id = ?", (moved, key))


def geographic(path: Path) -> None:
    """Degrees of an unknown datum."""
    _one(path, srs=(0, "NONE", 0, "undefined"))


def cartesian(path: Path) -> None:
    """Numbers of an unknown plane."""
    _one(path, srs=(-1, "NONE", -1, "undefined"))


def text_key(path: Path) -> None:
    """Its key is text."""
    by_hand(
        path,
        "id TEXT PRIMARY KEY, name TEXT",
        [("a/b", "Warsaw", blob(shapely.Point(WARSAW))), ("é ?#%", "Kraków", blob(shapely.Point(KRAKOW)))],
    )


def real_key(path: Path) -> None:
    """Its key is a number with a fraction."""
    by_hand(
        path,
        "id REAL PRIMARY KEY, name TEXT",
        [(1.5, "Warsaw", blob(shapely.Point(WARSAW))), (2.0, "Kraków", blob(shapely.Point(KRAKOW)))],
    )


def two_keys(path: Path) -> None:
    """Its key is two columns."""
    by_hand(
        path,
        "a TEXT, b TEXT",
        [("x", "Warsaw", blob(shapely.Point(WARSAW))), ("x", "Kraków", blob(shapely.Point(KRAKOW)))],
        constraint=", PRIMARY KEY (a, b)",
    )


def no_key(path: Path) -> None:
    """It has no key, but a column with SQLite's name for it."""
    by_hand(
        path,
        "rowid TEXT, name TEXT",
        [("x", "Warsaw", blob(shapely.Point(WARSAW))), ("x", "Kraków", blob(shapely.Point(KRAKOW)))],
    )


def view(path: Path) -> None:
    """A view numbers its rows by OGC_FID."""
    _one(path)
    as_view(path, "SELECT id AS OGC_FID, upper(name) AS name, geom FROM places")


def view_of_numbers(path: Path) -> None:
    """A view numbers its rows by its first column, as in the standard."""
    _one(path)
    as_view(path, "SELECT id AS number, upper(name) AS name, geom FROM places")


def as_view(path: Path, query: str) -> None:
    """Replace the layer `places` by a view."""
    with closing(sqlite3.connect(path, autocommit=True)) as connection:
        connection.executescript(
            f"CREATE VIEW seen AS {query};"
            "UPDATE gpkg_contents SET table_name = 'seen'; UPDATE gpkg_geometry_columns SET table_name = 'seen'"
        )


def names(path: Path) -> None:
    """Names with quotes, spaces, punctuation, and SQL keywords."""
    columns = '"sel""ect" TEXT, "group" TEXT, "with space" INTEGER, "żółć" TEXT, "a,b" TEXT, "it\'s" TEXT'
    by_hand(
        path, columns, [("1", "2", 3, "4", "5", "6", blob(shapely.Point(WARSAW)))], table='ta"ble of', geometry="ge om"
    )


def values(path: Path) -> None:
    """Bytes, booleans, infinity, numbers beyond 2^53, invalid text, generated columns."""
    by_hand(
        path,
        "id INTEGER PRIMARY KEY, bytes BLOB, truth BOOLEAN, big INTEGER, much REAL, day DATE, moment DATETIME,"
        " broken TEXT, twice INTEGER GENERATED ALWAYS AS (big * 2)",
        [],
        more="",
    )
    with closing(sqlite3.connect(path, autocommit=True)) as connection:
        names = "id, bytes, truth, big, much, day, moment, broken, geom"
        query = f"INSERT INTO places ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, {{}}, ?)"
        one = (
            1,
            b"\0\xff",
            1,
            2**53 + 1,
            float("inf"),
            "2023-05-01",
            "2023-05-01T10:00:00.000Z",
            blob(shapely.Point(WARSAW)),
        )
        two = (2, None, 0, -5, 1.5, "2023/05/02", "2023-05-02 10:00:00", blob(shapely.Point(KRAKOW)))
        connection.execute(query.format("CAST(x'ff61' AS TEXT)"), one)
        connection.execute(query.format("'fine'"), two)


def heights(path: Path) -> None:
    """Z, M, both, and a Z that is not a number."""
    shapes = ["POINT Z (21 52.2 100.5)", "POINT M (21 52.2 7)", "POINT ZM (21 52.2 100.5 7)"]
    rows = [
        (n, text, blob(shapely.to_wkb(shapely.from_wkt(text), output_dimension=4, flavor="iso")))
        for n, text in enumerate(shapes, 1)
    ]
    rows.append((4, "nan", blob(wkb(1001, numbers(21, 52.2, float("nan"))))))
    by_hand(path, ONE, rows)


def empty(path: Path) -> None:
    """Empty geometries in several forms."""
    nan = float("nan")
    by_hand(
        path,
        ONE,
        [
            (1, "null", None),
            (2, "point", blob(wkb(1, numbers(nan, nan)), flags=0b10001)),
            (3, "polygon", blob(wkb(3, count(0)), flags=0b10001)),
            (4, "parts", blob(shapely.from_wkt("MULTIPOLYGON (EMPTY, ((19 50, 20 50, 20 51, 19 50)))"))),
            (5, "damaged", b"GP\0\1\0\0\0\0\1\3"),
            (6, "text", "POINT (1 2)"),
            (7, "infinite", blob(wkb(2, count(2), numbers(0, 0, float("inf"), 1)))),
            (8, "extended", b"GP\0\x21\0\0\0\0CURV" + ARC),
        ],
    )


def one_point(path: Path) -> None:
    """Its extent is a point."""
    by_us(path, [Column("name", "TEXT")], [("Warsaw",), ("Warsaw too",)], points=[shapely.Point(WARSAW)] * 2)


def no_feature(path: Path) -> None:
    """It has no feature."""
    with write_geopackage(path, Layer("places", 4326, (Column("name", "TEXT"),))):
        pass


def old_index(path: Path) -> None:
    """An index that lacks a feature and has a deleted one."""
    by_us(
        path, [Column("name", "TEXT")], [("Warsaw",), ("gone",)], points=[shapely.Point(WARSAW), shapely.Point(KRAKOW)]
    )
    with closing(sqlite3.connect(path, autocommit=True)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("DELETE FROM places WHERE fid = 2")
        connection.execute("INSERT INTO places VALUES (3, ?, 'Kraków')", (blob(shapely.Point(KRAKOW)),))


def stale_index(path: Path) -> None:
    """An index with the old place of a moved feature, with a deleted feature, and with one without a geometry."""
    places = [shapely.Point(WARSAW), shapely.Point(KRAKOW), shapely.Point(22, 51), shapely.Point(10, 10)]
    by_us(path, [Column("name", "TEXT")], [("moved",), ("same",), ("lost",), ("gone",)], points=places)
    with closing(sqlite3.connect(path, autocommit=True)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE places SET geometry = ? WHERE fid = 1", (blob(shapely.Point(-30, -30)),))
        connection.execute("UPDATE places SET geometry = NULL WHERE fid = 3")
        connection.execute("DELETE FROM places WHERE fid = 4")


def envelopes(path: Path) -> None:
    """Envelopes of every kind, all wrong, and numbers in the other byte order."""
    rows = [(n, str(n), blob(shapely.Point(WARSAW), envelope=n)) for n in range(5)]
    rows.append((5, "big", blob(shapely.to_wkb(shapely.Point(WARSAW), byte_order=0))))
    by_hand(path, ONE, rows)


def null_ids(path: Path) -> None:
    """Ids that are NULL, contain a slash, look like numbers, or are equal."""
    ids = [None, "a/b", "../x", "1", "01", "1.0", "a%2Fb", "", " ", "ą?&#", "same", "same", "a//b", "items"]
    by_us(path, [Column("code", "TEXT"), Column("name", "TEXT")], [(id_, str(n)) for n, id_ in enumerate(ids, 1)])


def several(path: Path) -> None:
    """Two layers."""
    _one(path)
    by_hand(path, ONE, [(1, "second", blob(shapely.Point(KRAKOW)))], table="others")


def log(path: Path) -> None:
    """Written with a write-ahead log, which is empty."""
    by_us(path, [Column("name", "TEXT")], [("Warsaw",)], points=[shapely.Point(WARSAW)])
    with closing(sqlite3.connect(path, autocommit=True)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def parameters(path: Path) -> None:
    """Columns with the names of parameters."""
    asked = ["limit", "offset", "f", "bbox", "bbox-crs", "datetime", "crs", "sortby", "properties", "skipGeometry", "q"]
    asked += ["filter", "filter-lang", "resultType", "lang", "name", "id", "geometry", "type", "token"]
    with write_geopackage(
        path, Layer("places", 4326, tuple(Column(n, "TEXT") for n in asked), geometry="geom")
    ) as writer:
        points = shapely.points([WARSAW, KRAKOW, (22, 51)])
        writer.add([1, 2, 3], points, [[f"{n}{name}" for name in asked] for n in "abc"])


ALL: Sequence[Callable[[Path], None]] = (
    laea, esri, false_epsg, geographic, cartesian, text_key, real_key, two_keys, no_key, view, view_of_numbers, names,
    values, heights, empty, one_point, no_feature, old_index, stale_index, envelopes, null_ids, several, log,
    parameters,
)  # fmt: skip

WRITTEN: Mapping[str, tuple[str, str]] = {
    "of_fiona": ("fiona", "of fiona"),
    "lines_of_fiona": ("fiona", "lines"),
    "of_geopandas": ("geopandas", "of geopandas"),
    "northing_first": ("geopandas", "northing first"),
    "no_system": ("geopandas", "no system"),
}
"""Layers that fiona and geopandas (with pyogrio) wrote, as `write_others.py` says: library and table by name."""


def written(folder: Path, name: str) -> dict[str, Any]:
    """Unpack the file with a layer of WRITTEN; return the definition of its provider."""
    library, table = WRITTEN[name]
    path = folder / f"{library}.gpkg"
    path.write_bytes(gzip.decompress(Path(__file__).with_name(f"{library}.gpkg.gz").read_bytes()))
    return {"data": str(path), "table": table}
