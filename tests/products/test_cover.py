import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.warp import transform as transform_points

from products.area import Area, read_area
from products.errors import BrokenSource
from products.raster.cover import has_data


def test_every_park_has_data(raster: Path, parks: dict[str, Area]) -> None:
    assert all(has_data(raster, area) for area in parks.values())


@pytest.mark.parametrize(
    "value",
    [{"bbox": [18, 51, 18.1, 51.1]}, {"bbox": [0, 0, 1, 1]}, {"bbox": [-172, -54, -168, -50]}],
    ids=["inside the extent", "outside of it", "at the antipode"],
)
def test_an_empty_area_has_no_data(raster: Path, value: object) -> None:
    assert not has_data(raster, read_area(value))


def test_five_million_square_kilometres_are_checked_within_two_seconds(raster: Path, parks: dict[str, Area]) -> None:
    europe = read_area({"bbox": [0, 40, 30, 60]})
    assert europe.km2 > 4_500_000
    holes = Area(europe.geometry.difference(shapely.union_all([park.geometry.buffer(0.05) for park in parks.values()])))
    for area, expected in ((europe, True), (holes, False)):
        begin = time.process_time()
        assert has_data(raster, area) is expected
        assert time.process_time() - begin < 2


@pytest.mark.parametrize(
    "options", [{}, {"overviews": "none"}, {"overview_resampling": "nearest"}, {"sparse_ok": True}]
)
@pytest.mark.parametrize("side", [2048, 1537])
def test_one_pixel_is_found_in_any_file(tmp_path: Path, options: dict[str, object], side: int) -> None:
    """An overview by the nearest pixel, or of an odd size, may lack a pixel, so it is not trusted."""
    pixels = np.full((side, side), 255, np.uint8)
    pixels[777, 1536] = 10
    transform = from_origin(4_900_000, 3_100_000, 10, 10)
    profile = {"crs": "EPSG:3035", "transform": transform, "nodata": 255, "dtype": "uint8", "count": 1}
    cog = tmp_path / "cog.tif"
    settings = profile | {"blocksize": 512, "overview_resampling": "mode"} | options
    with rasterio.open(cog, "w", driver="COG", width=side, height=side, **settings) as target:
        target.write(pixels, 1)
    x, y = transform @ (1536.5, 777.5)
    assert has_data(cog, _around(x, y, 4))
    assert has_data(cog, _around(x, y, 9000))
    assert not has_data(cog, _around(x - 10, y, 4))


def _around(x: float, y: float, distance: float) -> Area:
    """Return a square around a point of EPSG:3035 as an area; its edges deviate by less than a metre."""
    square = shapely.segmentize(shapely.Point(x, y).buffer(distance, cap_style="square"), 100)
    return Area(shapely.transform(square, _to_degrees))


def _to_degrees(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack(transform_points("EPSG:3035", "EPSG:4326", *points.T))


def test_a_broken_source_is_named_without_its_folder(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(BrokenSource, match=r"text\.tif") as broken:
        has_data(tmp_path / "text.tif", read_area({"bbox": [18, 51, 18.1, 51.1]}))
    assert str(tmp_path) not in str(broken.value)
