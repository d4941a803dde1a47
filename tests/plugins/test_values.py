"""Rasters of measured values of any type and number of bands, by the coverage provider."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from pygeoapi.provider.base import ProviderConnectionError
from rasterio.io import MemoryFile

from plugins.cog import CogProvider
from plugins.coverage_formats import coverage_json, position_json, range_type
from plugins.crs import CRS84, Box
from products.limits import MAX_PIXELS
from products.raster.geotiff import geotiff
from tests.odd.rasters import surface, written

SIDE, WEST, NORTH = 20.0, 4_900_000.0, 3_100_000.0
TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")


def served(path: Path, *names: str, **first: Any) -> CogProvider:
    bands = [{"name": name, "title": name.upper(), "unit": "m"} for name in names]
    bands[0] |= first
    return CogProvider({"type": "coverage", "name": "plugins.cog.CogProvider", "data": str(path), "bands": bands})


@pytest.mark.parametrize("dtype", TYPES)
def test_at_its_own_scale_every_value_is_unchanged(tmp_path: Path, dtype: str) -> None:
    values = surface(3, dtype)
    cog = served(written(tmp_path / "odd.tif", values), "a", "b", "c")
    box = Box((WEST + 7 * SIDE, NORTH - 290 * SIDE, WEST + 400 * SIDE, NORTH - 3 * SIDE), cog.native)
    with cog.open(box, (393, 287), bands=cog.bands, method=cog.methods[0]) as pixels:
        content = geotiff(pixels.tiff, pixels.rows)
    with MemoryFile(content) as memory, memory.open() as dataset:
        np.testing.assert_array_equal(dataset.read(), values[:, 3:290, 7:400])
        assert dataset.dtypes == (dtype,) * 3
        assert dataset.descriptions == ("A", "B", "C")
        assert dataset.nodata is None
    assert range_type(cog)["field"][1]["name"] == "b"


def test_fields_are_selected_in_the_asked_order(tmp_path: Path) -> None:
    values = surface(3, "int16")
    cog = served(written(tmp_path / "odd.tif", values), "a", "b", "c")
    assert {name: field["type"] for name, field in cog.fields.items()} == dict.fromkeys("abc", "integer")
    with cog.open(cog.whole, (411, 300), bands=(cog.bands[2], cog.bands[0])) as pixels:
        np.testing.assert_array_equal(pixels.values, values[[2, 0]])
        assert list(coverage_json(pixels)["ranges"]) == ["c", "a"]


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("says", ["nodata", "mask"])
def test_no_data_stays_no_data(tmp_path: Path, dtype: str, says: str) -> None:
    values = surface(2, dtype)
    missing = np.zeros(values.shape[1:], bool)
    missing[100:150, 200:260] = True
    given: dict[str, Any] = {"mask": np.where(missing, 0, 255).astype("uint8")}
    if says == "nodata":
        given = {"nodata": -99}
        values[:, missing] = -99
    cog = served(written(tmp_path / "odd.tif", values, **given), "a", "b")
    beyond = Box((WEST - 10 * SIDE, NORTH - 300 * SIDE, WEST + 411 * SIDE, NORTH), cog.native)
    with (
        cog.open(beyond, (421, 300)) as pixels,
        MemoryFile(geotiff(pixels.tiff, pixels.rows)) as memory,
        memory.open() as dataset,
    ):
        there = dataset.read_masks(1) > 0
        found = dataset.read()
    np.testing.assert_array_equal(there[:, 10:], ~missing)
    assert not there[:, :10].any()
    np.testing.assert_array_equal(found[:, :, 10:][:, ~missing], values[:, ~missing])
    with cog.open(cog.whole.to(CRS84), (80, 60), method="mean") as pixels:
        seen = coverage_json(pixels)["ranges"]["a"]["values"]
    known = [value for value in seen if value is not None]
    assert 100 < len(known) < 80 * 60
    assert min(known) >= 0


def test_values_are_interpolated_as_asked(tmp_path: Path) -> None:
    values = surface(1, "float64", 256, 256)
    cog = served(written(tmp_path / "odd.tif", values), "a")
    by_four = values[0].reshape(64, 4, 64, 4)
    for method, expected in (("mean", by_four.mean((1, 3))), ("minimum", None), ("maximum", None)):
        with cog.open(cog.whole, (64, 64), method=method) as pixels:  # type: ignore[arg-type]  # from the table
            found = pixels.values[0]
        if expected is not None:
            np.testing.assert_allclose(found, expected)
        else:
            assert (found >= by_four.min((1, 3)) - 1e-9).all()
            assert (found <= by_four.max((1, 3)) + 1e-9).all()
    with cog.open(cog.whole, (512, 512), method="linear") as pixels:
        finer = pixels.values[0]
    assert len(np.unique(finer[10:-10, 10:-10])) > 1.5 * len(np.unique(values))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_picture_has_a_ramp_from_lowest_to_highest_value(tmp_path: Path) -> None:
    values = surface(1, "float32")
    values[0, :10] = np.nan
    cog = served(written(tmp_path / "odd.tif", values), "a", minimum=0, maximum=100)
    pixels = cog.read(cog.whole, (411, 300))
    expected = np.rint(np.clip(values[0] / 100, 0, 1) * 254)
    np.testing.assert_array_equal(pixels.codes[10:], expected[10:].astype("uint8"))
    assert (pixels.codes[:10] == 255).all()
    with MemoryFile(pixels.picture()) as memory, memory.open(driver="PNG") as image:
        assert image.shape == (300, 411)
    unlimited = served(written(tmp_path / "free.tif", values), "a")
    low, high = unlimited.bands[0].limits
    assert 0 <= low < 5
    assert 100 < high < 130


def test_the_value_at_a_place_has_its_field(tmp_path: Path) -> None:
    values = surface(2, "float64")
    cog = served(written(tmp_path / "odd.tif", values), "a", "b")
    place = Box((WEST + 5 * SIDE, NORTH - 8 * SIDE, WEST + 6 * SIDE, NORTH - 7 * SIDE), cog.native)
    with cog.open(place, (1, 1)) as pixels:
        assert position_json(pixels) == {"a": values[0, 7, 5], "b": values[1, 7, 5]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"crs": None}, "no CRS"),
        ({"dtype": "complex64"}, "complex64"),
        ({"transform": Affine(20, 0, 0, 0, 20, 0)}, "north to south"),
        ({"transform": Affine.rotation(3) @ Affine(20, 0, 0, 0, -20, 0)}, "north to south"),
    ],
)
def test_an_unsupported_file_of_values_has_a_reason(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    values = surface(1, "float32").astype(given.get("dtype", "float32"))
    path = tmp_path / "odd.tif"
    profile = {
        "driver": "GTiff",
        "dtype": "float32",
        "crs": "EPSG:3035",
        "transform": Affine(20, 0, 0, 0, -20, 0),
        **given,
    }
    with rasterio.open(path, "w", width=411, height=300, count=1, **profile) as file:
        file.write(values)
    with pytest.raises(ProviderConnectionError, match=said):
        served(path, "a").get_fields()


def test_more_bands_than_the_file_has_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "odd.tif", surface(1, "float32"))
    with pytest.raises(ProviderConnectionError, match="1 bands, not 2"):
        served(path, "a", "b").get_fields()
    with pytest.raises(ProviderConnectionError, match="not below"):
        served(path, "a", minimum=5, maximum=5).get_fields()


def test_pixels_that_are_not_square_are_served_too(tmp_path: Path) -> None:
    values = surface(1, "int32")
    cog = served(written(tmp_path / "odd.tif", values, transform=Affine(20, 0, WEST, 0, -50, NORTH)), "a")
    assert cog.size_of(cog.whole) == (411, 300)
    with cog.open(cog.whole, (411, 300), limit=MAX_PIXELS) as pixels:
        np.testing.assert_array_equal(pixels.values, values)
