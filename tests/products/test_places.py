from pathlib import Path
from typing import Literal
from unicodedata import normalize

import numpy as np
import pytest
import shapely
from pyproj import CRS, Transformer

from products.catalogue import Catalogue, FeatureSource, catalogue_of, read_configuration
from products.errors import RequestTooLarge, UnknownPlace
from products.limits import MAX_PLACES
from products.nations import find_nation
from products.places import places_of
from products.vector.geopackage import write_geopackage
from products.vector.layer import Column, Layer
from tests.odd.geopackages import LAEA, blob, by_hand

_EVERYWHERE = {"bbox": [-30, 30, 40, 70]}


@pytest.fixture
def catalogue(sample: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(sample))
    return catalogue_of(read_configuration(Path("pygeoapi-config.yml")))


def _catalogue(path: Path, epsg: int, *outlines: shapely.Geometry) -> Catalogue:
    """Return a catalogue with a collection `x` of these outlines."""
    kind = "GEOMETRY"
    with write_geopackage(path, Layer("x", epsg, (Column("name", "TEXT"),), geometry_type=kind)) as writer:
        rows = [[f"no {number}"] for number in range(len(outlines))]
        writer.add(range(1, len(outlines) + 1), np.array(outlines, dtype=object), rows)
    return Catalogue((), (FeatureSource("x", path),))


def test_the_configured_feature_collections_are_found(catalogue: Catalogue) -> None:
    assert [source.collection for source in catalogue.features] == ["clcplus-vector", "parks", "nations"]
    assert [source.id_field for source in catalogue.features] == [None, None, "id"]
    assert catalogue.features[2].path.is_absolute()


def test_features_that_meet_a_box_are_returned_whole(catalogue: Catalogue) -> None:
    places = places_of({"collection": "parks", "bbox": _EVERYWHERE}, catalogue)
    assert len(places) == 9
    park = next(place for place in places if place.name == "Ojcowski National Park")
    west, south, east, north = park.area.geometry.bounds
    corner = {"bbox": [west - 0.1, south - 0.1, (west + east) / 2, (south + north) / 2]}
    (cut,) = places_of({"collection": "parks", "bbox": corner}, catalogue)
    assert (cut.id, cut.name, cut.area) == ("859", park.name, park.area)
    (named,) = places_of({"park": "OJCOWSKI national park"}, catalogue)
    assert named == cut
    ids = [place.id for place in places_of({"collection": "nations", "bbox": {"bbox": [7, 47, 10, 48]}}, catalogue)]
    assert {"CH_2056", "DE_32632"} <= set(ids)


def test_an_outline_in_other_coordinates_has_its_area_on_the_ellipsoid(tmp_path: Path) -> None:
    """EPSG:3035 is equal area: a square of 100 km has 10,000 km2, also far from its centre."""
    square = shapely.box(5_000_000, 2_000_000, 5_100_000, 2_100_000)
    (place,) = places_of({"collection": "x", "bbox": _EVERYWHERE}, _catalogue(tmp_path / "x.gpkg", 3035, square))
    assert place.area.km2 == pytest.approx(10_000, rel=1e-6)


def test_shapes_without_an_inside_are_left_out_and_crossings_repaired(tmp_path: Path) -> None:
    knot = shapely.Polygon([(0, 50), (1, 51), (1, 50), (0, 51)])
    point, line = shapely.Point(0.5, 50.1), shapely.LineString([(0, 50), (1, 51)])
    catalogue = _catalogue(tmp_path / "x.gpkg", 4326, knot, point, line)
    (place,) = places_of({"collection": "x", "bbox": _EVERYWHERE}, catalogue)
    assert (place.name, place.area.geometry.is_valid) == ("no 0", True)
    assert place.area.km2 > 1000
    for epsg in (3035, 4326):
        points = _catalogue(tmp_path / f"{epsg}.gpkg", epsg, point, line)
    with pytest.raises(UnknownPlace, match="no polygon of x meets the bbox"):
        places_of({"collection": "x", "bbox": _EVERYWHERE}, points)
    with pytest.raises(UnknownPlace, match="'no 1' has no inside"):
        places_of({"park": "no 1"}, Catalogue((), (FeatureSource("parks", tmp_path / "3035.gpkg"),)))


def test_at_most_a_hundred_features_are_allowed(tmp_path: Path) -> None:
    boxes = [shapely.box(x / 10, 50, x / 10 + 0.05, 50.05) for x in range(MAX_PLACES + 1)]
    catalogue = _catalogue(tmp_path / "x.gpkg", 4326, *boxes)
    assert len(places_of({"collection": "x", "bbox": {"bbox": [0, 50, 9.97, 51]}}, catalogue)) == MAX_PLACES
    with pytest.raises(RequestTooLarge, match="101 features of x meet the bbox; allowed are 100"):
        places_of({"collection": "x", "bbox": _EVERYWHERE}, catalogue)


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_names_match_in_composed_and_decomposed_unicode(
    tmp_path: Path, form: Literal["NFC", "NFD", "NFKC", "NFKD"], stored: Literal["NFC", "NFD"]
) -> None:
    """Names and ids of parks, as macOS and others write them."""
    path, name = tmp_path / "x.gpkg", "Świętokrzyski Ångström é"
    with write_geopackage(path, Layer("x", 4326, (Column("name", "TEXT"),))) as writer:
        box = np.array([shapely.MultiPolygon([shapely.box(20, 50, 20.1, 50.1)])], dtype=object)
        writer.add([1], box, [[normalize(stored, name)]])
    asked = normalize(form, name)
    for id_field in (None, "name"):
        catalogue = Catalogue((), (FeatureSource("parks", path, id_field),))
        (place,) = places_of({"park": asked}, catalogue)
        assert place.area.km2 > 0
        (place,) = places_of({"park": asked.upper()}, catalogue)


def test_nations_are_found_in_any_form() -> None:
    assert find_nation(normalize("NFD", " austria ")) is not None


@pytest.mark.parametrize(
    "wkt", ["POLYGON ({}, EMPTY)", "MULTIPOLYGON (EMPTY, ({}))", "MULTIPOLYGON (({}, EMPTY), EMPTY)"]
)
@pytest.mark.parametrize("epsg", [4326, 3035])
def test_empty_parts_of_a_feature_are_dropped(tmp_path: Path, wkt: str, epsg: int) -> None:
    ring = "(19.5 49.57, 19.56 49.57, 19.56 49.6, 19.5 49.6, 19.5 49.57)"
    if epsg == 3035:
        ring = "(5000000 3000000, 5010000 3000000, 5010000 3010000, 5000000 3010000, 5000000 3000000)"
    catalogue = _catalogue(tmp_path / "x.gpkg", epsg, shapely.from_wkt(wkt.format(ring)))
    (place,) = places_of({"collection": "x", "bbox": _EVERYWHERE}, catalogue)
    assert place.area.km2 == pytest.approx(14.476512 if epsg == 4326 else 100, rel=1e-6)


@pytest.mark.parametrize("epsg", [3035, 32634])
def test_parts_and_holes_of_a_feature_are_measured(tmp_path: Path, epsg: int) -> None:
    """Also a part inside a hole of another part."""
    x, y = (5_000_000, 3_000_000) if epsg == 3035 else (400_000, 5_500_000)
    squares = [shapely.box(x + inset, y + inset, x + 9_000 - inset, y + 9_000 - inset) for inset in (0, 1_000, 3_000)]
    ring = shapely.difference(squares[0], squares[1])
    both = shapely.MultiPolygon([ring, squares[2], shapely.box(x + 20_000, y, x + 21_000, y + 1_000)])
    (place,) = places_of({"collection": "x", "bbox": _EVERYWHERE}, _catalogue(tmp_path / "x.gpkg", epsg, both))
    assert place.area.km2 == pytest.approx(81 - 49 + 9 + 1, rel=1e-6 if epsg == 3035 else 1e-3)


@pytest.mark.parametrize("wkt", ["{}", "MULTIPOLYGON ({}, EMPTY)", "GEOMETRYCOLLECTION (POINT (1 2), {})"])
def test_polygons_in_collections_of_collections_are_measured(tmp_path: Path, wkt: str) -> None:
    square = "(5000000 3000000, 5010000 3000000, 5010000 3010000, 5000000 3010000, 5000000 3000000)"
    inner = wkt.format(f"({square})" if "MULTI" in wkt else f"POLYGON ({square})")
    geometry = shapely.from_wkt(
        f"GEOMETRYCOLLECTION (POINT (1 2), GEOMETRYCOLLECTION ({inner}, LINESTRING (1 2, 3 4)))"
    )
    (place,) = places_of({"collection": "x", "bbox": _EVERYWHERE}, _catalogue(tmp_path / "x.gpkg", 3035, geometry))
    assert place.area.km2 == pytest.approx(100, rel=1e-6)


@pytest.mark.parametrize(("epsg", "far"), [(4326, 91), (4326, 1e300), (3035, 2e9), (3035, -1e308)])
def test_parts_without_coordinates_are_left_out(tmp_path: Path, epsg: int, far: float) -> None:
    here = shapely.box(19, 49, 20, 50) if epsg == 4326 else shapely.box(5e6, 3e6, 5.01e6, 3.01e6)
    x, y = here.exterior.coords[0]
    catalogue = _catalogue(tmp_path / "x.gpkg", epsg, here, shapely.Polygon([(x, y), (x + 1, y), (x, far)]))
    (place,) = places_of({"collection": "x", "bbox": _EVERYWHERE}, catalogue)
    assert place.id == "1"
    with pytest.raises(UnknownPlace, match="no inside"):
        places_of({"park": "no 1"}, Catalogue((), (FeatureSource("parks", tmp_path / "x.gpkg"),)))


@pytest.mark.parametrize(
    ("srs", "km2"),
    [
        ((102_014, "ESRI", 102_014, ""), None),
        ((54_034, "ESRI", 54_034, ""), 10_000),
        ((100_001, "me", 1, CRS.from_user_input(LAEA).to_wkt("WKT1_GDAL")), 10_000),
        ((100_002, "me", 2, CRS.from_epsg(3035).to_wkt("WKT1_GDAL")), 10_000),
        ((104_257, "ESRI", 104_257, ""), None),
    ],
    ids=["conformal conic", "cylindrical equal area", "nobody's code", "EPSG's under another name", "degrees"],
)
def test_features_in_a_system_without_an_epsg_code_are_measured(
    tmp_path: Path, srs: tuple[int, str, int, str], km2: float | None
) -> None:
    crs = CRS.from_user_input(srs[3] or f"ESRI:{srs[0]}")
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(20, 51)
    side = 1 if crs.is_geographic else 100_000
    square = shapely.box(x, y, x + side, y + side)
    path = tmp_path / "x.gpkg"
    by_hand(path, "id INTEGER PRIMARY KEY, name TEXT", [(1, "Ä", blob(square))], srs=srs)
    catalogue = Catalogue((), (FeatureSource("x", path), FeatureSource("parks", path)))
    for where in ({"collection": "x", "bbox": _EVERYWHERE}, {"park": "Ä"}):
        (place,) = places_of(where, catalogue)
        assert place.area.km2 == pytest.approx(km2, rel=1e-6) if km2 else 5_000 < place.area.km2 < 12_000


@pytest.mark.parametrize(
    "srs",
    [(-1, "NONE", -1, "undefined"), (4978, "EPSG", 4978, ""), (77_777, "me", 7, 'LOCAL_CS["x",UNIT["metre",1]]')],
)
def test_features_without_a_known_system_are_refused(tmp_path: Path, srs: tuple[int, str, int, str]) -> None:
    path = tmp_path / "x.gpkg"
    by_hand(path, "id INTEGER PRIMARY KEY, name TEXT", [(1, "Ä", blob(shapely.box(0, 0, 9, 9)))], srs=srs)
    catalogue = Catalogue((), (FeatureSource("x", path), FeatureSource("parks", path)))
    for where in ({"collection": "x", "bbox": _EVERYWHERE}, {"park": "Ä"}):
        with pytest.raises(UnknownPlace, match="cannot be measured: the system of their coordinates is unknown"):
            places_of(where, catalogue)
