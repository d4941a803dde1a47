"""The number of polygons is that of an extraction, or an estimate within its margin."""

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import shapely

from products.area import Area, read_area
from products.errors import BrokenSource
from products.progress import unheard
from products.vector.census import count_polygons
from products.vector.extract import extract_vector

WHOLE = {"bbox": [15.40, 49.30, 24.00, 53.20]}
SLANTED = "POLYGON ((19.9 49.1, 20.3 49.7, 23.9 52.9, 23.6 52.6, 19.9 49.1))"
NOWHERE = "POLYGON ((2 48, 3 48, 3 49, 2 49, 2 48))"


@pytest.fixture(scope="module")
def product(sample: Path) -> Path:
    return sample / "sample" / "clcplus_2023_parks.gpkg"


def delivered(product: Path, area: Area, folder: Path) -> dict[int, int]:
    extract_vector(product, area, folder, name="x", report=unheard)
    with sqlite3.connect(folder / "x.gpkg") as connection:
        return dict(connection.execute("SELECT class_code, count(*) FROM land_cover GROUP BY 1"))


@pytest.mark.parametrize("name", ["Białowieski", "Ojcowski", "Karkonoski"])
def test_the_count_of_a_park_equals_its_delivery(
    product: Path, parks: dict[str, Area], tmp_path: Path, name: str
) -> None:
    park = parks[f"{name} National Park"]
    counts = count_polygons(product, park)
    assert counts.margin == 0
    assert counts.polygons == delivered(product, park, tmp_path)
    assert counts.total == sum(counts.polygons.values()) > 100


def test_a_slanted_outline_counts_the_polygons_it_crosses(product: Path, tmp_path: Path) -> None:
    area = read_area(SLANTED)
    assert count_polygons(product, area, most=100_000).polygons == delivered(product, area, tmp_path)


def test_polygons_that_only_touch_the_outline_are_not_counted(product: Path, tmp_path: Path) -> None:
    left, top = 5_245_000, 3_380_000
    on_the_grid: Any = SimpleNamespace(project=lambda _epsg: shapely.box(left, top, left + 5_000, top + 5_000))
    assert count_polygons(product, on_the_grid).polygons == delivered(product, on_the_grid, tmp_path)


def test_an_empty_area_has_no_polygons(product: Path) -> None:
    assert count_polygons(product, read_area(NOWHERE)).polygons == {}
    assert count_polygons(product, read_area({"bbox": [-172, -54, -168, -50]})).polygons == {}


@pytest.mark.parametrize("most", [20, 60, 300, 1_000])
@pytest.mark.parametrize("bbox", [[15.40, 49.30, 24.00, 53.20], [19.4, 49.3, 20.8, 50.2]])
def test_an_estimate_lies_within_its_margin(product: Path, bbox: list[float], most: int) -> None:
    area = read_area({"bbox": bbox})
    exact = count_polygons(product, area, most=100_000)
    estimate = count_polygons(product, area, most=most)
    assert 0 < estimate.margin < 4 / most**0.5, "and the margin says something"
    assert estimate.total == pytest.approx(exact.total, rel=1.5 * estimate.margin)
    assert estimate.polygons.keys() <= exact.polygons.keys()
    assert count_polygons(product, area, most=most) == estimate, "asked again it is the same"


def test_an_estimate_reads_a_bounded_number_of_nodes(product: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []

    def note(_cursor: sqlite3.Cursor, row: Any) -> Any:
        read.append(row)
        return row

    class Counted(sqlite3.Connection):
        def execute(self, query: str, *values: Any) -> sqlite3.Cursor:
            cursor = super().execute(query, *values)
            if "_node" in query:
                cursor.row_factory = note
            return cursor

    connect = sqlite3.connect
    monkeypatch.setattr("sqlite3.connect", lambda *given, **more: connect(*given, factory=Counted, **more))
    for most in (20, 100):
        read.clear()
        count_polygons(product, read_area(WHOLE), most=most)
        assert most < len(read) <= 4 * most, "of 5,071 nodes on four levels"


@pytest.mark.parametrize("content", [None, b"", b"not a geopackage" * 100])
def test_a_broken_source_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "broken.gpkg").write_bytes(content)
    with pytest.raises(BrokenSource):
        count_polygons(tmp_path / "broken.gpkg", read_area(WHOLE))
