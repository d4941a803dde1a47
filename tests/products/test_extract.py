import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.features import rasterize
from rasterio.windows import Window
from rio_cogeo import cog_validate

from products.area import Area, read_area
from products.classes import CLASSES, NODATA
from products.errors import BrokenSource, NothingInside
from products.progress import unheard
from products.raster.extract import extract_raster

QGIS = Path(__file__).parents[1] / "qgis" / "describe_raster.py"
SUFFIXES = ["tif", "tfw", "tif.vat.dbf", "tif.vat.cpg", "tif.clr", "tif.aux.xml", "qml", "txt"]
WHOLE = {"bbox": [14, 48, 25, 55]}
EMPTY = {"bbox": [18, 51, 18.1, 51.1]}
CHILD = """
import sys
from pathlib import Path
from products.area import read_area
from products.raster.extract import extract_raster
area = read_area({"bbox": [14, 48, 25, 55]})
extract_raster(Path(sys.argv[1]), area, Path(sys.argv[2]), name="a", report=lambda *_: None)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.fixture(scope="module")
def park(raster: Path, parks: dict[str, Area], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the extracted raster of one park."""
    folder = tmp_path_factory.mktemp("park")
    return extract_raster(raster, parks["Ojcowski National Park"], folder, name="Raster_1", report=unheard)[0]


@pytest.fixture(scope="module")
def whole(raster: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the extracted raster of an area that contains the whole sample."""
    return extract_raster(raster, read_area(WHOLE), tmp_path_factory.mktemp("whole"), name="all", report=unheard)[0]


def counts_by_rasterizing(raster: Path, area: Area) -> NDArray[np.int64]:
    """Count the source's pixels independently: with finer edges, another transformer, one mask for all."""
    fine = shapely.segmentize(area.geometry, 0.0005)
    transformer = Transformer.from_crs("EPSG:4326", "EPSG:3035")
    outline = shapely.transform(
        fine, lambda points: np.column_stack(transformer.transform(points[:, 1], points[:, 0])[::-1])
    )
    with rasterio.open(raster) as source:
        west, south, east, north = outline.bounds
        row, column = source.index(west, north)
        window = Window(column - 1, row - 1, int((east - west) / 10) + 4, int((north - south) / 10) + 4)
        pixels = source.read(1, window=window, boundless=True, fill_value=NODATA)
        inside = rasterize([outline], pixels.shape, transform=source.window_transform(window), dtype="uint8")
    return np.bincount(pixels[inside == 1], minlength=256)


def test_every_park_has_the_pixels_that_an_independent_count_finds(
    raster: Path, parks: dict[str, Area], tmp_path: Path
) -> None:
    assert len(parks) == 9
    for name, area in parks.items():
        image, *_ = extract_raster(raster, area, tmp_path, name="a", report=unheard)
        with rasterio.open(image) as product:
            counts = np.bincount(product.read(1).ravel(), minlength=256)
        expected = counts_by_rasterizing(raster, area)
        assert counts[:NODATA].sum() > 100_000, name
        assert counts[:NODATA].tolist() == expected[:NODATA].tolist(), name


def test_an_area_with_holes_and_parts_has_exactly_the_pixels_whose_centre_is_inside(
    raster: Path, tmp_path: Path
) -> None:
    circle = shapely.Point(19.83, 50.21).buffer(0.04, quad_segs=32)
    ring = circle.difference(shapely.Point(19.83, 50.21).buffer(0.02))
    area = Area(
        shapely.union_all([ring, shapely.Point(19.83, 50.21).buffer(0.005), shapely.box(19.7, 50.15, 19.75, 50.2)])
    )
    image, *_ = extract_raster(raster, area, tmp_path, name="a", report=unheard)
    with rasterio.open(image) as product:
        counts = np.bincount(product.read(1).ravel(), minlength=256)
    assert counts[:NODATA].sum() > 10_000
    assert counts[:NODATA].tolist() == counts_by_rasterizing(raster, area)[:NODATA].tolist()


def test_pixels_are_on_the_grid_of_the_source_with_its_values(raster: Path, park: Path) -> None:
    with rasterio.open(raster) as source, rasterio.open(park) as product:
        column, row = (product.transform.c - source.transform.c) / 10, (source.transform.f - product.transform.f) / 10
        assert (column, row) == (int(column), int(row))
        pixels = product.read(1)
        original = source.read(1, window=Window(column, row, product.width, product.height))
    assert (pixels[pixels != NODATA] == original[pixels != NODATA]).all()
    assert (pixels != original).any()


def test_the_extent_of_the_raster_is_that_of_the_area(parks: dict[str, Area], park: Path) -> None:
    west, south, east, north = parks["Ojcowski National Park"].project(3035).bounds
    with rasterio.open(park) as product:
        bounds = product.bounds
    for gap in (west - bounds.left, south - bounds.bottom, bounds.right - east, bounds.top - north):
        assert 0 <= gap < 10


def test_an_area_partly_outside_is_cut_to_the_source(raster: Path, whole: Path) -> None:
    with rasterio.open(raster) as source, rasterio.open(whole) as product:
        assert product.bounds == source.bounds
        assert product.shape == source.shape


def test_it_is_a_valid_cloud_optimized_geotiff(park: Path, whole: Path) -> None:
    for image in (park, whole):
        valid, errors, warnings = cog_validate(image, strict=True)
        assert (valid, errors, warnings) == (True, [], [])


def test_the_raster_has_colours_no_data_crs_and_overviews(whole: Path) -> None:
    with rasterio.open(whole) as product:
        assert product.crs.to_epsg() == 3035
        assert product.nodata == NODATA
        assert product.overviews(1) == [2, 4, 8, 16, 32, 64, 128]
        assert product.block_shapes == [(512, 512)]
        assert product.compression.value == "DEFLATE"
        assert product.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        colours = product.colormap(1)
    assert {entry.value: colours[entry.value][:3] for entry in CLASSES} == {entry.value: entry.rgb for entry in CLASSES}
    assert colours[NODATA][3] == 0


def test_each_overview_is_the_mode_of_the_level_below_and_ignores_no_data(park: Path) -> None:
    with rasterio.open(park) as product:
        levels = [product.read(1)]
        factors = product.overviews(1)
    for index in range(len(factors)):
        with rasterio.open(park, overview_level=index) as overview:
            levels.append(overview.read(1))
    assert len(levels) >= 2
    for fine, coarse in itertools.pairwise(levels):
        padded = np.pad(fine, [(0, fine.shape[0] % 2), (0, fine.shape[1] % 2)], constant_values=NODATA)
        quads = padded.reshape(coarse.shape[0], 2, coarse.shape[1], 2).swapaxes(1, 2).reshape(-1, 4)
        tally = (quads[:, :, None] == quads[:, None, :]).sum(axis=2) * (quads != NODATA)
        chosen = ((quads == coarse.ravel()[:, None]) * tally).max(axis=1)
        assert (chosen == tally.max(axis=1)).all()
        assert ((coarse.ravel() == NODATA) == (quads == NODATA).all(axis=1)).all()


def test_empty_blocks_are_neither_read_nor_written(raster: Path, whole: Path) -> None:
    with rasterio.open(raster) as source, rasterio.open(whole) as product:
        places = [f"BLOCK_OFFSET_{column}_{row}" for column, row in itertools.product(range(115), range(92))]
        stored = [
            sum(image.get_tag_item(place, "TIFF", bidx=1) is not None for place in places)
            for image in (source, product)
        ]
    assert stored == [114, 114]
    assert whole.stat().st_size < 3_000_000


def test_gdals_own_program_reads_it(park: Path) -> None:
    done = subprocess.run(["gdalinfo", "-json", "-hist", park], capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    band = document["bands"][0]
    with rasterio.open(park) as product:
        counts = np.bincount(product.read(1).ravel(), minlength=256).tolist()
    assert document["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
    assert band["colorInterpretation"] == "Palette"
    assert band["noDataValue"] == NODATA
    assert band["histogram"]["buckets"] == [*counts[:NODATA], 0]
    assert band["colorTable"]["entries"][2] == [34, 139, 34, 255]
    assert "Warning" not in done.stderr


def test_gdal_reads_the_attribute_table_beside_the_raster(park: Path) -> None:
    done = subprocess.run(
        ["ogrinfo", "-json", "-features", f"{park}.vat.dbf"], capture_output=True, text=True, check=False
    )
    if done.returncode:  # GDAL before 3.7 has no -json here
        done = subprocess.run(["ogrinfo", "-al", f"{park}.vat.dbf"], capture_output=True, text=True, check=True)
    with rasterio.open(park) as product:
        counts = np.bincount(product.read(1).ravel(), minlength=256)
    present = [entry for entry in CLASSES if counts[entry.value]]
    assert len(present) > 3
    for entry in present:
        for word in (str(counts[entry.value]), entry.name):
            assert word in done.stdout
    assert Path(f"{park}.vat.cpg").read_text() == "UTF-8"


def test_the_files_beside_the_raster_have_place_colours_and_names(park: Path) -> None:
    base = park.with_suffix("")
    with rasterio.open(park) as product:
        transform = product.transform
    a, d, b, e, x, y = map(float, base.with_suffix(".tfw").read_text().split())
    assert Affine(a, b, x, d, e, y) @ (-0.5, -0.5) == (transform.c, transform.f)
    assert "2 34 139 34\n" in Path(f"{park}.clr").read_text()
    assert "253\tCoastal seawater buffer\n" in base.with_suffix(".txt").read_text()
    with rasterio.open(park) as product:
        table = Path(f"{park}.aux.xml").read_text()
    assert "<Category>Woody needle leaved trees</Category>" in table


def test_every_file_has_the_base_name(raster: Path, parks: dict[str, Area], tmp_path: Path) -> None:
    paths = extract_raster(raster, parks["Ojcowski National Park"], tmp_path, name="Raster_9", report=unheard)
    assert {path.name for path in paths} == {f"Raster_9.{suffix}" for suffix in SUFFIXES}
    assert set(tmp_path.iterdir()) == set(paths)


def test_qgis_shows_every_class_in_its_colour_with_its_name(park: Path) -> None:
    command = ["/usr/bin/python3", str(QGIS), str(park)]
    environment = {"PATH": os.environ["PATH"], "QT_QPA_PLATFORM": "offscreen", "HOME": str(park.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"QGIS is needed (apt-get install python3-qgis): {done.stderr[-500:]}"
    document = json.loads(done.stdout.splitlines()[-1])
    assert (document["valid"], document["style"], document["renderer"], document["crs"]) == (
        True,
        True,
        "paletted",
        "EPSG:3035",
    )
    assert document["classes"] == {str(entry.value): [entry.name, entry.hex] for entry in CLASSES}
    assert document["nodata"] == NODATA


def test_progress_rises_to_one(raster: Path, tmp_path: Path) -> None:
    reports: list[float] = []
    extract_raster(raster, read_area(WHOLE), tmp_path, name="a", report=lambda done, _: reports.append(done))
    assert reports == sorted(reports)
    assert reports[-1] == 1
    assert max(after - before for before, after in itertools.pairwise([0, *reports])) < 0.15


def test_a_report_that_raises_stops_the_work(raster: Path, tmp_path: Path) -> None:
    def stop(_done: float, _message: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        extract_raster(raster, read_area(WHOLE), tmp_path, name="a", report=stop)


@pytest.mark.parametrize("value", [EMPTY, {"bbox": [0, 0, 1, 1]}, {"bbox": [-172, -54, -168, -50]}])
def test_an_area_without_data_is_refused(raster: Path, tmp_path: Path, value: object) -> None:
    with pytest.raises(NothingInside):
        extract_raster(raster, read_area(value), tmp_path, name="a", report=unheard)
    assert not list(tmp_path.iterdir())


def test_a_broken_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenSource, match=r"none\.tif"):
        extract_raster(tmp_path / "none.tif", read_area(WHOLE), tmp_path, name="a", report=unheard)


def test_the_whole_sample_is_extracted_in_little_memory(raster: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(raster), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert int(done.stdout) / 1024 < 250
