import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.features import shapes
from rasterio.windows import Window

from products.errors import BrokenSource
from products.progress import unheard
from products.vector.geopackage import read_geopackage
from products.vector.polygonize import polygonize
from products.vector.sample import make_sample

Polygons = Counter[tuple[int, bytes]]


@pytest.fixture(scope="module")
def product(sample: Path) -> Path:
    return sample / "sample" / "clcplus_2023_parks.gpkg"


def whole_blocks(path: Path) -> Iterator[Window]:
    """Yield windows of blocks that touch each other, also at corners: each window contains whole components."""
    with rasterio.open(path) as source:
        left = {
            (row, column)
            for (row, column), _ in source.block_windows(1)
            if source.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=1)
        }
        size = source.block_shapes[0][0]
    while left:
        cluster, queue = set(), [left.pop()]
        while queue:
            row, column = queue.pop()
            cluster.add((row, column))
            near = {(row + y, column + x) for y in (-1, 0, 1) for x in (-1, 0, 1)} & left
            left -= near
            queue.extend(near)
        rows, columns = zip(*cluster, strict=True)
        top, west = min(rows), min(columns)
        yield Window(west * size, top * size, (max(columns) - west + 1) * size, (max(rows) - top + 1) * size)


def polygons_of(path: Path, window: Window | None = None) -> Polygons:
    """Return class and outline of the components, made in one step."""
    with rasterio.open(path) as source:
        window = window or Window(0, 0, source.width, source.height)
        classes = source.read(1, window=window)
        found = shapes(classes, classes != 255, connectivity=4, transform=source.window_transform(window))
        return Counter((int(value), canonical(shapely.geometry.shape(outline))) for outline, value in found)


def canonical(polygon: shapely.Geometry) -> bytes:
    return bytes(shapely.to_wkb(shapely.normalize(shapely.simplify(shapely.MultiPolygon([polygon]), 0))))


def polygons_in(path: Path) -> Polygons:
    with read_geopackage(path) as reader:
        return Counter(
            (row[0], canonical(geometry.geoms[0]))
            for batch in reader.features((-1e9, -1e9, 1e9, 1e9))
            for geometry, row in zip(batch.geometries, batch.rows, strict=True)
        )


def test_components_by_blocks_equal_those_of_the_whole_raster(product: Path, raster: Path) -> None:
    classes: Counter[int] = Counter()
    pixels: Counter[int] = Counter()
    for window in whole_blocks(raster):
        with rasterio.open(raster) as source:
            values = source.read(1, window=window)
        pixels.update(dict(zip(*np.unique(values, return_counts=True), strict=True)))
        classes.update(int(value) for _, value in shapes(values, values != 255, connectivity=4))
    del pixels[255]
    with sqlite3.connect(product) as connection:
        made = connection.execute("SELECT class_code, count(*), sum(area_m2) FROM land_cover GROUP BY 1").fetchall()
    assert {code: count for code, count, _ in made} == classes
    assert {code: area for code, _, area in made} == {code: 100 * count for code, count in pixels.items()}
    assert 147_000 < classes.total() < 149_000


def test_every_polygon_of_the_sample_is_valid_and_overlaps_no_other(product: Path) -> None:
    with read_geopackage(product) as reader:
        for batch in reader.features((-1e9, -1e9, 1e9, 1e9), size=20_000):
            assert shapely.is_valid(batch.geometries).all()
            assert (shapely.get_num_geometries(batch.geometries) == 1).all()
            assert [row[2] for row in batch.rows] == shapely.area(batch.geometries).tolist()


def noise(path: Path, *, seed: int, block: int, size: tuple[int, int]) -> None:
    """Write a raster of small and large areas, holes, and omitted blocks."""
    random = np.random.default_rng(seed)
    classes = random.choice(np.array([1, 2, 254, 255], np.uint8), p=[0.5, 0.3, 0.1, 0.1], size=size)
    classes[size[0] // 3 : size[0] // 2] = 3
    for y in range(0, size[0], block):
        for x in range(0, size[1], block):
            if random.random() < 0.3:
                classes[y : y + block, x : x + block] = 255
    profile = {
        "driver": "GTiff", "height": size[0], "width": size[1], "count": 1, "dtype": "uint8", "nodata": 255,
        "crs": "EPSG:3035", "transform": Affine(10, 0, 4_000_000, 0, -10, 3_000_000), "compress": "deflate",
        "tiled": True, "blockxsize": block, "blockysize": block, "sparse_ok": True,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        target.write(classes, 1)


@pytest.mark.parametrize("seed", range(6))
def test_components_across_blocks_have_the_exact_outline(tmp_path: Path, seed: int) -> None:
    noise(tmp_path / "noise.tif", seed=seed, block=16, size=(100 + seed, 167))
    count = polygonize(tmp_path / "noise.tif", tmp_path / "noise.gpkg", year=2023, report=unheard)
    expected = polygons_of(tmp_path / "noise.tif")
    assert polygons_in(tmp_path / "noise.gpkg") == expected
    assert count == expected.total()


def test_progress_grows_to_one(tmp_path: Path) -> None:
    noise(tmp_path / "noise.tif", seed=1, block=16, size=(100, 100))
    reports: list[float] = []
    polygonize(tmp_path / "noise.tif", tmp_path / "x.gpkg", year=2023, report=lambda part, _: reports.append(part))
    assert reports == sorted(reports)
    assert reports[0] < 0.5
    assert reports[-1] == 1


def test_a_truncated_raster_leaves_nothing(tmp_path: Path, raster: Path) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_bytes(raster.read_bytes()[:800_000])
    with pytest.raises(BrokenSource):
        polygonize(broken, tmp_path / "made" / "x.gpkg", year=2023, report=unheard)
    assert not list(tmp_path.glob("made/*"))


def test_an_unknown_class_is_a_broken_source(tmp_path: Path) -> None:
    noise(tmp_path / "noise.tif", seed=1, block=16, size=(32, 32))
    with rasterio.open(tmp_path / "noise.tif", "r+") as target:
        target.write(np.full((32, 32), 17, np.uint8), 1)
    with pytest.raises(BrokenSource, match="17"):
        polygonize(tmp_path / "noise.tif", tmp_path / "x.gpkg", year=2023, report=unheard)


def test_the_sample_is_made_only_if_missing_or_outdated(sample: Path, raster: Path) -> None:
    assert make_sample(raster.parent, sample / "sample", report=unheard) == ()
    parks = sample / "sample" / "parks.gpkg"
    parks.unlink()
    assert make_sample(raster.parent, sample / "sample", report=unheard) == (parks,)


def test_parks_keep_ids_and_attributes(sample: Path) -> None:
    with read_geopackage(sample / "sample" / "parks.gpkg") as reader:
        (batch,) = reader.features((-180, -90, 180, 90))
        assert reader.layer.names == ("cdda_id", "name", "country", "designated")
    found = dict(zip(batch.keys, batch.rows, strict=True))
    assert found[106887] == (106887, "Babiogórski National Park", "PL", 1955)
    assert len(found) == 9
    assert shapely.is_valid(batch.geometries).all()
