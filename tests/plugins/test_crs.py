import pytest

from plugins.crs import CRS84, Box, Crs, crs_of, find_crs

AVAILABLE = (CRS84, crs_of(4326), crs_of(3035), crs_of(3857))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", CRS84),
        ("https://www.opengis.net/def/crs/OGC/1.3/CRS84", CRS84),
        ("http://www.opengis.net/def/crs/OGC/0/CRS84", CRS84),
        ("[OGC:CRS84]", CRS84),
        ("http://www.opengis.net/def/crs/EPSG/0/4326", crs_of(4326)),
        ("http://www.opengis.net/def/crs/EPSG/0/3035", crs_of(3035)),
        ("urn:ogc:def:crs:EPSG::3035", crs_of(3035)),
        ("[EPSG:3857]", crs_of(3857)),
        ("EPSG:3857", crs_of(3857)),
        ("http://www.opengis.net/def/crs/EPSG/0/2180", None),
        ("http://evil.example/def/crs/EPSG/0/3035", None),
        ("EPSG:", None),
        ("3035", None),
        ("", None),
    ],
)
def test_systems_are_found_by_their_names(name: str, expected: Crs | None) -> None:
    assert find_crs(name, AVAILABLE) == expected


def test_an_unsupported_system_is_not_found() -> None:
    assert find_crs("OGC:CRS84", AVAILABLE[1:]) is None


@pytest.mark.parametrize(
    ("epsg", "northing_first"),
    [
        *((4326, True), (3035, True), (31467, True), (3857, False), (25832, False)),
        *((3031, False), (6932, False), (32761, True), (3413, False), (32661, True)),  # both axes: north, or south
    ],
)
def test_the_order_of_axes_is_that_of_the_definition(epsg: int, northing_first: bool) -> None:  # noqa: FBT001
    assert crs_of(epsg).northing_first is northing_first


def test_an_invalid_code_is_refused() -> None:
    with pytest.raises(ValueError, match="999999"):
        crs_of(999_999)


def test_a_box_in_another_system_includes_its_curved_edges() -> None:
    """The northern edge of a box in degrees bulges beyond its corners in EPSG:3035."""
    box = Box((-10.0, 50.0, 30.0, 60.0), CRS84)
    corners = [Box((x, y, x, y), CRS84).to(crs_of(3035)).bbox[1] for x in (-10.0, 30.0) for y in (50.0, 60.0)]
    assert box.to(crs_of(3035)).bbox[1] < min(corners) - 10_000


def test_boxes_are_cut_at_the_limits_of_a_system() -> None:
    one, other = Box((0, 0, 10, 10), CRS84), Box((5, -5, 20, 5), CRS84)
    assert one.cut(other) == Box((5, 0, 10, 5), CRS84)
    assert one.cut(Box((10, 0, 20, 10), CRS84)) is None


def test_a_box_without_coordinates_in_a_system_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        Box((0, 100, 10, 110), CRS84).to(crs_of(3857))
