"""The product of a nation, made from the real sample and compared with PROJ pixel by pixel."""

from collections.abc import Mapping
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
from products.catalogue import Product, catalogue_of
from products.classes import NODATA
from products.errors import NothingInside
from products.nations import Nation, find_nation
from products.nations.outline import operation_to, outline_of
from products.nations.product import national_raster, national_vector
from products.operation import operation_between
from products.progress import unheard
from products.raster.cog import read_grid
from products.raster.extract import write_raster
from products.raster.tiff import TILE
from products.raster.warp import MAX_ERROR, open_warp, positions
from products.vector.geopackage import read_geopackage


def nation(name: str) -> Nation:
    found = find_nation(name)
    assert found is not None
    return found


@pytest.fixture
def product(configuration: Mapping[str, Any]) -> Product:
    return catalogue_of(configuration).default


@pytest.fixture
def poland(product: Product, tmp_path: Path) -> Path:
    national_raster(product, nation("poland"), tmp_path, name="pl", report=unheard)
    return tmp_path / "pl.tif"


def test_the_raster_has_the_nations_crs_on_the_10_m_grid_and_all_files(poland: Path) -> None:
    with rasterio.open(poland) as dataset:
        assert dataset.crs.to_epsg() == 2180
        assert dataset.res == (10, 10)
        assert dataset.transform.c % 10 == dataset.transform.f % 10 == 0
        assert dataset.nodata == NODATA
        assert dataset.overviews(1)[:2] == [2, 4]
    suffixes = {path.name.removeprefix("pl.") for path in poland.parent.iterdir()}
    assert suffixes >= {"tif", "tfw", "tif.vat.dbf", "tif.clr", "qml", "txt"}


def test_every_pixel_is_the_nearest_one_of_the_source_within_the_bound(poland: Path, product: Product) -> None:
    """Each pixel must be one that lies, by PROJ's exact position, within an eighth of a pixel of the pixel's centre."""
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


def test_as_much_of_each_class_as_in_the_source(product: Product, tmp_path: Path) -> None:
    """Poland's grid has a scale of 0.9993 to 1.0009: a park's classes cover the same part of it in both rasters."""
    west, south, east, north = 23.74, 52.71, 23.90, 52.80
    area = Area(shapely.box(west, south, east, north))
    with open_warp(product.raster, area, operation_between(3035, 2180), 2180) as warp:
        write_raster(warp, tmp_path, name="park", report=unheard)
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


def test_turkeys_grid_is_europes() -> None:
    assert operation_to(nation("TURKEY"), 3035).accuracy == 0


@pytest.mark.parametrize("name", ["Iceland", "Turkey", "Malta"])
def test_a_nation_without_data_is_refused(name: str, product: Product, tmp_path: Path) -> None:
    for make in (national_raster, national_vector):
        with pytest.raises(NothingInside):
            make(product, nation(name), tmp_path, name="none", report=unheard)


def test_the_polygons_lie_where_the_pixels_lie(poland: Path, product: Product) -> None:
    members = national_vector(product, nation("poland"), poland.parent, name="plv", report=unheard)
    assert [path.name for path in members] == ["plv.gpkg", "plv.sld", "plv.txt"]
    hits, tried = 0, 0
    with read_geopackage(members[0]) as reader, rasterio.open(poland) as raster:
        assert reader.layer.epsg == 2180
        batch = next(reader.features((0, 0, 1e7, 1e7)))
        place, area = (reader.layer.names.index(name) for name in ("class_code", "area_m2"))
        for geometry, row in list(zip(batch.geometries, batch.rows, strict=True))[:300]:
            inner = geometry.buffer(-15)
            assert row[area] == pytest.approx(geometry.area, rel=0.003)
            if not inner.is_empty:
                point = inner.representative_point()
                tried += 1
                hits += next(raster.sample([(point.x, point.y)]))[0] == row[place]
    assert tried > 20
    assert hits == tried
