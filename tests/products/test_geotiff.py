from io import BytesIO
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

from products.classes import CLASSES
from products.raster.geotiff import GeoTiff, write_geotiff

PLACE = Affine(10, 0, 4_600_000, 0, -10, 3_000_000)


def made(values: NDArray[Any], **given: Any) -> bytes:
    bands, height, width = values.shape
    settings: dict[str, Any] = {"nodata": None, "bands": [""] * bands, "epsg": 3035, **given}
    content = BytesIO()
    tiff = GeoTiff((width, height), values.dtype, PLACE, **settings)
    write_geotiff(content, tiff, lambda first, last: values[:, first:last])
    return content.getvalue()


def some(shape: tuple[int, int, int], dtype: str) -> NDArray[Any]:
    numbers = np.random.default_rng(1).integers(0, 11, shape)
    numbers[:, : shape[1] // 2, : shape[2] // 2] = 7
    return (numbers * 1000.5 if dtype.startswith("f") else numbers).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("bands", [1, 3])
def test_every_type_is_read_back_unchanged(dtype: str, bands: int) -> None:
    values = some((bands, 300, 517), dtype)
    if dtype.startswith("f"):
        values[0, 0, :3] = [np.nan, -np.inf, 1e-30]
    with MemoryFile(made(values)) as file, file.open() as dataset:
        np.testing.assert_array_equal(dataset.read(), values)
        assert dataset.dtypes == (dtype,) * bands
        assert (dataset.crs.to_epsg(), dataset.transform, dataset.nodata) == (3035, PLACE, None)


@pytest.mark.parametrize(
    ("width", "height", "block"),
    [
        (1, 1, (1, 1)),
        (100_000, 1, (1, 100_000)),
        (1, 70_001, (65_536, 1)),
        (255, 256, (256, 255)),
        (256, 256, (256, 256)),
        (512, 257, (256, 256)),
        (513, 256, (512, 512)),
        (1025, 700, (512, 512)),
    ],
)
def test_every_size_is_read_back_without_padding(width: int, height: int, block: tuple[int, int]) -> None:
    values = some((1, height, width), "uint8")
    content = made(values, nodata=255, classes=CLASSES)
    with MemoryFile(content) as file, file.open() as dataset:
        np.testing.assert_array_equal(dataset.read(), values)
        assert dataset.block_shapes == [block]
    assert len(content) < 4_000 + width * height


def test_it_has_the_colours_the_names_and_no_data() -> None:
    content = made(some((1, 300, 300), "uint8"), nodata=255, classes=CLASSES, bands=["Land-cover class"])
    with MemoryFile(content) as file, file.open() as dataset:
        assert dataset.colorinterp == (ColorInterp.palette,)
        assert {each.value: dataset.colormap(1)[each.value][:3] for each in CLASSES} == {
            each.value: each.rgb for each in CLASSES
        }
        assert dataset.nodata == 255
        assert dataset.descriptions == ("Land-cover class",)
        assert dataset.tags()["CLASS_10"] == "Water"


def test_geographic_coordinates_and_escaped_names_are_written() -> None:
    values = some((2, 10, 20), "float32")
    with (
        MemoryFile(made(values, epsg=4326, nodata=float("nan"), bands=["a < b", 'ndvi "&"'])) as file,
        file.open() as dataset,
    ):
        assert dataset.crs.to_epsg() == 4326
        assert np.isnan(dataset.nodata)
        assert dataset.descriptions == ("a < b", 'ndvi "&"')


def test_equal_tiles_are_written_once() -> None:
    content = made(np.zeros((1, 4096, 4096), "uint8"))
    assert len(content) < 2_500
    with MemoryFile(content) as file, file.open() as dataset:
        assert not dataset.read().any()


def test_only_the_rows_of_one_tile_are_read_at_once() -> None:
    asked = []

    def rows(first: int, last: int) -> NDArray[np.uint8]:
        asked.append((first, last))
        return np.zeros((1, last - first, 700), np.uint8)

    write_geotiff(BytesIO(), GeoTiff((700, 1100), np.dtype("uint8"), PLACE, 3035, None), rows)
    assert asked == [(0, 512), (512, 1024), (1024, 1100)]


def test_it_is_no_larger_than_five_percent_above_plain_pixels() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1, 600, 600)).astype("uint8")
    assert len(made(noise)) < 1.05 * noise.size
    with rasterio.MemoryFile(made(noise)) as file, file.open() as dataset:
        np.testing.assert_array_equal(dataset.read(), noise)
