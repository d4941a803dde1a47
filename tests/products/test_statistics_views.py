"""The statistics as document, table and chart have the same values."""

import csv
import io
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from products.area import Area
from products.catalogue import Product
from products.classes import CLASSES, NODATA, LandCoverClass
from products.places import Place
from products.raster.statistics import ClassChanges, ClassCounts
from products.statistics.chart import as_svg
from products.statistics.document import as_csv, describe_changes, describe_counts, document

_SVG = "{http://www.w3.org/2000/svg}"
_PRODUCT = Product("land", "Land <2023>", 2023, Path("a.tif"), None, "Some & body")
_EARLIER = Product("old", "Land 2018", 2018, Path("b.tif"), None, "Somebody")
_NAME = 'Ład, "Górny" & <b>\x0b'


def place(name: str = _NAME) -> Place:
    return Place("7", name, Area(shapely.box(19, 50, 19.1, 50.1)))


def counts(pixels: dict[int, int], overview: int = 1) -> ClassCounts:
    values = np.zeros(256)
    for value, count in pixels.items():
        values[value] = count
    margin = np.zeros(256) if overview == 1 else values * 10
    return ClassCounts(values, values * 100, margin, overview, 0 if overview == 1 else 64)


def statistics_of(pixels: dict[int, int], overview: int = 1) -> dict[str, Any]:
    return document(_PRODUCT, None, [describe_counts(place(), counts(pixels, overview), CLASSES)])


def compared(pairs: dict[tuple[int, int], int]) -> dict[str, Any]:
    pixels = np.zeros((256, 256))
    for pair, count in pairs.items():
        pixels[pair] = count
    changes = ClassChanges(pixels, pixels * 100, np.zeros((256, 256)), 1, 0)
    return document(_PRODUCT, _EARLIER, [describe_changes(place(), changes, CLASSES, CLASSES)])


def test_percentages_exclude_no_data() -> None:
    (feature,) = statistics_of({1: 100, 10: 300, 77: 100, NODATA: 10_000})["features"]
    rows = {row["value"]: row for row in feature["classes"]}
    assert rows[1] == {
        "value": 1, "name": "Sealed", "colour": "#ff0000", "km2": 0.01, "pixels": 100, "percent": 20.0,
    }  # fmt: skip
    assert rows[10]["percent"] == 60
    assert (rows[77]["name"], rows[77]["percent"]) == ("Value 77, no class", 20)
    assert rows[4]["pixels"] == 0
    assert len(rows) == len(CLASSES) + 1
    assert NODATA not in rows
    assert (feature["data_km2"], feature["no_data_km2"]) == (0.05, 1)
    assert feature["km2"] == pytest.approx(place().area.km2, abs=1e-6)


def test_the_document_has_its_accuracy() -> None:
    (exact,) = statistics_of({1: 10})["features"]
    assert (exact["exact"], exact["overview"]) == (True, 1)
    assert "Every pixel" in exact["accuracy"]
    assert "margin_km2" not in exact["classes"][0]
    (estimated,) = statistics_of({1: 6400}, overview=8)["features"]
    assert (estimated["exact"], estimated["overview"]) == (False, 8)
    assert "8 x 8" in estimated["accuracy"]
    assert "64 blocks" in estimated["accuracy"]
    assert estimated["classes"][0]["margin_km2"] == 0.064


def test_changes_add_up_to_the_classes_of_both_years() -> None:
    (feature,) = compared({(1, 1): 10, (2, 1): 30, (2, 10): 60, (NODATA, 1): 5, (NODATA, NODATA): 9})["features"]
    assert {row["value"]: row["pixels"] for row in feature["classes"] if row["pixels"]} == {1: 45, 10: 60}
    assert {row["value"]: row["pixels"] for row in feature["classes_since"] if row["pixels"]} == {1: 10, 2: 90}
    pairs = {(row["from"]["value"], row["to"]["value"]): row for row in feature["changes"]}
    assert set(pairs) == {(1, 1), (2, 1), (2, 10), (NODATA, 1)}
    assert (pairs[2, 10]["pixels"], pairs[2, 10]["percent"]) == (60, 60)
    assert (pairs[NODATA, 1]["from"]["name"], pairs[NODATA, 1]["percent"]) == ("No data", None)
    assert feature["changed_km2"] == 0.009
    assert feature["no_data_km2"] == 0.0009


def rows_of(statistics_of: dict[str, Any]) -> list[dict[str, str]]:
    text = as_csv(statistics_of)
    assert text.count("\r\n") == text.count("\n") == len(list(csv.reader(io.StringIO(text, newline=""))))
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_table_has_a_row_for_each_class_and_for_no_data() -> None:
    rows = rows_of(statistics_of({1: 100, 10: 300, NODATA: 50}, overview=4))
    assert len(rows) == len(CLASSES) + 1
    sealed = rows[0]
    assert (sealed["feature"], sealed["class"], sealed["class_name"], sealed["colour"]) == (
        _NAME,
        "1",
        "Sealed",
        "#ff0000",
    )
    assert (sealed["km2"], sealed["percent"], sealed["margin_km2"]) == ("0.01", "25.0", "0.001")
    assert (sealed["year"], sealed["exact"], sealed["overview"]) == ("2023", "false", "4")
    assert (rows[-1]["class"], rows[-1]["km2"], rows[-1]["percent"]) == ("255", "0.005", "")


def test_the_table_of_changes_has_a_row_for_each_pair() -> None:
    rows = rows_of(compared({(1, 1): 10, (2, 10): 60, (NODATA, 1): 5}))
    assert [(row["from_year"], row["from_class"], row["to_year"], row["to_class"]) for row in rows] == [
        ("2018", "1", "2023", "1"),
        ("2018", "2", "2023", "10"),
        ("2018", "255", "2023", "1"),
    ]
    assert [row["percent"] for row in rows][-1] == ""
    assert rows[1]["to_name"] == "Water"


def drawn(statistics_of: dict[str, Any]) -> ET.Element:
    """Return the chart; it has a name, a description, no script, no external resource, and nothing beyond its edge."""
    picture = as_svg(statistics_of)
    assert "<script" not in picture
    assert "href" not in picture
    root = ET.fromstring(picture)  # noqa: S314 - our own picture
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "title desc"
    assert root.findtext(f"{_SVG}title[@id='title']")
    assert root.findtext(f"{_SVG}desc[@id='desc']")
    for box in root.iter(f"{_SVG}rect"):
        if box.get("x"):
            assert (
                0
                <= float(box.attrib["x"])
                <= float(box.attrib["x"]) + float(box.attrib["width"])
                <= float(root.attrib["width"])
            )
            assert float(box.attrib["y"]) + float(box.attrib["height"]) <= float(root.attrib["height"])
    return root


def texts(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{_SVG}text")]


def fills(root: ET.Element) -> list[str]:
    return [element.attrib["fill"] for element in root.iter(f"{_SVG}rect")]


def test_one_area_is_drawn_as_bars_in_class_colours() -> None:
    root = drawn(statistics_of({1: 100, 10: 300, 77: 1, NODATA: 50}))
    assert fills(root)[1:] == ["#ff0000", "#0080ff", "#000000"]
    _, sealed, water, _ = (float(box.get("width", "0").rstrip("%")) for box in root.iter(f"{_SVG}rect"))
    assert water == pytest.approx(3 * sealed, rel=0.01)
    assert water == 420, "the largest is as long as there is room"
    found = texts(root)
    assert "Water" in found
    assert "0.03 km² · 74.8 %" in found
    assert "Value 77, no class" in found
    assert 'Land <2023>: Ład, "Górny" & <b>\ufffd' in found, "escaped, and what XML cannot hold replaced"
    assert "0.04 km² with data, < 0.01 km² without data" in found
    assert "Some & body" in found
    assert "Water 0.03 km² (74.8 %)" in (root.findtext(f"{_SVG}desc") or "")


def test_several_areas_are_drawn_as_one_bar_each() -> None:
    features = [
        describe_counts(place("One"), counts({1: 100, 10: 300}), CLASSES),
        describe_counts(place("Nothing"), counts({NODATA: 9}), CLASSES),
        describe_counts(place("Other"), counts({6: 10}), CLASSES),
    ]
    root = drawn(document(_PRODUCT, None, features))
    assert {"One", "Nothing", "Other", "Sealed", "Permanent herbaceous", "Water"} <= set(texts(root))
    assert sorted(fills(root)[1:]) == sorted(["#ff0000", "#0080ff", "#ccf24d"] * 2), "a legend, and the bars"


def test_changes_are_drawn_as_a_table_of_shaded_cells() -> None:
    root = drawn(compared({(1, 1): 4000, (2, 1): 30_000, (2, 10): 60_000, (10, 10): 7000}))
    found = texts(root)
    assert {"0.40", "3.00", "6.00", "0.70", "All of 2018", "All of 2023", "10.10"} <= set(found)
    assert any("9.00 km² changed their class" in word for word in found)
    assert fills(root).count("#e6e6e6") == 2, "what is unchanged is grey"
    assert "#fd8d3c" in fills(root), "the largest change is darkest"


def test_a_table_of_many_classes_is_drawn() -> None:
    classes = tuple(
        LandCoverClass(value, f"Class of a long name, number {value}", (value, 0, 0)) for value in range(60)
    )
    pixels = np.zeros((256, 256))
    pixels[:60, :60] = 123_456_789
    changes = ClassChanges(pixels, pixels * 100, np.zeros((256, 256)), 1, 0)
    features = [describe_changes(place(), changes, classes, classes)]
    assert len(fills(drawn(document(_PRODUCT, _EARLIER, features)))) > 61 * 61
