"""Published outlines are repaired if this does not change their area, and refused otherwise."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import shapely
from shapely.geometry import mapping, shape

from products.area import measure_area, read_area
from products.errors import InvalidArea

_PARKS = json.loads((Path(__file__).parents[2] / "sample" / "parks.geojson").read_text())["features"]
_SQUARE = shapely.box(19, 49, 20, 50)


def _circle(vertices: int, radius: float = 0.5) -> list[tuple[float, float]]:
    angle = np.linspace(0, 2 * math.pi, vertices, endpoint=False)
    points = np.column_stack([19.5 + radius * np.cos(angle), 49.5 + radius * np.sin(angle)]).tolist()
    return [*points, points[0]]


@pytest.mark.parametrize("park", _PARKS, ids=lambda park: str(park["properties"]["name"]))
def test_every_park_of_the_sample_is_accepted_as_published(park: dict[str, object]) -> None:
    area, published = read_area(park), shape(park["geometry"])
    assert area.geometry.is_valid
    assert area.geometry.area == pytest.approx(published.area, rel=1e-6)
    assert bool(area.repaired) is not bool(published.is_valid)
    assert read_area(park["geometry"]).repaired == area.repaired
    if area.repaired:
        assert "crosses itself at 2" in area.repaired


@pytest.mark.parametrize(
    ("wkt", "expected"),
    [
        pytest.param(
            "POLYGON ((19 49, 20 49, 20 50, 19.5 49, 19 50, 19 49))", 0.5, id="a ring that touches its own edge"
        ),
        pytest.param(
            "POLYGON ((19 49, 19.5 49.5, 20 49, 20 50, 19.5 49.5, 19 50, 19 49))",
            0.5,
            id="a ring that touches itself at a point",
        ),
        pytest.param(
            "POLYGON ((19 49, 20 49, 20 50, 19 50, 19 49), (19 49.5, 19.2 49.4, 19.4 49.5, 19.2 49.6, 19 49.5),"
            " (19.4 49.5, 19.6 49.4, 20 49.5, 19.6 49.6, 19.4 49.5))",
            1 - 0.04 - 0.06,
            id="holes along points, which cut it in two",
        ),
        pytest.param(
            "POLYGON ((19 49, 20 49, 20 50, 19 50, 19 49), (19.2 49.2, 19.4 49.2, 19.4 49.4, 19.2 49.4, 19.2 49.2),"
            " (19.4 49.2, 19.6 49.2, 19.6 49.4, 19.4 49.4, 19.4 49.2))",
            1 - 0.08,
            id="holes that share an edge",
        ),
        pytest.param(
            "POLYGON ((19 49, 20 49, 20 50, 19 50, 19 49), (19 49.2, 19.4 49.2, 19.4 49.4, 19 49.4, 19 49.2))",
            1 - 0.08,
            id="a hole along the edge",
        ),
        pytest.param(
            "POLYGON ((19 49, 20 49, 20 50, 19 50, 19 49), (19.2 49.2, 19.4 49.2, 19.4 49.4, 19.2 49.4, 19.2 49.2),"
            " (19.4 49.4, 19.4 49.2, 19.2 49.2, 19.2 49.4, 19.4 49.4))",
            1 - 0.04,
            id="a hole that is there twice",
        ),
        pytest.param(
            "MULTIPOLYGON (((19 49, 20 49, 20 50, 19 50, 19 49)), ((20 50, 20 49, 19 49, 19 50, 20 50)))",
            1,
            id="a doubled part",
        ),
        pytest.param(
            "MULTIPOLYGON (((19 49, 20 49, 20 50, 19 50, 19 49)), ((19 49, 19.5 49, 20 49, 20 50, 19 50, 19 49)))",
            1,
            id="a doubled part with another vertex",
        ),
        pytest.param(
            "MULTIPOLYGON (((19 49, 20 49, 20 50, 19 50, 19 49)), ((20 49, 21 49, 21 50, 20 50, 20 49)))",
            2,
            id="parts that share an edge",
        ),
        pytest.param("POLYGON ((19 49, 20 49, 20 49.5, 22 49.5, 20 49.5, 20 50, 19 50, 19 49))", 1, id="a spike"),
        pytest.param(
            "POLYGON ((19 49, 20 49, 20 50, 19.5 50, 19.5 49.5, 19.5 50, 19 50, 19 49))", 1, id="a spike inwards"
        ),
        pytest.param(
            "POLYGON ((19 49, 20 49, 20 50, 19 50, 19 49), (19.2 49.2, 19.4 49.2, 19.2 49.2, 19.2 49.2))",
            1,
            id="a collapsed hole",
        ),
        pytest.param(
            "MULTIPOLYGON (((19 49, 20 49, 20 50, 19 50, 19 49)), ((25 49, 26 49, 25 49, 25 49)))",
            1,
            id="a collapsed part",
        ),
        pytest.param(
            "POLYGON ((19 49, 20 49, 20 50, 19.5 50, 19.5001 50.0001, 19.5001 50, 19.5 50.0001, 19 50, 19 49))",
            1.000025005,
            id="it barely crosses itself",
        ),
        pytest.param(
            "MULTIPOLYGON (((19 49, 20 49, 20 50, 19 50, 19 49)), "
            "((19.9999999 49, 21 49, 21 50, 19.9999999 50, 19.9999999 49)))",
            2,
            id="parts that barely overlap",
        ),
    ],
)
def test_a_repair_without_a_change_of_area_is_reported(wkt: str, expected: float) -> None:
    area = read_area(wkt)
    assert area.geometry.is_valid
    assert area.geometry.area == pytest.approx(expected, rel=1e-6)
    assert area.repaired.startswith("The area ")
    assert area.repaired.endswith("it was repaired, which changed its size by less than a millionth.")
    assert " at 1" in area.repaired or " at 2" in area.repaired
    assert area.project(3035).area > 0


@pytest.mark.parametrize(
    ("wkt", "where"),
    [
        pytest.param("POLYGON ((19 49, 20 50, 20 49, 19 50, 19 49))", "crosses itself at 19.5 49.5", id="a bow-tie"),
        pytest.param(
            "POLYGON ((19 49, 20 50, 20 49, 19 49.5, 19 49))", "crosses itself at 19.333", id="an uneven bow-tie"
        ),
        pytest.param(
            "MULTIPOLYGON (((19 49, 20 49, 20 50, 19 50, 19 49)), ((25 49, 26 50, 26 49, 25 50, 25 49)))",
            "crosses itself at 25.5 49.5",
            id="one part is a bow-tie",
        ),
        pytest.param(
            "MULTIPOLYGON (((19 49, 20 49, 20 49.5, 22 49.5, 20 49.5, 20 50, 19 50, 19 49)), "
            "((25 49, 26 50, 26 49, 25 50, 25 49)))",
            "crosses itself at 25.5 49.5",
            id="a spike, and a bow-tie, which is the place that is told",
        ),
        pytest.param(
            "MULTIPOLYGON (((19 49, 20 49, 20 50, 19 50, 19 49)), ((19.5 49, 21 49, 21 50, 19.5 50, 19.5 49)))",
            " at ",
            id="parts that overlap",
        ),
        pytest.param(
            "MULTIPOLYGON (((19 49, 20 49, 20 50, 19 50, 19 49)), "
            "((19.4 49.4, 19.6 49.4, 19.6 49.6, 19.4 49.6, 19.4 49.4)))",
            "nested shells",
            id="a part inside another, which may be meant as a hole",
        ),
        pytest.param(
            "POLYGON ((19 49, 20 49, 20 50, 19 50, 19 49, 20 49, 20 50, 19 50, 19 49))",
            " at ",
            id="a ring that goes round twice",
        ),
        pytest.param(
            "POLYGON ((19 49, 20 49, 20 50, 19 50, 19 49), (19.2 49.2, 19.6 49.2, 19.6 49.6, 19.2 49.6, 19.2 49.2),"
            " (19.4 49.4, 19.8 49.4, 19.8 49.8, 19.4 49.8, 19.4 49.4))",
            " at ",
            id="holes that overlap",
        ),
        pytest.param(
            "POLYGON ((19 49, 20 49, 20 50, 19 50, 19 49), (30 49, 31 49, 31 50, 30 49))",
            "hole lies outside shell",
            id="a hole elsewhere",
        ),
        pytest.param(
            "POLYGON ((19 49, 20 49, 20 50, 19.5 50, 19.503 50.003, 19.503 50, 19.5 50.003, 19 50, 19 49))",
            "crosses itself",
            id="a knot of a few millionths",
        ),
        pytest.param("POLYGON ((19 49, 20 49, 19 49, 20 49, 19 49))", " at ", id="nothing but a line"),
    ],
)
def test_a_repair_that_changes_the_area_is_refused_with_the_place(wkt: str, where: str) -> None:
    with pytest.raises(InvalidArea) as refused:
        read_area(wkt)
    assert where in str(refused.value)
    assert "Allowed is a valid polygon" in str(refused.value)


def _feature(polygon: shapely.Polygon) -> dict[str, object]:
    rings = [[list(position) for position in ring.coords] for ring in (polygon.exterior, *polygon.interiors)]
    return {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": rings}}


def _strips(count: int) -> dict[str, object]:
    at = np.arange(count) / count
    upright = shapely.box(19 + 0.05 * at, 49, 19 + 0.05 * (at + 0.3 / count), 49.05)
    level = shapely.box(19, 49 + 0.05 * at, 19.05, 49 + 0.05 * (at + 0.3 / count))
    return {"type": "FeatureCollection", "features": [*map(_feature, upright), *map(_feature, level)]}


def test_crossing_strips_of_a_collection_are_united() -> None:
    area = measure_area(_strips(30))
    assert area.repaired == ""
    assert area.geometry.area == pytest.approx(0.05**2 * (1 - 0.7**2), rel=1e-9)
    assert shapely.get_num_interior_rings(area.geometry) == 29**2


@pytest.mark.parametrize("count", [200, 2_000, 15_000])
def test_too_many_crossings_are_refused_before_the_union(count: int) -> None:
    with pytest.raises(InvalidArea, match=r"cross each other too often. Allowed are 100,000|too tangled"):
        measure_area(_strips(count))


def test_a_long_outline_that_touches_itself_is_repaired() -> None:
    ring = _circle(100_000)
    knotted = [*ring[:50_001], (19.3, 49.5), ring[50_000], *ring[50_001:]]
    area = read_area(mapping(shapely.Polygon(knotted)) | {"coordinates": [[list(position) for position in knotted]]})
    assert area.repaired
    assert area.geometry.is_valid
    assert _SQUARE.area * math.pi / 4 == pytest.approx(area.geometry.area, rel=1e-4)
