"""Our providers give the same answers in vanilla pygeoapi as in our routes."""

import copy
import io
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from starlette.testclient import TestClient

from products.catalogue import read_configuration
from server.app import create_app
from server.settings import CONCERNS, Settings
from tests.odd.geopackages import by_gdal
from tests.odd.rasters import classes, gdal_cog
from tests.plugins.vanilla import ROOT, serve_vanilla

pytestmark = pytest.mark.long

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
SYSTEMS = [CRS84, *(f"{EPSG}{code}" for code in (4326, 3857, 3035, 2180))]
GEOTIFF = {"name": "GTiff", "mimetype": "image/tiff; application=geotiff"}
PNG = {"name": "png", "mimetype": "image/png"}
WHOLE = {"bbox": [-180, -90, 180, 90], "crs": CRS84}


ESTIMATED = -2
"""For a number that is not counted, as that takes long."""


class Both(NamedTuple):
    """A client of each server, on the same data."""

    ours: TestClient
    vanilla: httpx2.Client

    def ask(self, path: str, **parameters: str) -> tuple[httpx2.Response, httpx2.Response]:
        found = self.ours.get(path, params=parameters), self.vanilla.get(path, params=parameters)
        return found[0], found[1]


def stations() -> list[dict[str, Any]]:
    """Return 45 features with columns, ids and times that differ from the sample's."""
    found = []
    for n in range(45):
        x, y = 18 + n / 10, 50 + (n * 7 % 11) / 10
        shapes: list[dict[str, Any] | None] = [
            {"type": "Point", "coordinates": [x, y]},
            {"type": "LineString", "coordinates": [[x, y], [x + 0.2, y + 0.1]]},
            {"type": "Polygon", "coordinates": [[[x, y], [x + 0.3, y], [x, y + 0.3], [x, y]]]},
            None,
        ]
        properties = {
            "code": f"S/{n:02d}",
            "name": ["Łódź", "Kraków <b>", "Nowy Sącz", "O'Hara"][n % 4],
            "count": n * 1_000_000_007,
            "share": n / 7 if n % 5 else None,
            "open": n % 2 == 0,
            "seen": f"{2019 + n % 6}-0{1 + n % 9}-1{n % 10}",
        }
        found.append({"type": "Feature", "properties": properties, "geometry": shapes[n % 9 % 4]})
    return found


@pytest.fixture(scope="module")
def both(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("vanilla")
    by_gdal(folder / "stations.gpkg", stations(), "-t_srs", "EPSG:2180")
    gdal_cog(folder / "degrees.tif", classes(773, 1030), 4326)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANDCAST_STATE_DIR", str(sample))
        configuration = read_configuration(ROOT / "pygeoapi-config.yml")
    model = configuration["resources"]["parks"]
    given = {"type": "feature", "name": "plugins.geopackage.GeoPackageProvider", "data": str(folder / "stations.gpkg")}
    provider = {**given, "id_field": "code", "time_field": "seen"}
    configuration["resources"]["stations"] = {**model, "extents": {"spatial": WHOLE}, "providers": [provider]}
    model = configuration["resources"]["clcplus-raster"]
    given = {"type": "coverage", "name": "plugins.cog.CogProvider", "data": str(folder / "degrees.tif")}
    configuration["resources"]["degrees"] = {**model, "extents": {"spatial": WHOLE}, "providers": [given]}
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    chosen: dict[str, Any] = {
        "server": {"url": "https://maps.example.org"}, "state": {"dir": folder / "state"}, "auth": {"open": True},
    }  # fmt: skip
    values: Any = {name: kind(**chosen.get(name, {})) for name, kind in kinds.items()}
    with (
        TestClient(create_app(copy.deepcopy(configuration), Settings(**values))) as ours,
        serve_vanilla(folder, for_vanilla(configuration)) as vanilla,
    ):
        yield Both(ours, vanilla)


def for_vanilla(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same collections with the additional keys of vanilla pygeoapi: lists of systems, formats, maps."""
    resources = {}
    for name, entry in configuration["resources"].items():
        if entry["type"] != "collection":
            continue
        [provider] = entry["providers"]
        if provider["type"] == "coverage":
            drawn = {**provider, "type": "map", "name": "plugins.cog_map.CogMapProvider", "format": PNG}
            for other, chosen in ((name, GEOTIFF), (f"{name}-png", PNG)):
                resources[other] = {**entry, "providers": [{**provider, "format": chosen}, drawn]}
        else:
            resources[name] = {**entry, "providers": [{**provider, "crs": SYSTEMS}]}
    server = {name: value for name, value in configuration["server"].items() if name != "manager"}
    return {"server": server, "metadata": configuration["metadata"], "resources": resources}


def features_of(answer: httpx2.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    document = answer.json()
    return list(document["features"]) if document["type"] == "FeatureCollection" else [document]


def assert_same(ours: Mapping[str, Any], vanilla: Mapping[str, Any]) -> None:
    """Vanilla writes `&lt;` for `<` everywhere."""
    properties = json.loads(json.dumps(vanilla["properties"]).replace("&lt;", "<").replace("&gt;", ">"))
    assert (ours["id"], ours["properties"]) == (vanilla["id"], properties)
    there, here = (numbers_of(feature["geometry"]) for feature in (vanilla, ours))
    assert here == pytest.approx(there, abs=1e-7)
    assert (ours["geometry"] or {}).get("type") == (vanilla["geometry"] or {}).get("type")


def numbers_of(geometry: Any) -> list[float]:
    """Return the coordinates, in their order."""
    if isinstance(geometry, Mapping):
        return [n for name in ("coordinates", "geometries") for n in numbers_of(geometry.get(name))]
    if isinstance(geometry, list):
        return [n for part in geometry for n in numbers_of(part)]
    return [geometry] if isinstance(geometry, int | float) else []


def next_of(answer: httpx2.Response) -> str | None:
    """Return the path and the query of the next page."""
    links = [each["href"] for each in answer.json()["links"] if each["rel"] == "next"]
    return f"{urlsplit(links[0]).path}?{urlsplit(links[0]).query}" if links else None


ITEMS: list[tuple[str, dict[str, str], int]] = [
    ("stations", {}, 45),
    ("stations", {"limit": "7", "offset": "21"}, 45),
    ("stations", {"limit": "10", "offset": "40"}, 45),
    ("stations", {"limit": "45"}, 45),
    ("stations", {"offset": "1000"}, 45),
    ("stations", {"bbox": "19,50.2,20.5,50.6", "limit": "100"}, 16),
    ("stations", {"bbox": "50.2,19,50.6,20.5", "bbox-crs": f"{EPSG}4326", "limit": "100"}, 16),
    ("stations", {"bbox": "2115070,6481650,2282050,6551690", "bbox-crs": f"{EPSG}3857", "limit": "100"}, 16),
    ("stations", {"bbox": "170,-10,-170,10"}, 10),
    ("stations", {"bbox": "19,50.2,0,20.5,50.6,9", "limit": "100"}, 16),
    ("stations", {"datetime": "2021-01-01/2021-12-31", "limit": "100"}, 8),
    ("stations", {"datetime": "2023-05-14"}, 1),
    ("stations", {"datetime": "../2019-06-01T00:00:00Z"}, 5),
    ("stations", {"sortby": "-share", "limit": "20"}, 45),
    ("stations", {"sortby": "name,-count", "limit": "45"}, 45),
    ("stations", {"name": "Łódź", "limit": "5"}, 12),
    ("stations", {"name": "Kraków <b>"}, 11),
    ("stations", {"count": "7000000049"}, 1),
    ("stations", {"open": "true", "name": "O'Hara"}, 0),
    ("stations", {"open": "false", "name": "O'Hara"}, 11),
    ("stations", {"seen": "2020-02-11"}, 1),
    ("stations", {"q": "łódź,nowhere", "limit": "12"}, 12),
    ("stations", {"properties": "name,share", "limit": "3"}, 45),
    ("stations", {"skipGeometry": "true", "limit": "3"}, 45),
    ("stations", {"crs": f"{EPSG}2180", "limit": "30"}, 45),
    ("stations", {"crs": f"{EPSG}4326", "limit": "30"}, 45),
    ("stations", {"crs": f"{EPSG}3857", "bbox": "19,50.2,20.5,50.6", "limit": "30"}, 16),
    ("stations", {"bbox": "18,49.99,22.05,51.01", "datetime": "2020-01-01/..", "open": "true", "sortby": "-count"}, 14),
    ("nations", {"limit": "50"}, 46),
    ("nations", {"code": "GB", "crs": f"{EPSG}3035"}, 3),
    ("parks", {}, 9),
    ("clcplus-vector", {"limit": "20", "bbox": "19.7,50.15,19.9,50.3"}, -1),
    ("clcplus-vector", {"class_code": "3", "limit": "20", "offset": "30", "crs": f"{EPSG}3035"}, -1),
]


@pytest.mark.parametrize(("collection", "parameters", "matched"), ITEMS)
def test_items_are_the_same_as_in_vanilla(
    both: Both, collection: str, parameters: dict[str, str], matched: int
) -> None:
    ours, vanilla = both.ask(f"/collections/{collection}/items", f="json", **parameters)
    here, there = features_of(ours), features_of(vanilla)
    assert len(here) == len(there)
    for one, other in zip(here, there, strict=True):
        assert_same(one, other)
    assert ours.json()["numberReturned"] == vanilla.json()["numberReturned"]
    assert ours.json().get("numberMatched", ESTIMATED) in {ESTIMATED, vanilla.json()["numberMatched"]}
    assert here or parameters.keys() & {"offset", "open"}, parameters
    assert matched in {-1, ours.json().get("numberMatched")}
    assert ours.headers["Content-Crs"] == vanilla.headers["Content-Crs"]
    more = vanilla.json()["numberMatched"] > int(parameters.get("offset", 0)) + len(there)
    following = next_of(ours)
    assert (following is not None) == bool(more and there)  # vanilla has one after a full page
    if following is not None:
        page, theirs = both.ours.get(following), both.vanilla.get(next_of(vanilla) or "")
        assert [each["id"] for each in features_of(page)] == [each["id"] for each in features_of(theirs)]


@pytest.mark.parametrize("crs", SYSTEMS)
@pytest.mark.parametrize(("collection", "item"), [("stations", "S/07"), ("stations", "S/03"), ("nations", "PL_2180")])
def test_an_item_is_the_same_as_in_vanilla(both: Both, collection: str, item: str, crs: str) -> None:
    systems = both.ours.get(f"/collections/{collection}").json()["crs"]
    if crs not in systems:
        pytest.skip("a system of the other collection")
    ours, vanilla = both.ask(f"/collections/{collection}/items/{item}", crs=crs, f="json")
    assert_same(features_of(ours)[0], features_of(vanilla)[0])
    assert ours.headers["Content-Crs"] == vanilla.headers["Content-Crs"]


@pytest.mark.parametrize("item", ["S/99", "0", "S", "' OR '1'='1", "%00"])
def test_a_missing_item_is_404_in_both(both: Both, item: str) -> None:
    assert [answer.status_code for answer in both.ask(f"/collections/stations/items/{item}")] == [404, 404]


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"}, {"limit": "x"}, {"offset": "-1"}, {"offset": "x"}, {"offset": f"{10**30}"},
        {"bbox": "1,2,3"}, {"bbox": "1,2,3,x"}, {"bbox": "20,51,21,50"}, {"bbox": "nan,1,2,3"}, {"bbox": "1,2,inf,3"},
        {"bbox": "1,2,3,4", "bbox-crs": "none"},
        {"crs": "none"}, {"crs": f"{EPSG}27700"},
        {"datetime": "yesterday"}, {"datetime": "2024-13-01"}, {"datetime": "2024-01-02/2024-01-01"},
        {"datetime": "../.."}, {"datetime": "1/2/3"},
        {"sortby": "none"}, {"sortby": "-none"}, {"properties": "name,none"},
        {"count": "many"}, {"count": "1_0"}, {"count": f"{1 << 64}"}, {"share": "nan"}, {"open": "perhaps"},
        {"q": ","}, {"filter": "name ="}, {"resulttype": "all"},
    ],
    ids=str,
)  # fmt: skip
def test_invalid_requests_are_refused(both: Both, parameters: dict[str, str]) -> None:
    answers = both.ask("/collections/stations/items", **parameters)
    assert [answer.status_code for answer in answers] == [400, 400], answers[1].text
    assert "description" in answers[1].json()


def test_the_number_of_items_is_the_same(both: Both) -> None:
    answer = both.vanilla.get("/collections/stations/items?resulttype=hits&name=O'Hara&f=json").json()
    assert (answer["features"], answer["numberMatched"], answer["numberReturned"]) == ([], 11, 0)


def test_the_other_formats_of_vanilla_are_made_of_the_same(both: Both) -> None:
    page = both.vanilla.get("/collections/stations/items?f=html&limit=3")
    assert page.status_code == 200
    assert "Nowy Sącz" in page.text
    for path in ("/collections/stations/items/S/02?f=html", "/collections/stations/items/S/02?f=jsonld"):
        answer = both.vanilla.get(path)
        assert answer.status_code == 200, path
        assert "Nowy Sącz" in json.loads(answer.text)["name"] if "jsonld" in path else "Nowy Sącz" in answer.text
    for collection in ("stations", "degrees"):
        assert both.vanilla.get(f"/collections/{collection}?f=html").status_code == 200
        assert both.vanilla.get(f"/collections/{collection}/schema?f=html").status_code == 200
    assert both.vanilla.get("/collections/degrees/coverage?f=html&bbox=19.5,50.04,19.55,50.09").status_code == 200


@pytest.mark.parametrize("collection", ["stations", "nations", "clcplus-vector", "clcplus-raster", "degrees"])
def test_the_schema_is_the_same_as_in_vanilla(both: Both, collection: str) -> None:
    ours, vanilla = (answer.json()["properties"] for answer in both.ask(f"/collections/{collection}/schema", f="json"))
    assert ours.keys() - {"id"} == vanilla.keys(), "only ours has the id"
    shape = vanilla.pop("geometry", {})
    assert ours.get("geometry", {}).items() >= shape.items() - {("format", "geometry-any")}, "only ours has its kind"
    for name, field in vanilla.items():
        if field.get("type") == "integer":
            field.pop("x-ogc-role", None)  # a year is a number
        assert {**ours[name], **field} == ours[name]


@pytest.mark.parametrize("collection", ["stations", "nations", "clcplus-vector"])
def test_queryables_are_the_same_as_in_vanilla(both: Both, collection: str) -> None:
    ours, vanilla = both.ask(f"/collections/{collection}/queryables", f="json")
    types = [{name: field.get("type") for name, field in each.json()["properties"].items()} for each in (ours, vanilla)]
    assert types[0] == types[1]


def test_the_actual_domain_is_the_same(both: Both) -> None:
    answer = both.vanilla.get("/collections/stations/queryables?profile=actual-domain&f=json").json()["properties"]
    assert answer["name"]["enum"] == ["Kraków &lt;b&gt;", "Nowy Sącz", "O'Hara", "Łódź"]
    assert answer["open"]["enum"] == [False, True]
    assert answer["count"]["enum"] == [n * 1_000_000_007 for n in range(45)]
    assert "2020-02-11" in answer["seen"]["enum"]
    some = both.vanilla.get("/collections/stations/queryables?profile=actual-domain&properties=name&f=json").json()
    assert set(some["properties"]) == {"geometry", "name"}


class Grid(NamedTuple):
    """Pixels and where they are."""

    values: NDArray[np.uint8]
    transform: tuple[float, ...]
    epsg: int | None


def grid_of(answer: httpx2.Response) -> Grid:
    assert answer.status_code == 200, answer.text
    with rasterio.open(io.BytesIO(answer.content)) as source:
        return Grid(source.read(1), tuple(source.transform), source.crs and source.crs.to_epsg())


WINDOWS: list[tuple[str, dict[str, str]]] = [
    ("degrees", {}),
    ("degrees", {"bbox": "19.51,50.05,19.53,50.07"}),
    ("degrees", {"bbox": "50.05,19.51,50.07,19.53", "bbox-crs": f"{EPSG}4326"}),
    ("degrees", {"subset": "Lat(50.05:50.07),Lon(19.51:19.53)"}),
    ("degrees", {"subset": "Long(19.51:19.53)"}),
    ("degrees", {"subset": "lat(50.05:*)"}),
    ("degrees", {"bbox": "0,0,50,80"}),
    ("clcplus-raster", {}),
    ("clcplus-raster", {"bbox": "19.7,50.15,19.9,50.3"}),
    ("clcplus-raster", {"bbox": "19.7,50.15,19.9,50.3", "properties": "class"}),
    ("clcplus-raster", {"subset": "E(5010000:5020000),N(3040000:3045000)"}),
    ("clcplus-raster", {"subset": "x(5010000.5:5020000),y(3040000:3045000.5)"}),
    ("clcplus-raster", {"bbox": "3040000,5010000,3045000,5020000", "bbox-crs": f"{EPSG}3035"}),
]


@pytest.mark.parametrize(("collection", "parameters"), WINDOWS, ids=str)
def test_pixels_are_the_same_as_in_vanilla(both: Both, collection: str, parameters: dict[str, str]) -> None:
    path, asked = f"/collections/{collection}", {k: v for k, v in parameters.items() if k != "properties"}
    ours = grid_of(both.ours.get(f"{path}/coverage", params={**asked, "f": "tiff"}))
    vanilla = grid_of(both.vanilla.get(f"{path}/coverage", params={**parameters, "f": "GTiff"}))
    np.testing.assert_array_equal(ours.values, vanilla.values)
    assert (ours.transform, ours.epsg) == (vanilla.transform, vanilla.epsg)
    assert ours.values.size > 100
    picture = both.vanilla.get(f"{path}-png/coverage", params={**parameters, "f": "png"})
    assert picture.content == both.ours.get(f"{path}/coverage", params={**asked, "f": "png"}).content
    text = both.vanilla.get(f"{path}/coverage", params={**parameters, "f": "json"})
    assert text.status_code == 200
    assert text.json() == both.ours.get(f"{path}/coverage", params={**asked, "f": "json"}).json()


def test_a_window_has_the_pixels_of_the_file(both: Both) -> None:
    """Compared with both servers: column and row, written by hand, of a file made for this test."""
    values = classes(773, 1030)
    with rasterio.open(io.BytesIO(both.vanilla.get("/collections/degrees/coverage?f=GTiff").content)) as whole:
        west, north, side = whole.transform.c, whole.transform.f, whole.transform.a
        assert (whole.width, whole.height) == (1030, 773)
    box = (west + 100.2 * side, north - 260.2 * side, west + 299.8 * side, north - 159.8 * side)
    answer = both.vanilla.get("/collections/degrees/coverage", params={"f": "GTiff", "bbox": ",".join(map(str, box))})
    np.testing.assert_array_equal(grid_of(answer).values, values[159:261, 100:300])
    assert answer.headers["Content-Disposition"] == 'attachment; filename="degrees.tif"'


@pytest.mark.parametrize(
    ("collection", "bbox"),
    [("degrees", "-10,-10,-9,-9"), ("clcplus-raster", "0,0,1,1"), ("clcplus-raster", "20.1,49.2,20.15,49.25")],
)
def test_a_box_outside_of_the_coverage_is_empty_or_refused(both: Both, collection: str, bbox: str) -> None:
    """The last box is inside the coverage's envelope in degrees, but outside of the coverage in its own CRS."""
    for form in ("json", "GTiff"):
        ours, vanilla = both.ask(f"/collections/{collection}/coverage", bbox=bbox, f=form)
        assert (vanilla.status_code, vanilla.content) == (204, b"")
        assert ours.status_code == (204 if form == "json" else 400)


@pytest.mark.parametrize(
    "parameters",
    [
        {"subset": "Lat(50:)"}, {"subset": 'Lat("a":"b")'}, {"subset": "Lat(51:50)"}, {"subset": "Depth(1:2)"},
        {"subset": "Lat(50:50.1),N(1:2)"}, {"subset": "Lat(50:50.1),lat(1:2)"}, {"subset": "Lat"},
        {"subset": "Lat(50:50.1)", "bbox": "19,50,20,51"},
        {"bbox": "10,49,9,50", "bbox-crs": f"{EPSG}3857"}, {"bbox": "9,49,9,50"},
        {"bbox": "19,50,20,51", "bbox-crs": "none"}, {"bbox": "19,50,20,51", "bbox-crs": f"{EPSG}27700"},
        {"datetime": "yesterday"}, {"datetime": "2024-01-02/2024-01-01"}, {"properties": "none"}, {"f": "NetCDF"},
    ],
    ids=str,
)  # fmt: skip
def test_invalid_requests_for_a_coverage_are_refused(both: Both, parameters: dict[str, str]) -> None:
    answers = both.ask("/collections/degrees/coverage", **{"f": "json", **parameters})
    assert [answer.status_code for answer in answers] == [400, 400], answers[1].text


@pytest.mark.parametrize(
    "parameters",
    [
        {"bbox": "19.51,50.04,19.55,50.07", "width": "120", "height": "90"},
        {"bbox": "19.51,50.04,19.55,50.07", "width": "120", "height": "90", "transparent": "false"},
        {"bbox": "19.4,50,19.7,50.2", "crs": f"{EPSG}3857", "width": "64", "height": "64"},
    ],
    ids=str,
)
def test_a_map_is_the_same_as_in_vanilla(both: Both, parameters: dict[str, str]) -> None:
    ours, vanilla = both.ask("/collections/degrees/map", f="png", **parameters)
    assert vanilla.status_code == ours.status_code == 200, vanilla.text
    one, other = (picture_of(answer) for answer in (ours, vanilla))
    assert one.shape == (int(parameters["height"]), int(parameters["width"]))
    assert len(np.unique(one)) > 5
    assert (one == other).mean() > 0.98  # vanilla transforms a box by its corners


def picture_of(answer: httpx2.Response) -> NDArray[np.uint8]:
    with MemoryFile(answer.content) as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open() as source:
            return np.asarray(source.read(1))


@pytest.mark.parametrize(
    "parameters",
    [
        {"width": "0"}, {"width": "-5"}, {"transparent": "perhaps"}, {"crs": f"{EPSG}27700"}, {"bbox": "9,50,8,49"},
        {"datetime": "yesterday"}, {"bbox": "1,2,3"},
    ],
    ids=str,
)  # fmt: skip
def test_invalid_requests_for_a_map_are_refused(both: Both, parameters: dict[str, str]) -> None:
    answers = both.ask("/collections/degrees/map", f="png", **{"bbox": "19.51,50.04,19.55,50.07", **parameters})
    assert [answer.status_code for answer in answers] == [400, 400], answers[1].text


def test_a_too_large_request_is_413(both: Both) -> None:
    wanted = {"bbox": "19.51,50.04,19.55,50.07", "width": "50000", "height": "50000", "f": "png"}
    assert [answer.status_code for answer in both.ask("/collections/degrees/map", **wanted)] == [413, 413]
