"""Rasters that are full of data, made of the sample's own patches: 20,000 x 20,000 px, and all of Europe.

`dense()` has 400 million different pixels at about 0.1 byte a pixel. `europe()` has 299 billion, in few bytes: the same
64 blocks again and again, its overviews likewise.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import deflate
import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from products.classes import CLASSES, NODATA
from products.progress import unheard
from products.raster.build import build_raster
from products.raster.pyramid import halve
from products.raster.tiff import TILE, Image, TileBytes, framed, header

FOLDER = Path("var/bench")
SIDE = 20_000
EUROPE = 650_000, 460_000
_SAMPLE = Path("sample/clcplus_2023_parks.tif")
_WEST, _NORTH = 4_669_440, 3_340_800
_EUROPE_WEST, _EUROPE_NORTH = 900_000, 5_500_000
_SALT = 0.009
"""Share of single pixels of another class: with them a pixel takes 0.1 byte."""
_PERIOD = 8
_STEP = 256
_LEVEL = 6

Pixels = NDArray[np.uint8]


def measure() -> None:
    """Make both and print what they are."""
    for path in (dense(), europe()):
        with rasterio.open(path) as dataset:
            pixels = dataset.width * dataset.height
        print(f"{path}: {pixels:,} px, {path.stat().st_size / 1e6:.1f} MB, {path.stat().st_size / pixels:.3f} byte/px")


def dense() -> Path:
    """Return the raster of 20,000 x 20,000 px in EPSG:3035, without a pixel of no data; it is made once."""
    target = FOLDER / "dense.tif"
    if not target.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        plain = FOLDER / f"plain.{os.getpid()}.tif"
        _write_plain(plain)
        build_raster([plain], target, report=unheard)
        plain.unlink()
    return target


def _write_plain(target: Path) -> None:
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "crs": "EPSG:3035", "nodata": NODATA}
    tiles = {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "compress": "DEFLATE", "zlevel": 1}
    place = Affine(10, 0, _WEST, 0, -10, _NORTH)
    with rasterio.open(target, "w", width=SIDE, height=SIDE, transform=place, **profile, **tiles) as dataset:
        patches = _patches()
        for row in range(0, SIDE, TILE):
            for column in range(0, SIDE, TILE):
                height, width = min(TILE, SIDE - row), min(TILE, SIDE - column)
                dataset.write(next(patches)[:height, :width], 1, window=Window(column, row, width, height))


def _patches() -> Iterator[Pixels]:
    """Yield 512 x 512 pixels of the sample without no data, turned and mirrored, with some single pixels of others."""
    chance, found = np.random.default_rng(1), list(_full())
    while True:
        one, other = (found[number] for number in chance.integers(len(found), size=2))
        pixels = np.rot90(one, chance.integers(4))[:: chance.choice((-1, 1))]
        yield np.where(chance.random(pixels.shape, np.float32) < _SALT, other, pixels)


def _full() -> Iterator[Pixels]:
    with rasterio.open(_SAMPLE) as dataset:
        for _, block in dataset.block_windows(1):
            column, row = block.col_off, block.row_off
            if dataset.get_tag_item(f"BLOCK_OFFSET_{column // TILE}_{row // TILE}", "TIFF", bidx=1) is None:
                continue
            for right, down in np.ndindex(TILE // _STEP, TILE // _STEP):
                pixels = dataset.read(1, window=Window(column + right * _STEP, row + down * _STEP, TILE, TILE))
                if pixels.shape == (TILE, TILE) and not (pixels == NODATA).any():
                    yield pixels


def europe() -> Path:
    """Return the raster of 650,000 x 460,000 px in EPSG:3035; it is made once."""
    target = FOLDER / "europe.tif"
    if not target.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}.part")
        _write_europe(part)
        part.rename(target)
    return target


def _write_europe(target: Path) -> None:
    patches, content, images = _patches(), bytearray(), []
    tiles = [[next(patches) for _ in range(_PERIOD)] for _ in range(_PERIOD)]
    level = 0
    while True:
        width, height = (-(-side >> level) for side in EUROPE)
        places = [[_put(pixels, content) for pixels in row] for row in tiles]
        period = len(places)
        images.append(
            Image(
                width,
                height,
                {
                    (row, column): places[row % period][column % period]
                    for row in range(-(-height // TILE))
                    for column in range(-(-width // TILE))
                },
            )
        )
        if max(width, height) <= TILE:
            break
        tiles, level = _coarser(tiles), level + 1
    with target.open("wb") as file:
        file.write(header(images, Affine(10, 0, _EUROPE_WEST, 0, -10, _EUROPE_NORTH), 3035, CLASSES))
        file.write(content)


def _put(pixels: Pixels, content: bytearray) -> TileBytes:
    tile = framed(bytes(deflate.zlib_compress(pixels.tobytes(), _LEVEL)))
    content += tile
    return len(content) - len(tile), len(tile)


def _coarser(tiles: list[list[Pixels]]) -> list[list[Pixels]]:
    period = len(tiles)
    below = range(max(1, period // 2))
    return [[halve(_four(tiles, 2 * row, 2 * column)) for column in below] for row in below]


def _four(tiles: list[list[Pixels]], row: int, column: int) -> Pixels:
    period = len(tiles)
    return np.block([[tiles[(row + y) % period][(column + x) % period] for x in (0, 1)] for y in (0, 1)])
