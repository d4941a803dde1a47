import json
import math
import random
import time
from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import Geod, Transformer
from shapely.geometry import mapping

from products.area import Area, measure_area, read_area
from products.errors import AreaTooLarge, InvalidArea
from products.limits import MAX_VERTICES

SQUARE = "POLYGON ((19 49, 20 49, 20 50, 19 50, 19 49))"
RING = [[19, 49], [20, 49], [20, 50], [19, 50], [19, 49]]
POLYGON = {"type": "Polygon", "coordinates": [RING]}
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG_4326 = "http://www.opengis.net/def/crs/EPSG/0/4326"


@pytest.mark.parametrize(
    "value",
    [
        SQUARE,
        "  multipolygon(((19 49, 20 49, 20 50, 19 50, 19 49)))",
        "POLYGON Z ((19 49 7, 20 49 7, 20 50 7, 19 50 7, 19 49 7))",
        POLYGON,
        {"type": "MultiPolygon", "coordinates": [[RING]]},
        {"type": "Polygon", "coordinates": [[[*position, 7] for position in RING]]},
        {"type": "Feature", "properties": {}, "geometry": POLYGON},
        {"value": POLYGON, "mediaType": "application/geo+json"},
        {"value": SQUARE},
        {"bbox": [19, 49, 20, 50]},
        {"bbox": [19, 49, 20, 50], "crs": CRS84},
        {"bbox": [49, 19, 50, 20], "crs": EPSG_4326},
    ],
)
def test_the_same_square_is_read_in_every_form(value: object) -> None:
    area = read_area(value)
    assert shapely.equals(area.geometry, shapely.box(19, 49, 20, 50))
    assert not shapely.has_z(area.geometry)


def test_holes_are_kept() -> None:
    area = read_area("POLYGON ((19 49, 20 49, 20 50, 19 50, 19 49), (19.4 49.4, 19.6 49.4, 19.6 49.6, 19.4 49.4))")
    assert area.km2 == pytest.approx(
        read_area(SQUARE).km2 - read_area("POLYGON ((19.4 49.4, 19.6 49.4, 19.6 49.6, 19.4 49.4))").km2
    )


def test_a_bbox_may_cross_the_antimeridian() -> None:
    assert read_area({"bbox": [179, 0, -179, 1]}).km2 == pytest.approx(2 * read_area({"bbox": [0, 0, 1, 1]}).km2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "no WKT of a polygon"),
        ("POINT (19 49)", "POINT"),
        ("GEOMETRYCOLLECTION (POLYGON ((0 0, 1 0, 1 1, 0 0)))", "POLYGON or MULTIPOLYGON"),
        ("POLYGON EMPTY", "empty"),
        ("MULTIPOLYGON EMPTY", "empty"),
        ("POLYGON ((19 49, 20 49, 20 50))", "closed"),
        ("POLYGON ((19 49, 20 49, 20 50, 19 49)) and more", "readable"),
        ("POLYGON ((19 49, 20 50, 20 49, 19 50, 19 49))", "crosses itself at 19.5 49.5"),
        ("SRID=3035;POLYGON ((5e6 3e6, 5.1e6 3.1e6, 5.1e6 3e6, 5e6 3.1e6, 5e6 3e6))", "crosses itself at 20"),
        ("SRID=3857;MULTIPOLYGON (((0 0, 9 9, 9 0, 0 9, 0 0)), ((99 0, 100 0, 100 1, 99 0)))", "crosses itself at 4"),
        ("SRID=3035;POLYGON ((5e6 3e6, 5e6 3e6, 5e6 3e6, 5e6 3e6))", "too few points"),
        ("POLYGON ((19 49, 20 49, 19 49, 19 49))", "not valid"),
        ("POLYGON ((19 49, nan 49, 20 50, 19 49))", "finite"),
        ("POLYGON ((19 49, inf 49, 20 50, 19 49))", "finite"),
        ("POLYGON ((190 49, 191 49, 191 50, 190 49))", "190 49"),
        ("POLYGON ((5000000 3000000, 5000010 3000000, 5000010 3000010, 5000000 3000000))", "5000000 3000000"),
        ("POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (20 20, 21 20, 21 21, 20 20))", "hole lies outside shell"),
        pytest.param("POLYGON ((\ud800", "readable", id="half a character"),
        pytest.param("POLYGON ((19 49\0", "readable", id="a null character"),
        pytest.param(SQUARE + "\0 and more", "no WKT", id="more after a null character"),
        ({"type": "Point", "coordinates": [19, 49]}, "Point"),
        ({"type": "Polygon", "coordinates": [[[19, 49], [20, 49], [20, 50]]]}, "four positions"),
        ({"type": "Polygon", "coordinates": [[*RING[:-1], [19.1, 49]]]}, "ends where it begins"),
        ({"type": "Polygon", "coordinates": [[["19", "49"], *RING[1:]]]}, "'19'"),
        ({"type": "Polygon", "coordinates": [[[True, 49], *RING[1:]]]}, "True"),
        pytest.param({"type": "Polygon", "coordinates": [[[10**400, 49], *RING[1:]]]}, "readable", id="no float"),
        ({"type": "MultiPolygon", "coordinates": []}, "empty"),
        ({"value": {"value": {"value": POLYGON}}}, "readable"),
        ({"bbox": [19, 49, 20]}, "four numbers"),
        ({"bbox": [19, 50, 20, 49]}, "inside"),
        ({"bbox": [19, math.nan, 20, 49]}, "inside"),
        ({"bbox": [19, 49, 20, 50], "crs": "http://www.opengis.net/def/crs/EPSG/0/5773"}, "no system of places"),
        ([19, 49, 20, 50], "neither text nor an object"),
        (None, "None"),
        pytest.param(10**5000, "neither text", id="a number that Python does not write"),
    ],
)
def test_an_invalid_area_is_refused_with_what_is_allowed(value: object, expected: str) -> None:
    with pytest.raises(InvalidArea) as refused:
        read_area(value)
    assert expected in str(refused.value)
    assert "Allowed" in str(refused.value) or "finite" in str(refused.value)
    assert len(str(refused.value)) < 500


def test_an_area_larger_than_an_order_is_refused() -> None:
    with pytest.raises(AreaTooLarge, match=r"510,065,622 km2.*5,000,000 km2"):
        read_area({"bbox": [-180, -90, 180, 90]})
    with pytest.raises(AreaTooLarge):
        read_area({"bbox": [0, 40, 32, 60]})
    assert read_area({"bbox": [0, 42, 28, 60]}).km2 < 5_000_000


def test_areas_on_the_ellipsoid_match_an_independent_library(parks: dict[str, Area]) -> None:
    geod = Geod(ellps="GRS80")
    for area in [
        *parks.values(),
        read_area({"bbox": [0, 42, 28, 60]}),
        read_area("POLYGON ((0 40, 20 60, 20 40, 0 40))"),
    ]:
        fine = shapely.segmentize(shapely.orient_polygons(area.geometry), 0.002)
        assert area.km2 == pytest.approx(geod.geometry_area_perimeter(fine)[0] / 1e6, rel=1e-7)


def test_straight_edges_in_longitude_and_latitude_are_projected() -> None:
    projected = read_area({"bbox": [10, 50, 30, 55]}).project(3035)
    x, y = Transformer.from_crs("OGC:CRS84", 3035, always_xy=True).transform(20, 50)
    assert projected.exterior.distance(shapely.Point(x, y)) < 0.05
    assert projected.area / 1e6 == pytest.approx(read_area({"bbox": [10, 50, 30, 55]}).km2, rel=1e-6)


def test_projected_coordinates_have_x_before_y() -> None:
    west, south, _, _ = read_area(SQUARE).project(3035).bounds
    assert 4_900_000 < west < 5_100_000
    assert 2_900_000 < south < 3_100_000


def test_an_area_at_the_antipode_of_the_projection_is_not_turned_inside_out() -> None:
    assert read_area({"bbox": [-172, -54, -168, -50]}).project(3035).is_empty


def test_the_best_operation_is_taken_never_a_ballpark_one() -> None:
    area = read_area({"bbox": [-2, 52, -1, 53]})
    x, y = area.project(27700).exterior.coords[0]
    expected = Transformer.from_crs("EPSG:4326", 27700, always_xy=True, allow_ballpark=False).transform(
        *area.geometry.exterior.coords[0]
    )
    assert (x, y) == pytest.approx(expected, abs=0.01)


def _teeth(count: int) -> list[list[float]]:
    low = [[index * 1e-6, 0.0] for index in range(count)]
    high = [[index * 1e-6 + 0.05, 0.05] for index in range(count)]
    teeth = [position for pair in zip(low, high, strict=True) for position in pair]
    return [*teeth, [count * 1e-6 + 1, -1], [-1, -1], teeth[0]]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"type": "Polygon", "coordinates": [_teeth(25_000)]}, id="all edges over each other"),
        pytest.param({"type": "Polygon", "coordinates": [RING * MAX_VERTICES]}, id="a million vertices"),
        pytest.param({"type": "MultiPolygon", "coordinates": [[RING]] * MAX_VERTICES}, id="many parts"),
        pytest.param("POLYGON ((" + "0 0," * 2_500_000 + "0 0))", id="10 MB of text"),
        pytest.param("POLYGON (" * 1_000_000, id="deep text"),
        pytest.param("GEOMETRYCOLLECTION (" * 500_000, id="nested collections, which end GEOS's stack"),
        pytest.param(
            {"type": "Polygon", "coordinates": [[[0, 0], *[[150 * (n % 2), n / 1e4] for n in range(9_999)], [0, 0]]]},
            id="an outline round the world many times",
        ),
    ],
)
def test_hostile_outlines_are_refused_within_seconds(value: object) -> None:
    begin = time.thread_time()
    with pytest.raises(InvalidArea):
        read_area(value)
    assert time.thread_time() - begin < 3


def test_a_real_outline_with_many_vertices_is_read() -> None:
    angle = np.linspace(0, 2 * np.pi, 150_000, endpoint=False)
    radius = 2 + 0.05 * np.sin(200 * angle)
    ring = np.column_stack([15 + radius * np.cos(angle), 50 + radius * np.sin(angle)])
    assert (
        read_area(mapping(shapely.polygons(ring)) | {"coordinates": [[*ring.tolist(), ring[0].tolist()]]}).km2 > 10_000
    )


def test_any_json_is_an_area_or_refused() -> None:
    chance = random.Random(20260714)  # noqa: S311 -- to be repeatable, not secret
    texts = [SQUARE, json.dumps(POLYGON), '{"bbox": [19, 49, 20, 50]}']
    for _ in range(3000):
        text = list(chance.choice(texts))
        for _ in range(chance.randint(1, 6)):
            text[chance.randrange(len(text))] = chance.choice('0123456789.-eE,()[]{}":naNiftyPOLGM \0é')
        for value in _readings("".join(text)):
            try:
                read_area(value)
            except (InvalidArea, AreaTooLarge) as refused:
                assert len(str(refused)) < 600  # noqa: PT017 -- either outcome is right


def _readings(text: str) -> list[Any]:
    try:
        return [text, json.loads(text), {"value": json.loads(text)}]
    except ValueError:
        return [text]


@pytest.mark.parametrize("height", [0.5, 0.999, 1.001, 3, 80])
def test_the_area_below_an_edge_is_that_below_its_pieces(height: float) -> None:
    """Low edges are integrated with fewer nodes than high ones."""
    triangle = shapely.Polygon([(19, 5), (60, 5 + height), (61, 5)])
    assert Area(triangle).km2 == pytest.approx(Area(shapely.segmentize(triangle, 0.05)).km2, rel=1e-12)


@pytest.mark.parametrize("place", ["first", "middle", "last", "every"])
def test_repeated_points_count_once(place: str) -> None:
    corners = [[19.5, 49.57], [19.56, 49.57], [19.56, 49.6], [19.5, 49.6], [19.5, 49.57]]
    repeated = {"first": (0,), "middle": (2,), "last": (4,), "every": range(5)}[place]
    ring = [corner for i, corner in enumerate(corners) for _ in range(50_000 // len(repeated) if i in repeated else 1)]
    area = read_area({"type": "Polygon", "coordinates": [ring]})
    assert round(area.km2, 6) == 14.476512
    assert area.repaired == ""


@pytest.mark.parametrize(("of_ogc", "of_epsg"), [("CRS27", 4267), ("CRS83", 4269)])
def test_ogc_crs27_and_crs83_are_epsg_with_longitude_first(of_ogc: str, of_epsg: int) -> None:
    begin = time.process_time()
    area = measure_area({"bbox": [-75.1, 40.0, -75.0, 40.1], "crs": f"http://www.opengis.net/def/crs/OGC/1.3/{of_ogc}"})
    assert time.process_time() - begin < 1.5  # PROJ took more than two seconds for each
    same = measure_area({"bbox": [40.0, -75.1, 40.1, -75.0], "crs": f"EPSG:{of_epsg}"})
    assert shapely.equals_exact(area.geometry, same.geometry, 1e-12, normalize=True)
    square = {"type": "Polygon", "coordinates": [[[-75.1, 40], [-75, 40], [-75, 40.1], [-75.1, 40.1], [-75.1, 40]]]}
    named = {**square, "crs": {"type": "name", "properties": {"name": f"OGC:{of_ogc}"}}}
    assert shapely.equals_exact(measure_area(named).geometry, area.geometry, 1e-12, normalize=True)


def test_reading_and_measuring_many_vertices_is_fast() -> None:
    """The limit excludes a slow search for overlaps of the outline, which takes 1.8 s."""
    angle = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    text = shapely.to_wkt(shapely.Polygon(np.column_stack([20 + np.cos(angle), 50 + np.sin(angle)])))
    spent = []
    for blanks in range(3):
        begin = time.thread_time()
        read_area(" " * blanks + text)
        spent.append(time.thread_time() - begin)
    assert min(spent) < 1


@pytest.mark.parametrize("seed", range(3))
def test_an_outline_at_the_limit_has_the_same_result_each_time(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Overlaps are estimated from the same sample of edges each time."""
    chance = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 1_500, endpoint=False)
    radius = chance.uniform(0.2, 1, len(angle))
    points = np.column_stack([20 + radius * np.cos(angle), 50 + radius * np.sin(angle)])
    points = np.vstack([points, points[:1]])
    low, high = np.minimum(points[1:], points[:-1]), np.maximum(points[1:], points[:-1])
    overlaps = int(np.count_nonzero(((low[:, None] <= high) & (high[:, None] >= low)).all(axis=2)))
    monkeypatch.setattr("products.area._MAX_OVERLAPS", overlaps)
    text = shapely.to_wkt(shapely.Polygon(points), rounding_precision=-1)
    ways = [" " * blanks + text for blanks in range(12)], [mapping(shapely.from_wkt(text)) for _ in range(12)]
    assert len({_is_tangled(json.loads(json.dumps(value))) for values in ways for value in values}) == 1


def _is_tangled(value: object) -> bool:
    try:
        read_area(value)
    except InvalidArea as error:
        return "too tangled" in str(error)
    return False
