"""Clips that copy blocks of their source have the pixels of rasterio's mask, for sources of any program."""

import itertools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.mask
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.features import geometry_mask
from rio_cogeo import cog_validate

from products.area import Area
from products.classes import NODATA
from products.errors import BrokenSource, NothingInside
from products.progress import unheard
from products.raster.build import build_raster
from products.raster.cog import count_values
from products.raster.cut import open_cut
from products.raster.directory import read_directories
from products.raster.extract import extract_raster, on_blocks
from products.raster.statistics import count_classes
from tests.odd import rasters

Pixels = NDArray[np.uint8]
Maker = Callable[[Path, Pixels], Path]

HEIGHT, WIDTH = 4_864, 5_120
"""Of 512 pixels the sides have nine and a half blocks, and ten."""
LEFT, TOP = 4_900_000, 3_100_000
TILES: dict[str, Any] = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1}


def patches(height: int = HEIGHT, width: int = WIDTH) -> Pixels:
    """Return pixels of all classes and of other values, in patches of 24 x 24 and smaller."""
    chance = np.random.default_rng(5)
    shape = -(-height // 24), -(-width // 24)
    pixels = np.kron(chance.integers(0, 14, shape, np.uint8), np.ones((24, 24), np.uint8))[:height, :width]
    pixels[::37, ::11] = 253
    return pixels


def outline(*parts: shapely.Geometry) -> Area:
    """Return an area in degrees of shapes in pixels."""
    back = Transformer.from_crs(3035, 4326, always_xy=True)
    shapes = shapely.union_all(parts)
    return Area(
        shapely.transform(
            shapely.segmentize(shapes, 97.3),
            lambda points: np.column_stack(back.transform(LEFT + 10 * points[:, 0], TOP - 10 * points[:, 1])),
        )
    )


def star(x: float, y: float, radius: float) -> shapely.Polygon:
    """Return a coast with many bays."""
    angle = np.linspace(0, 2 * np.pi, 700, endpoint=False)
    distance = radius * (1 + 0.06 * np.sin(7 * angle) + 0.01 * np.sin(90 * angle))
    return shapely.Polygon(np.column_stack([x + distance * np.cos(angle), y + distance * np.sin(angle)]))


AREAS = {
    "holes": outline(
        star(2_560, 2_400, 2_200)
        .difference(star(2_900, 2_100, 500))
        .difference(shapely.Point(1_500, 2_400).buffer(3.2))
    ),
    "parts": outline(star(1_300, 1_400, 1_100), star(3_700, 3_500, 1_000), shapely.box(4_900, 20, 4_911.3, 31.3)),
    "across the edge": outline(star(4_400, 4_500, 3_900)),
    "all": outline(shapely.box(-900, -900, 6_000, 6_000)),
}


SMALL = outline(star(760, 700, 620).difference(star(700, 700, 180)))


def expected(source: Path, area: Area) -> Pixels:
    """Return the pixels of a source that rasterio's mask leaves."""
    with rasterio.open(source) as dataset:
        shape = area.project(3035)
        pixels = dataset.read(1)
        outside = geometry_mask([shape], pixels.shape, dataset.transform)
        return np.where(outside | (dataset.dataset_mask() == 0), NODATA, pixels)


def assert_same_pixels(image: Path, source: Path, area: Area) -> None:
    """Compare all pixels inside and outside of a clip with `expected`."""
    wanted = expected(source, area)
    with rasterio.open(image) as product, rasterio.open(source) as dataset:
        column, row = (~dataset.transform @ (product.transform.c, product.transform.f))[:2]
        left, top = round(column), round(row)
        assert abs(left - column) + abs(top - row) < 1e-6
        found = np.full_like(wanted, NODATA)
        found[top : top + product.height, left : left + product.width] = product.read(1)
    assert np.array_equal(found, wanted)


def copied(image: Path, source: Path) -> list[int]:
    """Return how many compressed blocks of each level of a clip equal a block of the source."""
    known = set(itertools.chain.from_iterable(blocks_of(source)))
    return [sum(block in known for block in blocks) for blocks in blocks_of(image)]


def blocks_of(image: Path) -> list[list[bytes]]:
    with image.open("rb") as file:
        directories = [*read_directories(file.fileno())]
        return [
            [
                os.pread(file.fileno(), int(size), int(offset))
                for offset, size in zip(each.offsets.flat, each.sizes.flat, strict=True)
                if offset
            ]
            for each in directories
        ]


def clip(source: Path, area: Area, folder: Path) -> Path:
    return extract_raster(source, area, folder, name="clip", report=unheard)[0]


@pytest.fixture(scope="module")
def cog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of GDAL's driver COG with zlib at level 1, so that its blocks differ from ours."""
    return rasters.gdal_cog(tmp_path_factory.mktemp("cog") / "gdal.tif", patches(), level=1)


@pytest.mark.parametrize("name", AREAS)
def test_a_clip_has_the_pixels_of_rasterios_mask_and_copies_inner_blocks(cog: Path, tmp_path: Path, name: str) -> None:
    image = clip(cog, AREAS[name], tmp_path)
    assert_same_pixels(image, cog, AREAS[name])
    assert cog_validate(image, strict=True) == (True, [], [])
    numbers = copied(image, cog)
    least = {"holes": 30, "parts": 5, "across the edge": 40, "all": 100}
    assert numbers[0] >= least[name]
    if name != "all":
        assert_overviews_by_mode(image)


def assert_overviews_by_mode(image: Path) -> None:
    with rasterio.open(image) as product:
        levels, factors = [product.read(1)], product.overviews(1)
    for index in range(len(factors)):
        with rasterio.open(image, overview_level=index) as overview:
            levels.append(overview.read(1))
    assert levels[-1].size <= 512**2
    for fine, coarse in itertools.pairwise(levels):
        padded = np.pad(fine, [(0, fine.shape[0] % 2), (0, fine.shape[1] % 2)], constant_values=NODATA)
        places = np.random.default_rng(2).integers(0, coarse.shape, (100_000, 2)).T
        pixels = coarse[*places]
        quads = np.stack([padded[2 * places[0] + down, 2 * places[1] + right] for down, right in np.ndindex(2, 2)], 1)
        tally = np.stack([(quads == quads[:, [n]]).sum(axis=1) * (quads[:, n] != NODATA) for n in range(4)], axis=1)
        chosen = ((quads == pixels[:, None]) * tally).max(axis=1)
        assert (chosen == tally.max(axis=1)).all()
        assert ((pixels == NODATA) == (quads == NODATA).all(axis=1)).all()


def test_overviews_are_copied_too(cog: Path, tmp_path: Path) -> None:
    image = clip(cog, AREAS["all"], tmp_path)
    sizes = [len(blocks) for blocks in blocks_of(image)]
    assert sizes == [100, 25, 9, 4, 1]
    assert copied(image, cog) == sizes


def test_gdalwarp_cuts_the_same_pixels(cog: Path, tmp_path: Path) -> None:
    area, cutline, warped = AREAS["holes"], tmp_path / "area.geojson", tmp_path / "warped.tif"
    crs = '"crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:EPSG::3035"}}'
    feature = f'{{"type":"Feature","properties":{{}},"geometry":{shapely.to_geojson(area.project(3035))}}}'
    cutline.write_text(f'{{"type":"FeatureCollection",{crs},"features":[{feature}]}}')
    command = [
        "gdalwarp",
        "-q",
        "-cutline",
        str(cutline),
        "-crop_to_cutline",
        "-tap",
        "-tr",
        "10",
        "10",
        str(cog),
        str(warped),
    ]
    subprocess.run(command, check=True)
    with rasterio.open(warped) as theirs, rasterio.open(clip(cog, area, tmp_path)) as ours:
        there = ours.read(1, window=ours.window(*theirs.bounds).round())
        assert np.array_equal(there, theirs.read(1))
        assert np.count_nonzero(ours.read(1) != NODATA) == np.count_nonzero(there != NODATA) > 1_000_000


def masked(path: Path, pixels: Pixels) -> Path:
    shown = np.full(pixels.shape, 255, np.uint8)
    shown[300:900, 700:1_000] = 0
    return rasters.plain(path, pixels, mask=shown, **TILES)


def sparse(path: Path, pixels: Pixels) -> Path:
    pixels = pixels.copy()
    pixels[1_024:3_072, 1_536:3_584] = NODATA
    return rasters.plain(path, pixels, nodata=255, sparse_ok=True, **TILES)


def empty_blocks_stored(path: Path, pixels: Pixels) -> Path:
    pixels = pixels.copy()
    pixels[1_024:3_072, 1_536:3_584] = NODATA
    return rasters.plain(path, pixels, nodata=255, **TILES)


def sparse_without_nodata(path: Path, pixels: Pixels) -> Path:
    pixels = pixels.copy()
    pixels[512:1_024, 512:1_024] = 0
    return rasters.plain(path, pixels, sparse_ok=True, **TILES)


def of_ours(path: Path, pixels: Pixels) -> Path:
    plain = rasters.plain(path.with_name("plain.tif"), pixels[:4_701, :4_899].astype(np.int16), nodata=13)
    build_raster([plain], path, report=unheard)
    return path


def with_options(**options: Any) -> Maker:
    return lambda path, pixels: rasters.plain(path, pixels, **{"nodata": 255, **TILES, **options})


MAKERS: dict[str, tuple[Maker, bool]] = {
    "no overviews": (with_options(), True),
    "no nodata": (with_options(nodata=None), True),
    "BigTIFF": (with_options(bigtiff="YES"), True),
    "big-endian": (with_options(endianness="BIG"), True),
    "no nodata, blocks left out": (sparse_without_nodata, False),
    "nodata 0": (with_options(nodata=0), False),
    "blocks of 256": (with_options(blockxsize=256, blockysize=256), False),
    "blocks of 128": (with_options(blockxsize=128, blockysize=128), False),
    "LZW": (with_options(compress="lzw"), False),
    "ZSTD": (with_options(compress="zstd"), False),
    "predictor": (with_options(predictor=2), False),
    "not compressed": (with_options(compress="none"), False),
    "a mask inside": (masked, False),
    "blocks left out": (sparse, True),
    "blocks without data": (empty_blocks_stored, True),
    "ours, odd sides, of int16": (of_ours, True),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_sources_of_every_kind_are_cut_to_the_same_pixels(tmp_path: Path, kind: str) -> None:
    make, copies = MAKERS[kind]
    source = make(tmp_path / "source.tif", patches() if copies else patches(1_400, 1_536))
    area = AREAS["holes"] if copies else SMALL
    image = clip(source, area, tmp_path)
    assert_same_pixels(image, source, area)
    with open_cut(source, area) as cut:
        assert cut is not None
        assert (cut.blocks is not None) == copies
    assert (copied(image, source)[0] > 15) == copies
    assert cog_validate(image, strict=True)[0]
    if "without data" in kind or kind == "blocks left out":
        with rasterio.open(image) as product:
            column, row = 3 - round(product.transform.c - LEFT) // 5_120, 2 - round(TOP - product.transform.f) // 5_120
            assert product.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=1) is None


def damaged(cog: Path, folder: Path, change: Callable[[bytearray, Any], None]) -> Path:
    """Return a copy of a raster with a change in the block entries of its first directory."""
    content = bytearray(cog.read_bytes())
    with cog.open("rb") as file:
        first = next(iter(read_directories(file.fileno())))
    change(content, first)
    target = folder / "damaged.tif"
    target.write_bytes(content)
    return target


def test_a_broken_block_that_would_be_copied_is_named(cog: Path, tmp_path: Path) -> None:
    def overwrite(content: bytearray, first: Any) -> None:
        at = int(first.offsets[4, 4])
        content[at : at + 40] = bytes(40)

    with pytest.raises(
        BrokenSource, match=r"damaged\.tif cannot be read as a GeoTIFF: the block at byte \d+ is broken"
    ):
        clip(damaged(cog, tmp_path, overwrite), AREAS["all"], tmp_path)


def test_a_file_that_ends_before_a_block_is_named(cog: Path, tmp_path: Path) -> None:
    def cut_off(content: bytearray, first: Any) -> None:
        del content[int(first.offsets[7, 7]) + 5 :]

    with pytest.raises(BrokenSource, match=r"damaged\.tif"):
        clip(damaged(cog, tmp_path, cut_off), AREAS["all"], tmp_path)
    assert not (tmp_path / "clip.tif").exists()


def test_a_file_that_is_overwritten_while_it_is_read_is_named(cog: Path, tmp_path: Path) -> None:
    source = damaged(cog, tmp_path, lambda *_: None)

    def overwrite(done: float, _message: str) -> None:
        if done > 0.5:
            os.utime(source, ns=(1, 1))

    with pytest.raises(BrokenSource, match=r"damaged\.tif was overwritten"):
        extract_raster(source, AREAS["parts"], tmp_path, name="clip", report=overwrite)


def test_a_replaced_file_is_read_to_its_end(cog: Path, tmp_path: Path) -> None:
    source = damaged(cog, tmp_path, lambda *_: None)

    def replace(done: float, _message: str) -> None:
        if done > 0.5:
            source.unlink(missing_ok=True)
            source.write_bytes(b"another")

    image = extract_raster(source, AREAS["parts"], tmp_path, name="clip", report=replace)[0]
    assert_same_pixels(image, cog, AREAS["parts"])


def test_an_area_without_data_in_stored_blocks_is_refused(tmp_path: Path) -> None:
    source = empty_blocks_stored(tmp_path / "source.tif", patches())
    with pytest.raises(NothingInside):
        clip(source, outline(shapely.box(1_600, 1_100, 3_500, 3_000)), tmp_path)


def test_a_small_or_narrow_area_gets_no_margin(cog: Path) -> None:
    for side, begins in ((4_050, 333), (4_150, 0)):
        with open_cut(cog, outline(shapely.box(333, 333, 333 + side, 4_850))) as cut:
            assert cut is not None
            assert on_blocks(cut).window.col_off == begins


@pytest.mark.parametrize("kind", ["BigTIFF", "big-endian", "no overviews"])
def test_random_tiff_directories_raise_no_error(tmp_path: Path, kind: str) -> None:
    """Change bytes of a header: its offsets and sizes are never trusted beyond the length of the file."""
    source = MAKERS[kind][0](tmp_path / "source.tif", patches(1_100, 1_030))
    content, chance = source.read_bytes(), np.random.default_rng(4)
    with source.open("rb") as file:
        (whole,) = read_directories(file.fileno())
    assert whole.offsets.shape == (3, 3)
    head = min(int(whole.offsets.min()), len(content) - 1)
    start = content[:head] if head > 300 else content  # GDAL may put a directory behind the blocks
    for _ in range(200):
        changed = bytearray(content)
        for place in chance.integers(0, len(start), chance.integers(1, 4)):
            changed[place] = chance.integers(256)
        source.write_bytes(changed[: chance.integers(8, len(changed))] if chance.random() < 0.2 else changed)
        with source.open("rb") as file:
            found = [*read_directories(file.fileno())]
        assert len(found) <= 64


@pytest.mark.parametrize("area", [SMALL, AREAS["holes"], AREAS["across the edge"]])
def test_statistics_count_the_same_pixels_at_once_and_by_tiles(cog: Path, area: Area) -> None:
    wanted = np.bincount(expected(cog, area).ravel(), minlength=256)[:NODATA]
    assert wanted.sum() > 500_000
    assert count_classes(cog, area).pixels[:NODATA].tolist() == wanted.tolist()


def test_unlikely_values_are_counted_too() -> None:
    pixels = np.array([[1, 1, 2], [255, 0, 2]], np.uint8)
    for likely in ([], [1, 2], [0, 1, 2, 255], [7, 255]):
        counts = count_values(pixels, likely)
        assert {value: int(count) for value, count in enumerate(counts) if count} == {0: 1, 1: 2, 2: 2, 255: 1}
        assert counts.sum() == 6
