"""Vector tiles of small scales: polygons dissolved by class, from both providers, with areas that are known by hand."""

import io
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pyogrio
import pytest
import shapely
from psycopg2.extensions import parse_dsn
from pygeoapi.provider.base import ProviderConnectionError
from pyproj import Transformer

from auth.access import Verdict, current_verdict
from plugins.crs import crs_of
from plugins.features import TileQuery
from plugins.geopackage import GeoPackageProvider
from plugins.postgis import PostgisProvider
from products.errors import RequestTooLarge
from products.tiling import tile_matrix_sets
from products.vector.dissolving import ClassGrid, outlined
from products.vector.geopackage import write_geopackage
from products.vector.layer import Column, Layer
from tests.postgres import Postgres

EPSG, WEST, SOUTH, SIDE, METRES = 2180, 480_000.0, 360_000.0, 64, 1_000.0
COLUMNS = (Column("class_code", "INTEGER"), Column("class_name", "TEXT"), Column("kind", "TEXT"))
SHARES = {1: 1 / 2, 2: 3 / 8, 3: 1 / 8}
"""Of the squares of a chessboard one half is of class 1; of the others one fourth, in every fourth row, of class 3."""
MERCATOR = Transformer.from_crs(EPSG, 3857, always_xy=True)


def chessboard(side: int, metres: float) -> tuple[Any, Any]:
    """Return the squares, south to north, and their classes by hand."""
    row, column = (each.ravel() for each in np.indices((side, side)))
    x, y = WEST + column * metres, SOUTH + row * metres
    found = np.where((row + column) % 2 == 0, 1, np.where(row % 4 == 0, 3, 2))
    return shapely.box(x, y, x + metres, y + metres), found


def tile_at(matrix: str, x: float, y: float) -> TileQuery:
    """Return the tile with a point in the coordinates of the layer."""
    found = tile_matrix_sets()["WebMercatorQuad"].matrices[matrix]
    at = MERCATOR.transform(x, y)
    place = found.limits((*at, *at))
    assert place is not None
    return TileQuery(found.bounds(place.top, place.left), crs_of(3857), "l", 20_000, 1 / 512, dissolved=True)


def area_of(metres: float, tile: TileQuery) -> float:
    """Return the area of the chessboard in a tile, in its units, from the densified outline."""
    whole = shapely.segmentize(shapely.box(WEST, SOUTH, WEST + metres, SOUTH + metres), metres / 200)
    moved = shapely.transform(whole, lambda xy: np.column_stack(MERCATOR.transform(*xy.T)))
    return float(shapely.clip_by_rect(moved, *tile.bounds).area) / ((tile.bounds[2] - tile.bounds[0]) / 4096) ** 2


@pytest.fixture(scope="module")
def providers(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> dict[str, Any]:
    squares, found = chessboard(SIDE, METRES)
    path = tmp_path_factory.mktemp("board") / "board.gpkg"
    rows = [(code, f"class {code}", "all") for code in found.tolist()]
    with write_geopackage(path, Layer("board", EPSG, COLUMNS)) as writer:
        writer.add(range(1, len(squares) + 1), shapely.multipolygons(squares[:, None]), rows)
    url = postgres.spatial()
    texts = shapely.to_wkb(shapely.set_srid(squares, EPSG), hex=True, include_srid=True)
    lines = "".join(f"{a}\t{b}\t{c}\t{text}\n" for (a, b, c), text in zip(rows, texts, strict=True))
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "create table board (id int generated always as identity primary key, class_code int, class_name text,"
            f" kind text, geom geometry(Polygon, {EPSG}))"
        )
        cursor.copy_expert("copy board (class_code, class_name, kind, geom) from stdin", io.StringIO(lines))
        cursor.execute("create index on board using gist (geom); analyze board")
    database = {"name": "p", "type": "feature", "data": parse_dsn(url), "table": "board"}
    return {
        "geopackage": lambda **given: GeoPackageProvider({"name": "g", "type": "feature", "data": str(path), **given}),
        "postgis": lambda **given: PostgisProvider({**database, **given}),
    }


def read(content: bytes, folder: Path) -> tuple[dict[str, Any], Any]:
    """Return what GDAL reads: columns by name, and geometries in units of the tile, y upwards."""
    path = folder / "tile.mvt"
    path.write_bytes(content)
    meta, _, wkb, columns = pyogrio.raw.read(path)
    return dict(zip(meta["fields"], columns, strict=True)), shapely.from_wkb(wkb)


@pytest.mark.parametrize("source", ["geopackage", "postgis"])
@pytest.mark.parametrize("matrix", ["7", "6", "5"])
def test_each_class_keeps_its_area(providers: dict[str, Any], tmp_path: Path, source: str, matrix: str) -> None:
    tile = tile_at(matrix, WEST + 32_000, SOUTH + 32_000)
    found, outlines = read(providers[source]().tile(tile), tmp_path)
    assert sorted(found["class_code"].tolist()) == [1, 2, 3]
    assert sorted(found["class_name"].tolist()) == ["class 1", "class 2", "class 3"]
    assert "kind" not in found
    assert shapely.is_valid(outlines).all()
    total, cell = area_of(SIDE * METRES, tile), 16.0**2
    for code, share in SHARES.items():
        drawn = outlines[found["class_code"].tolist().index(code)].area
        assert drawn == pytest.approx(total * share, rel=0.02, abs=cell), code
    together = shapely.union_all(outlines)
    assert together.area == pytest.approx(sum(shapely.area(outlines)))
    assert (together.geom_type, len(shapely.get_rings(together))) == ("Polygon", 1)


@pytest.mark.parametrize("source", ["geopackage", "postgis"])
def test_a_tile_of_classes_has_the_rows_of_the_policy(providers: dict[str, Any], tmp_path: Path, source: str) -> None:
    tile = tile_at("7", WEST + 32_000, SOUTH + 32_000)
    reset = current_verdict.set(Verdict(allowed=True, rows=("class_code = 3",)))
    try:
        found, outlines = read(providers[source]().tile(tile), tmp_path)
    finally:
        current_verdict.reset(reset)
    assert found["class_code"].tolist() == [3]
    assert outlines[0].area == pytest.approx(area_of(SIDE * METRES, tile) / 8, rel=0.02)


@pytest.mark.parametrize("source", ["geopackage", "postgis"])
def test_the_column_of_the_class_can_be_configured(providers: dict[str, Any], tmp_path: Path, source: str) -> None:
    tile = tile_at("6", WEST + 32_000, SOUTH + 32_000)
    found, outlines = read(providers[source](class_field="kind").tile(tile), tmp_path)
    assert (found.keys() - {"mvt_id"}, found["kind"].tolist()) == ({"kind"}, ["all"])
    assert outlines[0].area == pytest.approx(area_of(SIDE * METRES, tile), rel=0.02)
    with pytest.raises(ProviderConnectionError, match="there is no column none to show"):
        providers[source](class_field="none").get_fields()


def test_polygons_smaller_than_a_fourth_of_a_cell_count_by_their_area() -> None:
    """At zoom 2 a cell has 24 km; the squares have five."""
    squares, found = chessboard(128, 5_000.0)
    tile = tile_at("2", WEST + 320_000, SOUTH + 320_000)
    grid = ClassGrid(tile.bounds, 3857, (WEST, SOUTH, WEST + 640_000, SOUTH + 640_000), EPSG)
    assert grid.small > 5_000
    grid.add([(code,) for code in found.tolist()], squares)
    paths = outlined(grid.labels()).surfaces()
    total = area_of(640_000.0, tile)
    for place, (code,) in enumerate(grid.classes):
        assert paths[place].area == pytest.approx(total * SHARES[code], rel=0.02), code


def test_a_sparse_class_keeps_its_area_beside_nothing() -> None:
    """Every square of class 3 alone: one eighth of each cell is covered at most, and most cells stay empty."""
    squares, found = chessboard(SIDE, METRES)
    tile = tile_at("6", WEST + 32_000, SOUTH + 32_000)
    grid = ClassGrid(tile.bounds, 3857, (WEST, SOUTH, WEST + 64_000, SOUTH + 64_000), EPSG)
    grid.add([(3,)] * int((found == 3).sum()), squares[found == 3])
    assert outlined(grid.labels()).surfaces()[0].area == pytest.approx(area_of(SIDE * METRES, tile) / 8, rel=0.02)


def test_a_polygon_far_larger_than_the_tile_covers_it() -> None:
    tile = tile_at("9", WEST + 32_000, SOUTH + 32_000)
    grid = ClassGrid(tile.bounds, 3857, (WEST, SOUTH, WEST + 64_000, SOUTH + 64_000), EPSG)
    far = shapely.box(WEST - 300_000, SOUTH - 300_000, WEST + 364_000, SOUTH + 364_000)
    hole = shapely.box(WEST + 20_000, SOUTH + 20_000, WEST + 40_000, SOUTH + 40_000)
    grid.add([("land",), ("lake",)], np.array([far.difference(hole), hole]))
    land, lake = outlined(grid.labels()).surfaces()
    assert land.area + lake.area == pytest.approx((4096 + 128) ** 2)
    scale = ((tile.bounds[2] - tile.bounds[0]) / 4096) ** 2
    moved = shapely.transform(hole, lambda xy: np.column_stack(MERCATOR.transform(*xy.T)))
    inside = shapely.clip_by_rect(moved, *tile.around.bbox)
    assert lake.area == pytest.approx(inside.area / scale, rel=0.02)


def test_many_classes_are_refused() -> None:
    squares, _ = chessboard(SIDE, METRES)
    tile = tile_at("7", WEST + 32_000, SOUTH + 32_000)
    grid = ClassGrid(tile.bounds, 3857, (WEST, SOUTH, WEST + 64_000, SOUTH + 64_000), EPSG)
    with pytest.raises(RequestTooLarge, match="at most 100 classes"):
        grid.add([(number,) for number in range(101)], squares[:101])
