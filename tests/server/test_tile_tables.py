"""The tile tables of `landcast load`: the same tiles as from the rows, areas known by hand, never outdated."""

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from shapely import Point

from auth.access import Verdict, current_verdict
from plugins.crs import crs_of
from plugins.features import TileQuery
from plugins.postgis import PostgisProvider
from products.tiling import tile_matrix_sets
from tests.plugins.test_dissolved_tiles import MERCATOR, SHARES, SOUTH, WEST, chessboard, read
from tests.postgres import Postgres
from tests.server.test_load import configured, load, provider_of

SIDE, METRES = 32, 2_000.0
LAKE = Point(WEST + 20_000, SOUTH + 20_000).buffer(900, quad_segs=500)
"""A circle of 2,000 vertices in the chessboard, so that it has several pieces."""


def tile_of(matrix: str, x: float, y: float, layer: str = "loaded") -> TileQuery:
    """Return the tile with a point in the coordinates of the layer."""
    found = tile_matrix_sets()["WebMercatorQuad"].matrices[matrix]
    at = MERCATOR.transform(x, y)
    place = found.limits((*at, *at))
    assert place is not None
    dissolved = int(matrix) < 10
    least = 1 / 512 if dissolved else 1 / 4096
    return TileQuery(found.bounds(place.top, place.left), crs_of(3857), layer, 20_000, least, dissolved=dissolved)


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> str:
    return postgres.spatial()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of a chessboard of three classes, with a lake that lies upon it."""
    path = tmp_path_factory.mktemp("board") / "board.gpkg"
    squares, codes = chessboard(SIDE, METRES)
    outlines = shapely.multipolygons([[each] for each in squares] + [[LAKE]])
    values = [np.append(codes, 4).astype(np.int64)]
    values.append(np.array([f"class {code}" for code in values[0]], dtype=object))
    pyogrio.raw.write(path, shapely.to_wkb(outlines), values, ["class_code", "class_name"],
                      geometry_type="MultiPolygon", crs="EPSG:2180", driver="GPKG", layer="cover")  # fmt: skip
    return path


@pytest.fixture(scope="module")
def tables(database: str, file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, PostgisProvider]:
    """Return the providers of the same table with and without tile tables."""
    made = {}
    for name, options in (("tiled %s", ()), ("plain", ("--no-tiles",))):
        configuration = configured(tmp_path_factory.mktemp(name[:5]), database, name)
        done = load(file, configuration, *options)
        assert done.exit_code == 0, done.output
        assert ("tile tables with" in done.output) == (name != "plain")
        made[name[:5]] = provider_of(configuration)
    return made


@pytest.mark.parametrize("matrix", ["9", "8", "7"])
def test_a_stored_tile_has_the_area_of_each_class(
    tables: dict[str, PostgisProvider], tmp_path: Path, matrix: str
) -> None:
    tile = tile_of(matrix, WEST + 32_000, SOUTH + 32_000)
    content = tables["tiled"].stored_tile(tile)
    assert content is not None
    assert tables["plain"].stored_tile(tile) is None
    (path := tmp_path / "tile.mvt").write_bytes(content)
    meta, _, wkb, columns = pyogrio.raw.read(path, CLIP="NO")
    found, outlines = dict(zip(meta["fields"], columns, strict=True)), shapely.from_wkb(wkb)
    inside = shapely.clip_by_rect(outlines, 0, 0, 4096, 4096)
    squares, codes = chessboard(SIDE, METRES)
    moved = shapely.transform(squares, lambda xy: np.column_stack(MERCATOR.transform(*xy.T)))
    scale = ((tile.bounds[2] - tile.bounds[0]) / 4096) ** 2
    true = shapely.area(shapely.clip_by_rect(moved, *tile.bounds)) / scale
    for code in SHARES:
        drawn = inside[found["class_code"].tolist().index(code)].area
        assert drawn == pytest.approx(true[codes == code].sum(), rel=0.02, abs=2 * 16**2), code
    together = shapely.union_all(inside)
    assert together.area == pytest.approx(sum(shapely.area(inside)))
    west, south, east, _ = tile.bounds
    board = shapely.transform(shapely.union_all(moved), lambda xy: (xy - [west, south]) * (4096 / (east - west)))
    within = shapely.clip_by_rect(board.buffer(-4 * 16), 0, 0, 4096, 4096)
    assert within.area > 0.8 * together.area
    assert within.difference(together).area == 0


def test_stored_tiles_meet_at_their_edge(tables: dict[str, PostgisProvider], tmp_path: Path) -> None:
    """In the strip that both have, each cell has the same class."""
    tile = tile_of("9", WEST + 32_000, SOUTH + 32_000)
    west, south, east, north = tile.bounds
    beside = TileQuery((west - (east - west), south, west, north), tile.crs, "loaded", 20_000, 1 / 512, dissolved=True)
    strips = []
    for number, (each, left) in enumerate(((tile, -64), (beside, 4096 - 64))):
        content = tables["tiled"].stored_tile(each)
        assert content
        (path := tmp_path / f"{number}.mvt").write_bytes(content)
        _, _, wkb, columns = pyogrio.raw.read(path, columns=["class_code"], CLIP="NO")
        of_class = dict(zip(columns[0].tolist(), shapely.from_wkb(wkb), strict=True))
        cut = {code: shapely.clip_by_rect(shape, left, 0, left + 128, 4096) for code, shape in of_class.items()}
        strips.append({code: shapely.transform(shape, lambda xy, by=left: xy - [by, 0]) for code, shape in cut.items()})
    for code in (1, 2, 3):
        assert strips[0][code].symmetric_difference(strips[1][code]).area == 0
        assert strips[0][code].area > 0


@pytest.mark.parametrize("matrix", ["10", "12", "14"])
def test_a_tile_of_pieces_has_the_items_of_the_rows(
    tables: dict[str, PostgisProvider], tmp_path: Path, matrix: str
) -> None:
    tile = tile_of(matrix, WEST + 20_000, SOUTH + 20_700)
    drawn = []
    for name, provider in tables.items():
        (tmp_path / name).mkdir()
        found, outlines = read(provider.tile(tile), tmp_path / name)
        items = zip(found["mvt_id"].tolist(), found["class_name"].tolist(), outlines, strict=True)
        drawn.append({number: (text, outline) for number, text, outline in items})
    pieces, rows = drawn
    assert {number: text for number, (text, _) in pieces.items()} == {
        number: text for number, (text, _) in rows.items()
    }
    assert SIDE * SIDE + 1 in pieces
    for number, (_, outline) in rows.items():
        assert pieces[number][1].symmetric_difference(outline).area <= outline.length, number


def test_row_rules_hold_in_pieces_and_stored_tiles_are_not_used(
    tables: dict[str, PostgisProvider], tmp_path: Path
) -> None:
    fine, coarse = (tile_of(matrix, WEST + 20_000, SOUTH + 20_700) for matrix in ("13", "8"))
    reset = current_verdict.set(Verdict(allowed=True, rows=("class_code = 4 AND class_name <> 'none'",)))
    try:
        assert tables["tiled"].stored_tile(coarse) is None
        found, _ = read(tables["tiled"].tile(fine), tmp_path)
    finally:
        current_verdict.reset(reset)
    assert found["class_code"].tolist() == [4]


def test_a_tile_for_another_layer_or_column_or_crs_is_not_stored(
    database: str, tables: dict[str, PostgisProvider], tmp_path: Path
) -> None:
    tile = tile_of("8", WEST, SOUTH)
    assert tables["tiled"].stored_tile(tile_of("8", WEST, SOUTH, "other")) is None
    assert tables["tiled"].stored_tile(TileQuery(tile.bounds, crs_of(3035), "loaded", 1, dissolved=True)) is None
    moved = tuple(each + 1_000.0 for each in tile.bounds)
    assert tables["tiled"].stored_tile(TileQuery(moved, crs_of(3857), "loaded", 1, dissolved=True)) is None  # type: ignore[arg-type]
    other = provider_of(configured(tmp_path, database, "tiled %s", class_field="class_name"))
    assert other.stored_tile(tile) is None
    assert tables["tiled"].stored_tile(tile_of("8", WEST - 500_000, SOUTH)) == b""


def test_a_changed_row_ends_the_tile_tables_and_a_new_table_replaces_them(
    database: str, postgres: Postgres, file: Path, tmp_path: Path
) -> None:
    configuration = configured(tmp_path, database, "changing")
    for _ in range(2):
        assert load(file, configuration).exit_code == 0
        postgres.run(database, "grant select on changing to public")
    there = "select count(*) from pg_class where relkind = 'r' and relname ~ '^landcast_(tiles|pieces)_'"
    oids = "(select oid from pg_class where relname in ('changing', 'tiled %s'))"
    assert postgres.run(database, there) == [(4,)]
    assert postgres.run(database, f"{there} and substring(relname from '[0-9]+')::oid in {oids}") == [(4,)]
    assert postgres.run(database, "select count(*) from pg_proc where proname like 'landcast_stale_%'") == [(2,)]
    [(oid,)] = postgres.run(database, "select 'changing'::regclass::oid")
    privileges = f"select has_table_privilege('public', 'landcast_{{}}_{oid}', 'select')"
    for kind in ("tiles", "pieces"):
        assert postgres.run(database, privileges.format(kind)) == [(True,)]
    provider = provider_of(configuration)
    coarse, fine = (tile_of(matrix, WEST + 20_000, SOUTH + 20_700) for matrix in ("8", "13"))
    assert provider.stored_tile(coarse)
    postgres.run(database, "delete from changing where class_code <> 4")
    assert provider.stored_tile(coarse) is None
    found, _ = read(provider.tile(fine), tmp_path)
    assert found["class_code"].tolist() == [4]


def test_rows_without_a_place_in_web_mercator_are_loaded_without_tile_tables(
    database: str, postgres: Postgres, tmp_path: Path
) -> None:
    path = tmp_path / "far.gpkg"
    far: Any = shapely.multipolygons([[shapely.box(0, 200, 10, 300)]])
    pyogrio.raw.write(path, shapely.to_wkb(np.array(far, ndmin=1)), [np.array([1])], ["class_code"],
                      geometry_type="MultiPolygon", crs="EPSG:4326", driver="GPKG", layer="far")  # fmt: skip
    done = load(path, configured(tmp_path, database, "far"))
    assert (done.exit_code, "no tile tables: " in done.output) == (0, True), done.output
    [(oid,)] = postgres.run(database, "select 'far'::regclass::oid")
    assert postgres.run(database, f"select to_regclass('landcast_tiles_{oid}')") == [(None,)]


def test_a_table_without_classes_has_pieces_alone(database: str, tmp_path: Path) -> None:
    path = tmp_path / "lines.gpkg"
    line: Any = shapely.multilinestrings([[[WEST, SOUTH], [WEST + 5_000, SOUTH + 3_000]]])
    pyogrio.raw.write(path, shapely.to_wkb(np.array([line])), [np.array(["a"], dtype=object)], ["name"],
                      geometry_type="MultiLineString", crs="EPSG:2180", driver="GPKG", layer="lines")  # fmt: skip
    configuration = configured(tmp_path, database, "lines")
    done = load(path, configuration)
    assert "tile tables with 0 tiles" in done.output, done.output
    provider = provider_of(configuration)
    assert provider.stored_tile(tile_of("8", WEST, SOUTH)) is None
    found, outlines = read(provider.tile(tile_of("12", WEST, SOUTH)), tmp_path)
    assert found["name"].tolist() == ["a"]
    assert outlines[0].length > 100
