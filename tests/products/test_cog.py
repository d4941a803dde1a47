import os
import time
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer
from rasterio.transform import from_origin
from rasterio.windows import Window

from products.classes import CLASSES, NODATA
from products.errors import BrokenSource, InvalidArea, RequestTooLarge
from products.limits import MAX_PIXELS
from products.operation import Bounds
from products.raster.cog import OpenRasters, check_classes, read_grid
from products.raster.picture import Style, palette_of, png
from products.raster.scaled import Wanted, open_scaled
from products.whole import link

OJCOW = (19.77, 50.19, 19.87, 50.24)
PROFILE: dict[str, Any] = {
    "driver": "GTiff",
    "width": 1024,
    "height": 1024,
    "count": 1,
    "dtype": "uint8",
    "tiled": True,
    "blockxsize": 512,
    "blockysize": 512,
    "crs": "EPSG:3035",
    "transform": from_origin(4_900_000, 3_100_000, 10, 10),
}


def read_scaled(source: Path, bbox: Bounds, epsg: int, size: tuple[int, int]) -> tuple[NDArray[np.uint8], Affine, int]:
    files, wanted = OpenRasters(), Wanted(bbox, epsg, size, NODATA)
    grid = read_grid(source)
    with open_scaled(partial(files.reading, source, check_classes), grid, wanted, limit=MAX_PIXELS) as reader:
        values = reader.rows(0, size[1])
    files.close()
    return values[0], wanted.transform, epsg


def test_the_grid_is_read(raster: Path) -> None:
    grid = read_grid(raster)
    assert (grid.width, grid.height, grid.epsg, grid.block, grid.resolution) == (58_880, 47_104, 3035, 512, 10)
    assert grid.bounds == (4_669_440, 2_969_600, 5_258_240, 3_440_640)
    assert grid.overviews == (2, 4, 8, 16, 32, 64, 128)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"count": 3}, "3 bands"),
        ({"dtype": "int16"}, "int16"),
        ({"crs": None}, "no CRS"),
        ({"transform": from_origin(0, 0, 10, 20)}, "square, north up"),
        ({"blockysize": 256}, "square blocks"),
    ],
)
def test_other_rasters_than_class_rasters_are_refused(tmp_path: Path, changed: dict[str, Any], expected: str) -> None:
    with rasterio.open(tmp_path / "odd.tif", "w", **PROFILE | changed):
        pass
    with pytest.raises(BrokenSource, match=expected):
        read_grid(tmp_path / "odd.tif")


def test_a_truncated_file_is_broken(raster: Path, tmp_path: Path) -> None:
    (tmp_path / "half.tif").write_bytes(raster.read_bytes()[:190_000])
    with pytest.raises(BrokenSource, match=r"half\.tif"):
        read_scaled(tmp_path / "half.tif", read_grid(raster).bounds, 3035, (4096, 3277))


def test_pixels_on_the_sources_grid_are_unchanged(raster: Path) -> None:
    window = Window(35_000, 38_200, 300, 200)
    with rasterio.open(raster) as source:
        expected, bounds = source.read(1, window=window), source.window_bounds(window)
    pixels, transform, epsg = read_scaled(raster, bounds, 3035, (300, 200))
    assert len(np.unique(expected)) > 3
    assert (pixels == expected).all()
    assert (transform.a, transform.c, transform.f, epsg) == (10, bounds[0], bounds[3], 3035)


@pytest.mark.parametrize("epsg", [4326, 3857])
def test_a_warped_pixel_is_the_nearest_of_the_source(raster: Path, epsg: int) -> None:
    west, south, east, north = Transformer.from_crs(4326, epsg, always_xy=True).transform_bounds(*OJCOW)
    pixels, transform, _ = read_scaled(raster, (west, south, east, north), epsg, (900, 700))
    columns, rows = np.meshgrid(np.arange(900) + 0.5, np.arange(700) + 0.5)
    x, y = Transformer.from_crs(epsg, 3035, always_xy=True).transform(*(transform @ (columns, rows)))
    with rasterio.open(raster) as source:
        column, row = ~source.transform @ (x, y)
        left, top = int(column.min()), int(row.min())
        original = source.read(1, window=Window(left, top, int(column.max()) - left + 1, int(row.max()) - top + 1))
    expected = original[row.astype(int) - top, column.astype(int) - left]
    assert (expected != NODATA).sum() > 100_000
    assert (pixels == expected).mean() > 0.97


@pytest.mark.parametrize(("bbox", "epsg"), [((-180, -90, 180, 90), 4326), ((-2e7, -2e7, 2e7, 2e7), 3857)])
def test_the_whole_world_is_drawn(raster: Path, bbox: tuple[float, float, float, float], epsg: int) -> None:
    begin = time.process_time()
    pixels, _, _ = read_scaled(raster, bbox, epsg, (4096, 4096))
    assert pixels.shape == (4096, 4096)
    assert 0 < (pixels != NODATA).sum() < 50_000
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("far", [1e2, 1e4, 1e8, 1e13])
def test_a_box_beyond_the_poles_shows_the_row_whose_middle_meets_the_source(raster: Path, far: float) -> None:
    x, y = 19.8257, 50.2075
    pixels, _, _ = read_scaled(raster, (x - 0.001, y - far, x + 0.001, y + far), 4326, (37, 23))
    assert pixels[11].tolist() == [3] * 37
    assert (np.delete(pixels, 11, axis=0) == NODATA).all()


@pytest.mark.parametrize("epsg", [4326, 3857, 3035])
@pytest.mark.parametrize("far", [1e6, 1e8, 1e13, 1e30])
def test_a_box_beyond_the_earth_is_no_broken_source(raster: Path, far: float, epsg: int) -> None:
    for box in ((19, -180, 379, far), (-far, -far, far, far), (-far, 0, far, 100), (19, -far, 20, 50)):
        pixels, _, _ = read_scaled(raster, box, epsg, (37, 23))
        assert (pixels != NODATA).sum() <= 37


def test_pixels_outside_of_the_source_are_no_data(raster: Path) -> None:
    pixels, _, _ = read_scaled(raster, (0, 0, 1, 1), 4326, (30, 20))
    assert pixels.shape == (20, 30)
    assert (pixels == NODATA).all()


def test_a_raster_may_get_another_name_while_it_is_read(tmp_path: Path) -> None:
    """An order of the whole product links to it: the content is the same, so it is not opened again."""
    source = tmp_path / "a.tif"
    with rasterio.open(source, "w", **PROFILE) as made:
        made.write(np.full((1024, 1024), 3, np.uint8), 1)
    files = OpenRasters()
    with files.reading(source, check_classes, None) as opened:
        link(source, tmp_path / "whole.tif")
        assert (opened.dataset.read(1) == 3).all()
    with files.reading(source, check_classes, None) as again:
        assert again.dataset is opened.dataset
        (tmp_path / "whole.tif").unlink()
    with pytest.raises(BrokenSource, match=r"a\.tif was written to"), files.reading(source, check_classes, None):
        os.utime(source, ns=(1, 1))
    files.close()


def test_more_pixels_than_the_bound_are_refused_before_one_is_read(raster: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestTooLarge, match=r"5000 x 5000.*16,777,216"):
        read_scaled(raster, OJCOW, 4326, (5000, 5000))
    with rasterio.open(tmp_path / "giant.tif", "w", **PROFILE | {"width": 60_000, "height": 60_000, "sparse_ok": True}):
        pass
    with pytest.raises(RequestTooLarge, match="no overview"):
        read_scaled(tmp_path / "giant.tif", read_grid(tmp_path / "giant.tif").bounds, 3035, (100, 100))


def test_a_bbox_without_coordinates_in_the_sources_system_is_refused(raster: Path) -> None:
    with pytest.raises(InvalidArea, match="999999"):
        read_scaled(raster, OJCOW, 999_999, (10, 10))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_picture_has_class_colours_and_transparent_no_data() -> None:
    values = np.array([[*(entry.value for entry in CLASSES), NODATA]], np.uint8)
    for background, clear in ((None, (0, 0, 0, 0)), ((1, 2, 3), (1, 2, 3, 255))):
        image = Image.open(BytesIO(png(values, palette_of(Style(CLASSES, background=background))))).convert("RGBA")
        colours = [tuple(colour) for colour in np.asarray(image)[0].tolist()]
        assert colours == [*((*entry.rgb, 255) for entry in CLASSES), clear]
