"""Pixels of a box in any CRS, compared with a simple reference that uses PROJ for every pixel."""

import os
import shutil
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer

from products.errors import BrokenSource, RequestTooLarge
from products.operation import Bounds
from products.raster.blocks import RasterBlocks
from products.raster.nearest import read_nearest
from tests.odd.rasters import classes, gdal_cog, plain, rio_cog, with_overviews_beside

VALUES = classes(1_300, 1_701)
MASK = np.where(VALUES == 3, 0, 255).astype(np.uint8)
SEEN = np.where(VALUES == 3, 255, VALUES)
SAMPLE = Path(__file__).parents[2] / "sample" / "clcplus_2023_parks.tif"

Make = Callable[[Path], Path]
PLAIN = {"tiled": True, "blockxsize": 256, "blockysize": 256}
KINDS: dict[str, tuple[Make, NDArray[np.uint8]]] = {
    "deflate": (lambda path: gdal_cog(path, VALUES), VALUES),
    "degrees": (lambda path: gdal_cog(path, VALUES, 4326, blocksize=1024), VALUES),
    "feet": (lambda path: rio_cog(path, VALUES, 2263), VALUES),
    "pacific": (lambda path: gdal_cog(path, VALUES, 3832), VALUES),
    "mask": (lambda path: gdal_cog(path, VALUES, mask=MASK, nodata=None), SEEN),
    "nodata of 3": (lambda path: plain(path, VALUES, nodata=3, compress="deflate", **PLAIN), SEEN),
    "predictor": (lambda path: plain(path, VALUES, compress="deflate", predictor=2, **PLAIN), VALUES),
    "lzw": (lambda path: plain(path, VALUES, compress="lzw", **PLAIN), VALUES),
    "not compressed": (lambda path: plain(path, VALUES, **PLAIN), VALUES),
    "overviews beside": (lambda path: with_overviews_beside(path, VALUES, 25832), VALUES),
    "one column": (lambda path: gdal_cog(path, VALUES[:, :1]), VALUES[:, :1]),
}


@cache
def _transformer(source: int, target: int) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def reference(path: Path, expected: NDArray[np.uint8], bbox: Bounds, crs: int, size: tuple[int, int]) -> Any:
    """Return the pixels of the raster that contain the centres, 255 outside."""
    with rasterio.open(path) as dataset:
        epsg, place = dataset.crs.to_epsg(), dataset.transform
    x = bbox[0] + (np.arange(size[0]) + 0.5) * (bbox[2] - bbox[0]) / size[0]
    y = bbox[3] - (np.arange(size[1]) + 0.5) * (bbox[3] - bbox[1]) / size[1]
    xs, ys = np.meshgrid(x, y)
    there = _transformer(crs, epsg).transform(xs, ys)
    columns, rows = (np.floor(each).astype(int) for each in ~place @ there)
    height, width = expected.shape
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    return np.where(inside, expected[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)], 255)


def box_at(path: Path, crs: int, step: float, size: tuple[int, int], at: tuple[float, float]) -> Bounds:
    """Return a box around a part of the raster, with pixels of about `step` pixels of the raster."""
    with rasterio.open(path) as dataset:
        here = dataset.transform @ (at[0] * dataset.width, at[1] * dataset.height)
        beside = dataset.transform @ (at[0] * dataset.width + 1, at[1] * dataset.height)
        native = dataset.crs.to_epsg()
    (x, y), (x1, y1) = (_transformer(native, crs).transform(*each) for each in (here, beside))
    side = step * float(np.hypot(x1 - x, y1 - y))
    return x - side * size[0] / 2, y - side * size[1] / 2, x + side * size[0] / 2, y + side * size[1] / 2


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_the_nearest_of_the_source(kind: str, tmp_path: Path) -> None:
    make, expected = KINDS[kind]
    path = make(tmp_path / "a.tif")
    raster = RasterBlocks(path)
    with rasterio.open(path) as dataset:
        native = dataset.crs.to_epsg()
    for crs in {native, 3857, 4326}:
        for at in ((0.5, 0.5), (0.02, 0.03), (0.99, 0.98)):
            size = (96, 64)
            box = box_at(path, crs, 0.9, size, at)
            found, wanted = read_nearest(raster, box, crs, size), reference(path, expected, box, crs, size)
            assert found is not None
            assert found.shape == wanted.shape == (64, 96)
            assert (found != wanted).mean() <= (0 if crs == native else 0.02), (crs, at)


def test_an_overview_is_read_if_it_fits(tmp_path: Path) -> None:
    path = gdal_cog(tmp_path / "a.tif", VALUES)
    raster = RasterBlocks(path)
    assert [level.factor for level in raster.levels] == [1, 2, 4]
    assert [raster.levels[raster.level(step)].factor for step in (0.3, 1.9, 2.0, 3.9, 9)] == [1, 1, 2, 2, 4]
    with rasterio.open(path, overview_level=1) as overview:
        wanted, (left, bottom, right, top) = overview.read(1), overview.bounds
    found = read_nearest(raster, (left, bottom, right, top), 3035, (overview.width, overview.height))
    np.testing.assert_array_equal(found, wanted)


def test_outside_of_the_raster_is_no_data(tmp_path: Path) -> None:
    raster = RasterBlocks(gdal_cog(tmp_path / "a.tif", VALUES))
    west, south, _, _ = raster.grid.bounds
    assert read_nearest(raster, (west - 5_000, south - 5_000, west - 10, south - 10), 3035, (64, 64)) is None
    assert read_nearest(raster, (-2e7, -2e7, -1e7, -1e7), 3857, (64, 64)) is None


def test_omitted_blocks_are_not_read() -> None:
    raster = RasterBlocks(SAMPLE)
    west, _, _, north = raster.grid.bounds
    assert read_nearest(raster, (west, north - 2_560, west + 2_560, north), 3035, (256, 256)) is None
    assert not raster._blocks


def test_the_world_continues_across_the_antimeridian(tmp_path: Path) -> None:
    """A raster from 170 degrees to 190 is in the tiles on both sides; one of the whole world has no edge there."""
    values = classes(200, 400)
    side = 20 / 400
    place = rasterio.Affine(side, 0, 170, 0, -side, 5)
    path = plain(tmp_path / "a.tif", values, 4326, transform=place, nodata=255, compress="deflate", **PLAIN)
    half = 20_037_508.342789244
    found = read_nearest(RasterBlocks(path), (-half, -556_597, -half + 1_113_194.9, 556_597), 3857, (200, 200))
    assert found is not None
    assert (found != 255).all()
    assert (found == values[:, 200:]).mean() > 0.98
    world = plain(tmp_path / "w.tif", classes(180, 360), 4326, transform=rasterio.Affine(1, 0, -180, 0, -1, 90))
    across = read_nearest(RasterBlocks(_tiled(world)), (170, -10, 190, 10), 4326, (20, 20))
    assert across is not None
    np.testing.assert_array_equal(across, np.roll(classes(180, 360), 180, 1)[80:100, 170:190])


def _tiled(path: Path) -> Path:
    with rasterio.open(path) as source:
        values, place = source.read(1), source.transform
    return plain(path.with_name("tiled.tif"), values, 4326, transform=place, **PLAIN)


def test_places_without_coordinates_have_no_data(tmp_path: Path) -> None:
    """The whole globe in an azimuthal system: most of its box is outside of the Earth, or on its far side."""
    path = gdal_cog(tmp_path / "a.tif", classes(180, 360), 4326)
    found = read_nearest(RasterBlocks(path), (-3e7, -3e7, 3e7, 3e7), 3035, (64, 64))
    assert found is None or found.shape == (64, 64)


def test_a_large_area_without_an_overview_is_refused_before_reading(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.tif", np.zeros((8, 8), np.uint8), compress="deflate", nodata=255)
    with rasterio.open(path) as source:
        profile = source.profile
    profile |= {"width": 20_000, "height": 20_000, "sparse_ok": True, **PLAIN}
    with rasterio.open(path, "w", **profile):
        pass
    raster = RasterBlocks(path)
    with pytest.raises(RequestTooLarge, match="no overview that is coarse enough"):
        read_nearest(raster, raster.grid.bounds, 3035, (256, 256))


def test_a_replaced_file_is_read_unchanged_and_an_overwritten_one_is_refused(tmp_path: Path) -> None:
    path = gdal_cog(tmp_path / "a.tif", VALUES)
    raster = RasterBlocks(path)
    other = gdal_cog(tmp_path / "b.tif", np.full_like(VALUES, 7))
    copy = other.read_bytes()
    other.replace(path)
    box = raster.grid.bounds
    found = read_nearest(raster, box, 3035, (1_701, 1_300))
    np.testing.assert_array_equal(found, VALUES)
    raster = RasterBlocks(path)
    path.write_bytes(copy)
    os.utime(path, ns=(1, 1))
    with pytest.raises(BrokenSource, match="overwritten"):
        read_nearest(raster, box, 3035, (64, 64))


def test_a_broken_block_is_named(tmp_path: Path) -> None:
    path = gdal_cog(tmp_path / "a.tif", VALUES)
    with rasterio.open(path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = bytes(40)
    path.write_bytes(content)
    raster = RasterBlocks(path)
    with pytest.raises(BrokenSource, match=r"a\.tif has a block that cannot be decoded"):
        read_nearest(raster, raster.grid.bounds, 3035, (1_701, 1_300))
    truncated = shutil.copy(path, tmp_path / "t.tif")
    with Path(truncated).open("r+b") as file:
        file.truncate(offset - 1_000)
    with pytest.raises(BrokenSource, match=r"t\.tif has a block of|t\.tif has a block that cannot be decoded"):
        _read_all(Path(truncated))


def _read_all(path: Path) -> None:
    raster = RasterBlocks(path)
    read_nearest(raster, raster.grid.bounds, 3035, (1_701, 1_300))


def test_memory_is_bounded(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.tif", classes(4_096, 4_096), zlevel=1, compress="deflate", nodata=255, **PLAIN)
    raster = RasterBlocks(path)
    west, south, east, north = raster.grid.bounds
    for left, right in pairwise(np.linspace(west, east, 9)):
        read_nearest(raster, (left, south, right, north), 3035, (512, 4_096))
    kept = sum(block.nbytes for block in raster._blocks.values())
    assert kept <= 8 * 1024**2
