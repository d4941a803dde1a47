"""Areas as people paste them: other CRSs, collections, EWKT, empty parts."""

from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import Transformer
from shapely.geometry import mapping

from products.area import measure_area, read_area
from products.errors import InvalidArea
from products.outline import densified
from products.vector.blob import without_empty

W = "(19.5 49.57, 19.56 49.57, 19.56 49.6, 19.5 49.6, 19.5 49.57)"
RING = [[19.5, 49.57], [19.56, 49.57], [19.56, 49.6], [19.5, 49.6], [19.5, 49.57]]
POLYGON: dict[str, Any] = {"type": "Polygon", "coordinates": [RING]}
FEATURE: dict[str, Any] = {"type": "Feature", "properties": {}, "geometry": POLYGON}
KM2 = 14.476512


def _named(name: object) -> dict[str, object]:
    return {"type": "name", "properties": {"name": name}}


def _collection(*features: object, **more: object) -> dict[str, object]:
    return {"type": "FeatureCollection", "features": list(features), **more}


@pytest.mark.parametrize(
    "value",
    [
        f"POLYGON ({W}, EMPTY)",
        f"POLYGON ({W}, EMPTY, EMPTY)",
        f"MULTIPOLYGON (EMPTY, ({W}))",
        f"MULTIPOLYGON (({W}), EMPTY)",
        f"MULTIPOLYGON (EMPTY, ({W}), EMPTY)",
        f"MULTIPOLYGON (({W}, EMPTY))",
        f"MULTIPOLYGON Z (EMPTY, ({W.replace(',', ' 7,').replace(')', ' 7)')}, EMPTY))",
        {"type": "Polygon", "coordinates": [RING, []]},
        {"type": "MultiPolygon", "coordinates": [[], [RING], [[]]]},
        {"type": "MultiPolygon", "coordinates": [[RING, [], []]]},
        _collection(FEATURE, FEATURE | {"geometry": {"type": "Polygon", "coordinates": []}}),
    ],
)
def test_empty_parts_and_rings_are_dropped(value: object) -> None:
    area = read_area(value)
    assert area.km2 == pytest.approx(KM2, abs=1e-6)
    assert shapely.equals(area.geometry, shapely.from_wkt(f"POLYGON ({W})"))
    assert area.project(3035).area / 1e6 == pytest.approx(KM2, abs=1e-5)
    assert area.repaired == ""


@pytest.mark.parametrize(
    "value", ["POLYGON (EMPTY)", "MULTIPOLYGON (EMPTY, (EMPTY))", {"type": "Polygon", "coordinates": [[]]}]
)
def test_an_entirely_empty_geometry_is_refused(value: object) -> None:
    with pytest.raises(InvalidArea, match="empty"):
        read_area(value)


def test_geometries_of_a_file_lose_their_empty_parts_too() -> None:
    texts = [
        f"GEOMETRYCOLLECTION (POLYGON ({W}, EMPTY), POINT (1 2), GEOMETRYCOLLECTION (MULTIPOLYGON (EMPTY, ({W}))))",
        f"MULTIPOLYGON (EMPTY, ({W}, EMPTY))",
        f"POLYGON ({W}, EMPTY)",
        "POLYGON EMPTY",
        "GEOMETRYCOLLECTION (POLYGON EMPTY, POINT (20 49))",
        "GEOMETRYCOLLECTION (GEOMETRYCOLLECTION (POLYGON EMPTY), LINESTRING EMPTY, POINT (20 49))",
        "MULTILINESTRING (EMPTY, (0 0, 1 1))",
        "MULTIPOINT (EMPTY, (0 0))",
        "LINESTRING (0 0, 1 1)",
    ]
    found = without_empty(np.array([*map(shapely.from_wkt, texts), None], dtype=object))
    assert [None if each is None else each.wkt.count("EMPTY") for each in found] == [0, 0, 0, 1, 0, 0, 0, 0, 0, None]
    assert shapely.area(found[:3]).tolist() == pytest.approx([0.0036, 0.0018, 0.0018])
    assert [each.geom_type for each in found[:3]] == ["GeometryCollection", "MultiPolygon", "Polygon"]
    assert not shapely.is_empty(shapely.segmentize(found[:3], 0.01)).any()


@pytest.mark.parametrize(
    "value",
    [
        f"SRID=4326;POLYGON({W})",
        f"srid=4326 ; POLYGON ({W}) ; ",
        f"POLYGON ({W});",
        *[
            f"POLYGON{gap}{tag} ({W.replace(',', more + ',').replace(')', more + ')')})"
            for gap in ("", " ")
            for tag, more in (("Z", " 7"), ("M", " 7"), ("ZM", " 7 8"))
        ],
        f"MULTIPOLYGONZ(({W.replace(',', ' 7,').replace(')', ' 7)')}))",
        f"POLYGON ({W.replace(',', ' 7 8,').replace(')', ' 7 8)')})",
        FEATURE,
        FEATURE | {"bbox": [0, 0, 1, 1]},
        POLYGON | {"bbox": [0, 0, 1, 1]},
        {"type": "Polygon", "coordinates": [[[*position, 7, 8] for position in RING]]},
        _collection(FEATURE),
        _collection(FEATURE, {"type": "Feature", "properties": None, "geometry": None}, bbox=[0, 0, 1, 1]),
        _collection(FEATURE, FEATURE),
        {"value": _collection(FEATURE)},
        POLYGON | {"crs": _named("urn:ogc:def:crs:OGC:1.3:CRS84")},
        POLYGON | {"crs": _named("EPSG:4326")},
        FEATURE | {"crs": _named("urn:ogc:def:crs:EPSG::4326")},
        FEATURE | {"geometry": POLYGON | {"crs": _named("OGC:CRS84")}},
        _collection(FEATURE, crs=_named("http://www.opengis.net/def/crs/OGC/1.3/CRS84")),
        {"bbox": [19.5, 49.57, 19.56, 49.6], "crs": "[OGC:CRS84]"},
        {"bbox": [49.57, 19.5, 49.6, 19.56], "crs": "urn:ogc:def:crs:EPSG:6.6:4326"},
        {"bbox": [49.57, 19.5, 49.6, 19.56], "crs": "EPSG:4326"},
    ],
)
def test_the_same_square_is_read_in_every_notation(value: object) -> None:
    area = read_area(value)
    assert shapely.equals(area.geometry, shapely.from_wkt(f"POLYGON ({W})"))
    assert area.repaired == ""


def test_the_polygons_of_a_collection_are_one_area() -> None:
    boxes = [shapely.box(19, 49, 20, 50), shapely.box(19.5, 49, 21, 50), shapely.box(25, 49, 26, 50)]
    features = [FEATURE | {"geometry": mapping(box)} for box in boxes]
    features = [
        FEATURE | {"geometry": {"type": "Polygon", "coordinates": [list(map(list, box.exterior.coords))]}}
        for box in boxes
    ]
    area = read_area(_collection(*features))
    assert shapely.equals(area.geometry, shapely.union_all(boxes))
    assert area.repaired == ""


@pytest.mark.parametrize(
    "name",
    [
        "EPSG:3035",
        "epsg:3035",
        "urn:ogc:def:crs:EPSG::3035",
        "urn:ogc:def:crs:EPSG:9.8.5:3035",
        "urn:x-ogc:def:crs:EPSG:3035:3035",
        "http://www.opengis.net/def/crs/EPSG/0/3035",
        "https://www.opengis.net/def/crs/EPSG/9.9/3035",
        "[EPSG:3035]",
    ],
)
def test_a_system_is_honoured_x_before_y(name: str) -> None:
    square = shapely.box(5_000_000, 3_000_000, 5_010_000, 3_010_000)
    coordinates = [[list(position) for position in square.exterior.coords]]
    for value in (
        {"type": "Polygon", "coordinates": coordinates, "crs": _named(name)},
        _collection(FEATURE | {"geometry": {"type": "Polygon", "coordinates": coordinates}}, crs=_named(name)),
        {"bbox": [3_000_000, 5_000_000, 3_010_000, 5_010_000], "crs": name},
    ):
        area = read_area(value)
        assert area.km2 == pytest.approx(100, rel=1e-6), "an equal-area system"
        expected = Transformer.from_crs(3035, 4326, always_xy=True).transform(5_005_000, 3_005_000)
        assert area.geometry.centroid.distance(shapely.Point(expected)) < 1e-4
        back = area.project(3035)
        assert shapely.hausdorff_distance(back, square) < 0.1


@pytest.mark.parametrize(
    ("code", "point"),
    [
        (4179, (23.8, 52.7)),
        (4230, (15, 48)),
        (2180, (500_000, 500_000)),
        (5514, (-600_000, -1_100_000)),
        (27700, (400_000, 300_000)),
        (3857, (2_000_000, 6_000_000)),
        (4807, (5, 52)),
        (2263, (1_000_000, 200_000)),
        (4979, (23.8, 52.7)),
        (7423, (23.8, 52.7)),
    ],
)
def test_the_best_operation_of_each_system_is_taken_never_a_ballpark_one(code: int, point: tuple[float, float]) -> None:
    """Pulkovo 1942(58), ED50, Poland's, Czechia's, Britain's, Web Mercator, grads from Paris, feet, 3D, compound."""
    x, y = point
    side = 0.01 if abs(x) < 1000 else 1000.0
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y]]
    area = read_area({"type": "Polygon", "coordinates": [ring], "crs": _named(f"EPSG:{code}")})
    expected = Transformer.from_crs(code, "OGC:CRS84", always_xy=True, allow_ballpark=False).transform(x, y)[:2]
    assert shapely.Point(expected).distance(shapely.MultiPoint(shapely.get_coordinates(area.geometry))) < 1e-9
    rings = ", ".join(f"{east} {north}" for east, north in ring)
    assert shapely.equals(read_area(f"SRID={code};POLYGON (({rings}))").geometry, area.geometry)


def test_a_place_on_another_datum_is_transformed_accurately() -> None:
    metres = Transformer.from_crs("OGC:CRS84", 3035, always_xy=True)
    there, here = (
        metres.transform(*read_area(value).geometry.exterior.coords[0])
        for value in (POLYGON | {"crs": _named("EPSG:4179")}, POLYGON)
    )
    assert 100 < np.hypot(there[0] - here[0], there[1] - here[1]) < 150


def test_codes_of_esri_are_used_if_epsg_has_none() -> None:
    ring = "(4000000 3000000, 4010000 3000000, 4010000 3010000, 4000000 3000000)"
    esri = {
        "type": "Polygon",
        "coordinates": [[[4e6, 3e6], [4.01e6, 3e6], [4.01e6, 3.01e6], [4e6, 3e6]]],
        "crs": _named("ESRI:102014"),
    }
    assert shapely.equals(read_area(f"SRID=102014;POLYGON ({ring})").geometry, read_area(esri).geometry)


@pytest.mark.parametrize(
    "crs",
    [
        None,
        7,
        {},
        [],
        "",
        _named(None),
        _named(""),
        _named("WGS 84"),
        _named("+proj=longlat +datum=WGS84"),
        _named("+init=epsg:4326"),
        _named("init=epsg:4326"),
        _named('GEOGCS["WGS 84"]'),
        _named("/etc/passwd"),
        _named("file:///etc/passwd"),
        _named("@grid"),
        _named("PROJ:EPSG:4326"),
        _named("PROJ:CUSTOM"),
        _named("EPSG:4326+5773"),
        _named("EPSG:0"),
        _named("EPSG:99999999"),
        _named("EPSG:" + "9" * 1000),
        _named("EPSG:4978"),
        _named("EPSG:5773"),
        _named("EPSG:5800"),
        _named("IAU_2015:30100"),
        _named("NOBODY:1"),
        _named("http://example.com/def/crs/EPSG/0/4326"),
        _named("http://www.opengis.net/def/crs/EPSG/0/../4326"),
        _named("http://www.opengis.net/def/crs-compound?1=http://www.opengis.net/def/crs/EPSG/0/3035"),
        {"type": "link", "properties": {"href": "http://example.com/crs/42", "type": "proj4"}},
        {"type": "name"},
        {"type": "EPSG", "properties": {"code": 4326}},
    ],
)
def test_other_systems_are_refused_with_what_is_allowed(crs: object) -> None:
    for value in (
        POLYGON | {"crs": crs},
        FEATURE | {"crs": crs},
        _collection(FEATURE, crs=crs),
        {"bbox": [1, 2, 3, 4], "crs": crs},
    ):
        with pytest.raises(InvalidArea) as refused:
            read_area(value)
        assert "EPSG:3035" in str(refused.value) or "longitude and latitude" in str(refused.value)
        assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("SRID=0;POLYGON " + f"({W})", "ESRI:0 is not known"),
        ("SRID=3035;" + f"POLYGON ({W});;", "readable"),
        ("SRID=4326;SRID=4326;" + f"POLYGON ({W})", "no WKT"),
        ("SRID=-1;" + f"POLYGON ({W})", "no WKT"),
        (f"POLYGONZZ ({W})", "no WKT"),
        (_collection(), "empty"),
        (_collection(FEATURE, 7), "no GeoJSON Feature"),
        (_collection(POLYGON), "no GeoJSON Feature"),
        (_collection(FEATURE, FEATURE | {"geometry": {"type": "Point", "coordinates": [1, 2]}}), "Point"),
        (_collection(FEATURE | {"crs": _named("EPSG:3035")}, FEATURE | {"crs": _named("EPSG:4326")}), "two systems"),
        (FEATURE | {"geometry": FEATURE}, "without a geometry"),
        (FEATURE | {"geometry": None}, "without a geometry"),
        ({"type": "FeatureCollection"}, "array of features"),
        ({"type": "GeometryCollection", "geometries": [POLYGON]}, "no GeoJSON Polygon"),
        ({"type": "Polygon", "coordinates": [[], RING]}, "outer ring before its holes"),
        (
            POLYGON | {"crs": _named("EPSG:27700"), "coordinates": [[[1e30, 0], [2e30, 0], [2e30, 1], [1e30, 0]]]},
            "can be used",
        ),
        (
            POLYGON | {"crs": _named("EPSG:4179"), "coordinates": [[[1e30, 0], [2e30, 0], [2e30, 1], [1e30, 0]]]},
            "Allowed",
        ),
    ],
)
def test_an_unreadable_area_is_refused(value: object, expected: str) -> None:
    with pytest.raises(InvalidArea) as refused:
        measure_area(value)
    assert expected in str(refused.value)
    assert len(str(refused.value)) < 600


def test_densifying_only_adds_points() -> None:
    """An invalid outline stays invalid, also a ring that is a point."""
    bow_tie = shapely.Polygon([(0, 0), (3, 3), (3, 0), (0, 3)])
    holed = shapely.box(0, 0, 3, 3).difference(shapely.box(1, 1, 2, 2))
    point = shapely.Polygon([(1, 1), (1, 1), (1, 1), (1, 1)])
    given = np.array([holed, bow_tie, point, shapely.box(0, 0, 1e-9, 1e-9)], dtype=object)
    dense = densified(given, 1)
    assert shapely.get_num_coordinates(dense).tolist() == [12 + 1 + 4 + 1, 3 + 3 + 5 + 5 + 1, 4, 5]
    assert shapely.normalize(shapely.simplify(dense[:1], 0)).tolist() == shapely.normalize(given[:1]).tolist()
    assert shapely.is_valid(dense).tolist() == [True, False, False, True]
    assert shapely.length(dense).tolist() == pytest.approx(shapely.length(given).tolist())
    assert not len(densified(given[:0], 1))
