"""The values of areas, compared with numpy on the pixels that rasterio finds in the same outline."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.features import geometry_mask

from products.area import Area
from products.errors import BrokenSource, RequestTooLarge
from products.raster.measured import has_values, measure_values
from tests.odd.rasters import gdal_cog, surface, written

WEST, NORTH, SIDE = 4_900_000.0, 3_100_000.0, 20.0


def area(*corners: tuple[float, float], crs: int = 3035) -> Area:
    """Return the polygon with these corners in pixels from the upper left one of the rasters below."""
    places = [(WEST + SIDE * x, NORTH - SIDE * y) for x, y in corners]
    to_degrees = Transformer.from_crs(crs, 4326, always_xy=True)
    return Area(shapely.Polygon([to_degrees.transform(*place) for place in places]))


WEDGE = area((20.3, 15.2), (390.1, 120.7), (200.5, 280.4))
HOLE = np.zeros((300, 411), bool)
HOLE[100:150, 100:260] = True


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "uint64", "float32", "float64"])
@pytest.mark.parametrize("says", ["nodata", "mask", "nothing"])
def test_mean_minimum_maximum_and_deviation_are_those_of_numpy(tmp_path: Path, dtype: str, says: str) -> None:
    bands = 1 if dtype in {"int64", "uint64"} else 2  # GDAL 3.12 never ends an overview of several with nodata
    values = surface(bands, dtype)
    given: dict[str, Any] = {"mask": np.where(HOLE, 0, 255).astype("uint8")} if says == "mask" else {}
    if says == "nodata":
        values[:, HOLE] = 121
        given = {"nodata": 121}
    path = written(tmp_path / "odd.tif", values, **given)
    found = measure_values(path, WEDGE, bands=bands)
    with rasterio.open(path) as source:
        inside = geometry_mask([WEDGE.project(3035)], source.shape, source.transform, invert=True)
    chosen = inside & ~HOLE if says != "nothing" else inside
    assert (found.pixels, found.overview, found.exact) == (int(np.count_nonzero(inside)), 1, True)
    for band, expected in zip(found.bands, values, strict=True):
        numbers = expected[chosen]
        assert (band.pixels, band.minimum, band.maximum) == (numbers.size, numbers.min(), numbers.max())
        assert band.mean == pytest.approx(numbers.astype(float).mean(), rel=1e-6)
        assert band.deviation == pytest.approx(numbers.astype(float).std(), rel=1e-5)


def test_values_that_are_not_finite_are_no_data(tmp_path: Path) -> None:
    values = surface(1, "float64")
    values[0, 140, 180:182] = (np.nan, np.inf)
    path = written(tmp_path / "odd.tif", values)
    found = measure_values(path, area((180, 140), (184, 140), (184, 141), (180, 141)), bands=1)
    assert (found.pixels, found.bands[0].pixels) == (4, 2)
    assert found.bands[0].maximum == values[0, 140, 183]


def test_larger_than_a_square_and_partly_beside_the_raster(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(500, 100, (1, 1_300, 2_100)).astype("float32")
    path = written(tmp_path / "large.tif", values)
    wide = area((-50.2, 900.3), (2_200.4, -30.1), (2_080.7, 1_290.2))
    found = measure_values(path, wide, bands=1)
    with rasterio.open(path) as source:
        inside = geometry_mask([wide.project(3035)], source.shape, source.transform, invert=True)
    assert found.bands[0].pixels == np.count_nonzero(inside) > 1_024**2
    assert found.bands[0].mean == pytest.approx(values[0][inside].astype(float).mean(), rel=1e-9)
    assert found.bands[0].deviation == pytest.approx(values[0][inside].astype(float).std(), rel=1e-9)


def test_a_raster_in_degrees_is_measured_in_them(tmp_path: Path) -> None:
    values = surface(1, "float32")
    path = written(tmp_path / "odd.tif", values, crs="EPSG:4326", transform=Affine(0.01, 0, 10, 0, -0.01, 50))
    found = measure_values(path, Area(shapely.box(10.1, 49.5, 10.2, 49.8)), bands=1)
    assert found.bands[0].pixels == 300
    assert found.bands[0].mean == pytest.approx(values[0, 20:50, 10:20].mean(), rel=1e-6)


def test_too_many_pixels_are_read_in_an_overview(tmp_path: Path) -> None:
    path = written(tmp_path / "odd.tif", surface(1, "float32"))
    exact, coarse = measure_values(path, WEDGE, bands=1), measure_values(path, WEDGE, bands=1, most=20_000)
    assert (coarse.overview, coarse.exact) == (4, False)
    assert exact.bands[0].mean is not None
    assert coarse.bands[0].mean == pytest.approx(exact.bands[0].mean, rel=0.01)
    with pytest.raises(RequestTooLarge, match="More than 100 pixels"):
        measure_values(path, WEDGE, bands=1, most=100)


def test_beside_the_raster_there_is_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "odd.tif", surface(1, "float32"))
    beside = area((-90, 0), (-10, 0), (-10, 80))
    found = measure_values(path, beside, bands=1)
    assert (found.pixels, found.bands[0].pixels, found.bands[0].mean) == (0, 0, None)
    assert not has_values(path, beside)
    assert has_values(path, WEDGE)


def test_a_broken_file_has_a_reason(tmp_path: Path) -> None:
    path = gdal_cog(tmp_path / "cut.tif", np.zeros((300, 411), np.uint8), compress="none")
    path.write_bytes(path.read_bytes()[:3_000])
    with pytest.raises(BrokenSource, match=r"cut\.tif"):
        measure_values(path, WEDGE, bands=1)
