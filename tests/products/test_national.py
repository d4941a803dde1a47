"""The product of a nation, made from the real sample and compared with PROJ pixel by pixel."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.features import geometry_mask
from rasterio.windows import Window

from products.area import Area
from products.catalogue import Product, catalogue_of, read_configuration
from products.classes import CLASSES, NODATA
from products.errors import BrokenPiece, NothingInside
from products.nations import Nation, find_nation
from products.nations.outline import operation_to, outline_of
from products.nations.raster import NationalRaster
from products.nations.vector import NationalVector
from products.operation import operation_between
from products.progress import unheard
from products.raster.cog import read_grid
from products.raster.parts import join_pieces, write_piece
from products.raster.tiff import TILE
from products.raster.warp import MAX_ERROR, open_warp, positions
from products.vector.geopackage import read_geopackage
from tests.products.national import KINDS, make_national

ROOT = Path(__file__).parents[2]


def nation(name: str) -> Nation:
    found = find_nation(name)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def product(sample: Path) -> Iterator[Product]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANDCAST_STATE_DIR", str(sample))
        yield catalogue_of(read_configuration(ROOT / "pygeoapi-config.yml")).default


@pytest.fixture(scope="module")
def poland(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_national("Raster", product, nation("poland"), tmp_path_factory.mktemp("poland"))[0]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make parts so small that a nation with one park has several."""
    monkeypatch.setattr("products.raster.parts.BLOCKS", 1)
    monkeypatch.setattr("products.vector.parts.FEATURES", 300)


def test_the_raster_has_the_nations_crs_on_the_10_m_grid_and_all_files(poland: Path) -> None:
    with rasterio.open(poland) as dataset:
        assert dataset.crs.to_epsg() == 2180
        assert dataset.res == (10, 10)
        assert dataset.transform.c % 10 == dataset.transform.f % 10 == 0
        assert dataset.nodata == NODATA
        assert dataset.overviews(1)[:2] == [2, 4]
    suffixes = {path.name.removeprefix("made.") for path in poland.parent.iterdir()}
    assert suffixes >= {"tif", "tfw", "tif.vat.dbf", "tif.clr", "qml", "txt"}


def test_every_pixel_is_the_nearest_one_of_the_source_within_the_bound(poland: Path, product: Product) -> None:
    """By PROJ's exact position, each source pixel is within an eighth of a pixel of the target pixel's centre."""
    poles = nation("poland")
    operation = operation_to(poles, 3035)
    random = np.random.default_rng(7)
    checked = 0
    with rasterio.open(poland) as made, rasterio.open(product.raster) as source:
        pixels, outline = made.read(1, out_shape=(made.height // 512, made.width // 512)), outline_of(poles)
        inside = operation.project(outline.project(3035))
        for row, column in random.permutation(np.argwhere(pixels != NODATA))[:12]:
            window = Window(int(column) * 512, int(row) * 512, 256, 256)
            transform = made.transform @ Affine.translation(window.col_off, window.row_off)
            here = made.read(1, window=window)
            rows, columns = np.indices(here.shape)
            x, y = operation.back(*(transform @ (columns.ravel() + 0.5, rows.ravel() + 0.5)))
            at_columns, at_rows = ~source.transform @ (x, y)
            outside = geometry_mask([inside], here.shape, transform).ravel()
            allowed = np.zeros(here.size, bool)
            for dx in (-MAX_ERROR, MAX_ERROR):
                for dy in (-MAX_ERROR, MAX_ERROR):
                    allowed |= here.ravel() == nearest(source, at_columns + dx, at_rows + dy)
            assert (allowed | outside).all()
            assert (here.ravel()[outside] == NODATA).all()
            checked += int(np.count_nonzero(here != NODATA))
    assert checked > 50_000


def nearest(source: Any, columns: Any, rows: Any) -> Any:
    left, top = int(columns.min()) - 1, int(rows.min()) - 1
    window = Window(left, top, int(columns.max()) - left + 2, int(rows.max()) - top + 2)
    pixels = source.read(1, window=window, boundless=True, fill_value=NODATA)
    return pixels[np.floor(rows).astype(int) - top, np.floor(columns).astype(int) - left]


@pytest.mark.parametrize("name", ["Poland", "Norway", "Turkey", "Portugal", "Spain (Canaries)", "Great Britain"])
def test_interpolated_positions_are_within_an_eighth_of_a_pixel_of_proj(name: str, product: Product) -> None:
    there = nation(name)
    operation, grid = operation_to(there, 3035), read_grid(product.raster)
    x, y = operation.project(outline_of(there).project(3035)).centroid.coords[0]
    transform = Affine(10, 0, x, 0, -10, y)
    columns, rows = positions(operation, grid, transform)
    at = np.random.default_rng(5).integers(0, TILE, (2, 2_000))
    exact = ~grid.transform @ operation.back(*(transform @ (at[1] + 0.5, at[0] + 0.5)))
    assert np.abs(columns[at[0], at[1]] - exact[0]).max() < MAX_ERROR
    assert np.abs(rows[at[0], at[1]] - exact[1]).max() < MAX_ERROR


def test_the_area_of_each_class_is_that_of_the_source(product: Product, tmp_path: Path) -> None:
    """Poland's grid has a scale of 0.9993 to 1.0009: a park's classes have the same share in both rasters."""
    west, south, east, north = 23.74, 52.71, 23.90, 52.80
    area = Area(shapely.box(west, south, east, north))
    with open_warp(product.raster, area, operation_between(3035, 2180), 2180) as warp:
        assert warp is not None
        piece = tmp_path / "piece", write_piece(warp, None, tmp_path / "piece", report=unheard)
    join_pieces([piece], tmp_path, name="park", epsg=2180, classes=CLASSES, report=unheard)
    with rasterio.open(tmp_path / "park.tif") as made, rasterio.open(product.raster) as source:
        ours = np.bincount(made.read(1).ravel(), minlength=256)[:NODATA]
        there = area.project(3035)
        window = source.window(*there.bounds).round_offsets().round_lengths(op="ceil")
        pixels = source.read(1, window=window)
        pixels[geometry_mask([there], pixels.shape, source.window_transform(window))] = NODATA
    theirs = np.bincount(pixels.ravel(), minlength=256)[:NODATA]
    common = theirs > 1_000
    assert np.abs(ours[common] / theirs[common] - ours.sum() / theirs.sum()).max() < 0.01
    assert abs(ours.sum() / theirs.sum() - 1) < 0.002


def test_the_grid_of_turkey_is_that_of_europe() -> None:
    assert operation_to(nation("TURKEY"), 3035).accuracy == 0


@pytest.mark.parametrize("name", ["Iceland", "Turkey", "Malta"])
def test_a_nation_without_data_is_refused(name: str, product: Product, tmp_path: Path) -> None:
    for kind in KINDS:
        with pytest.raises(NothingInside):
            make_national(kind, product, nation(name), tmp_path)


def test_the_polygons_match_the_pixels(product: Product, tmp_path: Path) -> None:
    """Compared in the Czech grid, which is rotated by up to ten degrees and scales lengths by 0.9999 to 1.0001."""
    raster, *_ = make_national("Raster", product, nation("czech republic"), tmp_path)
    members = make_national("Vector", product, nation("czech republic"), tmp_path)
    assert [path.name for path in members] == ["made.gpkg", "made.sld", "made.txt"]
    hits, tried = 0, 0
    with read_geopackage(members[0]) as reader, rasterio.open(raster) as made:
        assert reader.layer.epsg == made.crs.to_epsg() == 5514
        batch = next(reader.features((-1e7, -1e7, 1e7, 1e7)))
        place, area = (reader.layer.names.index(name) for name in ("class_code", "area_m2"))
        for geometry, row in zip(batch.geometries, batch.rows, strict=True):
            inner = geometry.buffer(-15)
            assert row[area] == pytest.approx(geometry.area, rel=0.003)
            if not inner.is_empty:
                point = inner.representative_point()
                tried += 1
                hits += next(made.sample([(point.x, point.y)]))[0] == row[place]
    assert tried > 100
    assert hits == tried


@pytest.mark.usefixtures("small_parts")
def test_the_raster_of_many_parts_has_the_bytes_of_one(product: Product, tmp_path: Path) -> None:
    czechs = nation("czech republic")
    parts = NationalRaster(product, czechs).divide(most=5)
    branches = [tuple(key) for part in parts for key in part["branches"]]
    assert len(parts) == 5
    assert len({level for level, *_ in branches}) > 1, "branches of different heights are joined"
    once, often = tmp_path / "once", tmp_path / "often"
    for folder, most in ((once, 1), (often, 5)):
        folder.mkdir()
        members = make_national("Raster", product, czechs, folder, most=most)
    assert len([*often.glob("piece-*")]) == 5
    for member in members:
        assert member.read_bytes() == (once / member.name).read_bytes(), member.name


_ALIKE = """
SELECT * FROM land_cover; SELECT id, minx, maxx, miny, maxy FROM rtree_land_cover_geometry ORDER BY id;
SELECT table_name, identifier, description, min_x, min_y, max_x, max_y, srs_id FROM gpkg_contents;
SELECT * FROM gpkg_geometry_columns; SELECT * FROM gpkg_spatial_ref_sys; SELECT * FROM gpkg_extensions;
SELECT styleName, styleQML, styleSLD, useAsDefault FROM layer_styles; SELECT * FROM sqlite_sequence;
SELECT type, name, sql FROM sqlite_master ORDER BY name; PRAGMA user_version; PRAGMA application_id
"""


def contents(geopackage: Path) -> list[list[tuple[Any, ...]]]:
    with sqlite3.connect(geopackage) as connection:
        return [connection.execute(query).fetchall() for query in _ALIKE.split(";")]


@pytest.mark.usefixtures("small_parts")
def test_the_polygons_of_many_parts_are_those_of_one(product: Product, tmp_path: Path) -> None:
    once, often = tmp_path / "once", tmp_path / "often"
    for folder, most in ((once, 1), (often, 5)):
        folder.mkdir()
        members = make_national("Vector", product, nation("czech republic"), folder, most=most)
    pieces = [contents(path)[0] for path in sorted(often.glob("piece-*"))]
    assert len(pieces) > 2
    assert all(pieces)
    assert sum(map(len, pieces)) == len(contents(members[0])[0]) > 2_000, "each feature is in one piece"
    for ours, theirs in zip(contents(members[0]), contents(once / members[0].name), strict=True):
        assert ours == theirs
    for member in members[1:]:
        assert member.read_text() == (once / member.name).read_text()


def test_a_small_nation_is_not_divided(product: Product) -> None:
    """The source has 114 blocks and 143,624 features of one nation, and few of another."""
    for national, most in (NationalRaster, 4), (NationalVector, 3):
        assert len(national(product, nation("poland")).divide(most=64)) == most
        assert len(national(product, nation("poland")).divide(most=2)) == 2
        assert len(national(product, nation("slovakia")).divide(most=64)) == 1


@pytest.mark.usefixtures("small_parts")
def test_pieces_of_different_grids_are_not_joined(product: Product, tmp_path: Path) -> None:
    """Like those of two machines whose PROJ has different operations."""
    national = NationalRaster(product, nation("slovakia"))
    pieces = []
    for number, part in enumerate(national.divide(most=2)):
        made = national.write_piece(part, tmp_path / str(number), report=unheard)
        pieces.append((tmp_path / str(number), json.loads(json.dumps(made))))
    pieces[1][1]["frame"]["west"] += 10
    with pytest.raises(BrokenPiece, match="differ in PROJ"):
        national.join(pieces, tmp_path, name="x", report=unheard)
