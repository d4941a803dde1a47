import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.features import geometry_mask
from rasterio.windows import from_bounds

from products.area import Area, read_area
from products.classes import CLASSES
from products.errors import AreaTooLarge, BrokenSource, NothingInside
from products.progress import unheard
from products.vector.census import has_features
from products.vector.extract import extract_vector
from products.vector.geopackage import read_geopackage

QGIS = Path(__file__).parents[1] / "qgis" / "read_vector.py"
NOWHERE = "POLYGON ((2 48, 3 48, 3 49, 2 49, 2 48))"
COVERED = (
    "Babiogórski", "Białowieski", "Gorczański", "Karkonoski", "Narwiański", "Ojcowski", "Pieniński", "Świętokrzyski",
)  # fmt: skip
EXPECTED_STYLE = {str(entry.value): [entry.hex, entry.name] for entry in CLASSES}


@pytest.fixture(scope="module")
def product(sample: Path) -> Path:
    return sample / "sample" / "clcplus_2023_parks.gpkg"


def areas_by_class(path: Path) -> dict[int, float]:
    with sqlite3.connect(path) as connection:
        return dict(connection.execute("SELECT class_code, sum(area_m2) FROM land_cover GROUP BY 1"))


def pixels_by_class(raster: Path, area: Area) -> Counter[int]:
    outline = area.project(3035)
    with rasterio.open(raster) as source:
        west, south, east, north = outline.bounds
        window = from_bounds(west - 10, south - 10, east + 10, north + 10, source.transform).round_offsets()
        window = window.round_lengths()
        classes = source.read(1, window=window)
        outside = geometry_mask([outline], classes.shape, source.window_transform(window))
    values, counts = np.unique(classes[~outside], return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


@pytest.mark.parametrize("name", COVERED)
def test_areas_sum_to_the_area_of_the_park(product: Path, parks: dict[str, Area], tmp_path: Path, name: str) -> None:
    park = parks[f"{name} National Park"]
    extract_vector(product, park, tmp_path, name="x", report=unheard)
    assert sum(areas_by_class(tmp_path / "x.gpkg").values()) == pytest.approx(park.km2 * 1e6, rel=1e-4)


def test_a_park_without_a_buffer_has_the_area_of_its_pixels(
    product: Path, raster: Path, parks: dict[str, Area], tmp_path: Path
) -> None:
    """The source is cut by pixel centres at the park's outline; parts of pixels outside of it are cut off too."""
    park = parks["Poleski National Park"]
    extract_vector(product, park, tmp_path, name="x", report=unheard)
    total = sum(areas_by_class(tmp_path / "x.gpkg").values())
    pixels = pixels_by_class(raster, park)
    assert pixels[255] / pixels.total() < 1e-4
    assert total < park.km2 * 1e6
    assert total == pytest.approx(park.km2 * 1e6, rel=3e-3)


@pytest.mark.parametrize("name", ["Ojcowski", "Narwiański"])
def test_areas_of_classes_are_about_those_of_the_pixels(
    product: Path, raster: Path, parks: dict[str, Area], tmp_path: Path, name: str
) -> None:
    """A pixel is inside or outside, a polygon is cut: they differ at the edge, in either direction."""
    park = parks[f"{name} National Park"]
    extract_vector(product, park, tmp_path, name="x", report=unheard)
    pixels = pixels_by_class(raster, park)
    areas = areas_by_class(tmp_path / "x.gpkg")
    assert set(pixels) - {255} <= set(areas)
    for code, area in areas.items():
        assert area == pytest.approx(100 * pixels[code], rel=0.01, abs=5_000)


def test_inner_polygons_are_unchanged_and_those_on_the_edge_are_cut(
    product: Path, parks: dict[str, Area], tmp_path: Path
) -> None:
    park = parks["Ojcowski National Park"]
    extract_vector(product, park, tmp_path, name="x", report=unheard)
    outline = park.project(3035)
    source, made = features_of(product, outline.bounds), features_of(tmp_path / "x.gpkg", outline.bounds)
    polygons = np.array(list(source.values()), dtype=object)
    shared = shapely.area(shapely.intersection(polygons, outline))
    keys = np.array(list(source))
    assert set(made) == set(keys[shared > 0].tolist())
    inside = keys[np.isclose(shared, shapely.area(polygons), rtol=1e-12)].tolist()
    assert all(made[key].equals_exact(source[key]) for key in inside)
    assert 0 < len(inside) < len(made)
    cut = np.array(list(made.values()), dtype=object)
    assert shapely.area(shapely.difference(cut, outline)).max() < 1e-3
    assert shapely.is_valid(cut).all()
    assert {polygon.geom_type for polygon in cut} == {"MultiPolygon"}
    assert shapely.get_num_geometries(cut).max() > 1


def features_of(path: Path, bounds: tuple[float, float, float, float]) -> dict[int, shapely.Geometry]:
    with read_geopackage(path) as reader:
        return {
            key: shape
            for batch in reader.features(bounds)
            for key, shape in zip(batch.keys, batch.geometries, strict=True)
        }


def test_extraction_makes_three_files_and_reports_progress(
    product: Path, parks: dict[str, Area], tmp_path: Path
) -> None:
    reports: list[float] = []
    files = extract_vector(
        product, parks["Narwiański National Park"], tmp_path, name="V", report=lambda part, _: reports.append(part)
    )
    assert [path.name for path in files] == ["V.gpkg", "V.sld", "V.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["V.gpkg", "V.sld", "V.txt"]
    assert reports == sorted(reports)
    assert reports[-1] == 1
    assert len(reports) > 2
    assert "10\tWater\n" in (tmp_path / "V.txt").read_text()
    ET.fromstring((tmp_path / "V.sld").read_text())  # noqa: S314 - we have just written it


def test_an_area_without_data_leaves_nothing(product: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingInside):
        extract_vector(product, read_area(NOWHERE), tmp_path, name="x", report=unheard)
    assert not list(tmp_path.iterdir())


def test_pieces_of_all_batches_count_together(
    product: Path, parks: dict[str, Area], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("products.vector.extract.MOST_PIECES", 20)
    with pytest.raises(AreaTooLarge, match="order the raster"):
        extract_vector(product, parks["Ojcowski National Park"], tmp_path, name="x", report=unheard)
    assert list(tmp_path.iterdir()) == []


def test_extraction_reports_whether_there_are_polygons(product: Path, parks: dict[str, Area]) -> None:
    assert all(has_features(product, park) for park in parks.values())
    assert not has_features(product, read_area(NOWHERE))


def test_an_area_between_the_parks_is_empty(product: Path) -> None:
    """A ring around all parks, within the bounds of the product but without a polygon."""
    ring = "POLYGON ((14 48, 26 48, 26 55, 14 55, 14 48), (15 48.5, 25 48.5, 25 54.5, 15 54.5, 15 48.5))"
    assert not has_features(product, read_area(ring))


def test_distant_small_areas_do_not_read_everything_between(product: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a European product there would be millions of polygons between them."""
    monkeypatch.setattr("products.vector.census.any_inside", _never)
    specks = "MULTIPOLYGON (((15 49, 15.001 49, 15.001 49.001, 15 49)), ((25 54, 25.001 54, 25.001 54.001, 25 54)))"
    assert not has_features(product, read_area(specks))


def _never(source: Path, area: Area) -> bool:
    raise AssertionError(f"{source} is looked through for {area.km2} km2")


def test_a_file_without_land_cover_is_a_broken_source(sample: Path, parks: dict[str, Area], tmp_path: Path) -> None:
    other = sample / "sample" / "parks.gpkg"
    with pytest.raises(BrokenSource, match="class_code"):
        extract_vector(other, parks["Ojcowski National Park"], tmp_path, name="x", report=unheard)


def test_memory_stays_below_500_mb(product: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from products.area import read_area;"
        " from products.vector.extract import extract_vector;"
        " area = read_area('POLYGON ((14 48, 26 48, 26 55, 14 55, 14 48))');"
        " extract_vector(Path(sys.argv[1]), area, Path(sys.argv[2]), name='x', report=lambda *_: None);"
        # not ru_maxrss, which counts the parent too
        " peak = Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0];"
        " print(int(peak) // 1024)"
    )
    command = [sys.executable, "-c", code, str(product), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=QGIS.parents[2])
    assert int(done.stdout) < 500
    with sqlite3.connect(tmp_path / "x.gpkg") as made, sqlite3.connect(product) as source:
        count = "SELECT count(*), sum(area_m2) FROM land_cover"
        assert made.execute(count).fetchone() == pytest.approx(source.execute(count).fetchone())


@pytest.fixture(scope="module")
def delivered(product: Path, parks: dict[str, Area], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("delivered")
    extract_vector(product, parks["Ojcowski National Park"], folder, name="x", report=unheard)
    return folder


def shown_by_qgis(*arguments: str) -> dict[str, object]:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        ["/usr/bin/python3", str(QGIS), *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, f"is Debian's python3-qgis installed? {done.stderr}"
    shown: dict[str, object] = json.loads(done.stdout)
    return shown


def test_qgis_opens_it_in_the_colours_and_names_of_the_classes(delivered: Path) -> None:
    shown = shown_by_qgis(str(delivered / "x.gpkg|layername=land_cover"))
    assert shown["type"] == "categorizedSymbol"
    assert shown["attribute"] == "class_code"
    assert shown["classes"] == EXPECTED_STYLE


def test_qgis_reads_the_sld_with_the_same_colours_and_names(delivered: Path) -> None:
    shown = shown_by_qgis(str(delivered / "x.gpkg|layername=land_cover"), str(delivered / "x.sld"))
    assert shown["classes"] == {f"class_code = {code}": shown_as for code, shown_as in EXPECTED_STYLE.items()}


def test_gdal_reads_it_without_a_warning(delivered: Path) -> None:
    done = subprocess.run(
        ["ogrinfo", "-so", str(delivered / "x.gpkg"), "land_cover"], check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert "Geometry: Multi Polygon" in done.stdout
