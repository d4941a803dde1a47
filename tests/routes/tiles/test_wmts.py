"""WMTS 1.0.0, as OWSLib reads it; GDAL and QGIS read it in tests/clients."""

from xml.etree.ElementTree import Element, fromstring

import pytest
from owslib.wmts import WebMapTileService
from starlette.testclient import TestClient

ONE = "/collections/clcplus-raster/map/tiles"
TILE = {
    "SERVICE": "WMTS",
    "REQUEST": "GetTile",
    "VERSION": "1.0.0",
    "LAYER": "clcplus-raster",
    "STYLE": "default",
    "FORMAT": "image/png",
    "TILEMATRIXSET": "WebMercatorQuad",
    "TILEMATRIX": "12",
    "TILEROW": "1396",
    "TILECOL": "2270",
}


@pytest.fixture(scope="module")
def service(tiles: TestClient) -> WebMapTileService:
    answer = tiles.get("/wmts", params={"service": "WMTS", "request": "GetCapabilities"})
    assert answer.headers["content-type"].startswith("text/xml")
    assert tiles.get("/wmts/1.0.0/WMTSCapabilities.xml").content == answer.content
    return WebMapTileService("http://inside.invalid/wmts", xml=answer.content)  # type: ignore[no-untyped-call]  # OWSLib


def test_the_capabilities_name_layer_style_limits_and_sets(service: WebMapTileService) -> None:
    layer = service.contents["clcplus-raster"]
    assert layer.formats == ["image/png", "image/webp"]
    assert layer.styles["default"]["isDefault"] is True
    assert layer.styles["default"]["legend"].endswith("/styles/default/legend?f=png")
    assert set(layer.tilematrixsetlinks) == {"WebMercatorQuad", "EuropeanETRS89_LAEAQuad"}
    limits = layer.tilematrixsetlinks["WebMercatorQuad"].tilematrixlimits["10"]
    assert (limits.mintilerow, limits.maxtilerow, limits.mintilecol, limits.maxtilecol) == (328, 351, 554, 580)
    laea = service.tilematrixsets["EuropeanETRS89_LAEAQuad"]
    assert laea.crs == "urn:ogc:def:crs:EPSG::3035"
    assert laea.tilematrix["0"].topleftcorner == (5_500_000, 2_000_000)
    assert service.tilematrixsets["WebMercatorQuad"].tilematrix["0"].scaledenominator == pytest.approx(559082264.028)


def test_both_bindings_give_the_same_tile(tiles: TestClient, service: WebMapTileService) -> None:
    expected = tiles.get(f"{ONE}/WebMercatorQuad/12/1396/2270")
    answer = tiles.get("/wmts", params=TILE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content == expected.content
    small = {name.lower(): value for name, value in TILE.items()}
    assert tiles.get("/wmts", params=small).content == expected.content
    template = service.contents["clcplus-raster"].resourceURLs[0]["template"]
    values = {"TileMatrixSet": "WebMercatorQuad", "TileMatrix": "12", "TileRow": "1396", "TileCol": "2270"}
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    assert tiles.get(template.removeprefix("https://maps.example.org/land")).content == expected.content
    etag = answer.headers["etag"]
    assert tiles.get("/wmts", params=TILE, headers={"if-none-match": etag}).status_code == 304


def _exception(content: bytes) -> Element:
    found = fromstring(content).find("{http://www.opengis.net/ows/1.1}Exception")  # noqa: S314 - our own answer
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("changed", "code", "reason"),
    [
        ({"REQUEST": None}, "MissingParameterValue", "REQUEST is missing"),
        ({"REQUEST": "GetFeatureInfo"}, "InvalidParameterValue", "allowed: GetCapabilities, GetTile"),
        ({"LAYER": None}, "MissingParameterValue", "LAYER is missing"),
        ({"LAYER": "none"}, "InvalidParameterValue", "allowed: clcplus-raster"),
        ({"STYLE": "grey"}, "InvalidParameterValue", "allowed: default"),
        ({"FORMAT": "image/jpeg"}, "InvalidParameterValue", "allowed: image/png, image/webp"),
        ({"TILEMATRIXSET": "NoQuad"}, "TileOutOfRange", "there is no tile matrix set"),
        ({"TILEMATRIX": "99"}, "TileOutOfRange", "no tile matrix '99'"),
        ({"TILEROW": "0"}, "TileOutOfRange", "lies outside"),
        ({"TILEROW": None}, "MissingParameterValue", "TILEROW is missing"),
        ({"TILECOL": "x"}, "InvalidParameterValue", "allowed: a whole number"),
        ({"REQUEST": "GetCapabilities", "SERVICE": "WMS"}, "InvalidParameterValue", "allowed: WMTS"),
    ],
)
def test_invalid_requests_are_an_exception_report(
    tiles: TestClient, changed: dict[str, str | None], code: str, reason: str
) -> None:
    query = {name: value for name, value in {**TILE, **changed}.items() if value is not None}
    answer = tiles.get("/wmts", params=query)
    assert answer.status_code == 400
    found = _exception(answer.content)
    assert found.get("exceptionCode") == code
    assert reason in "".join(found.itertext())


def test_an_unknown_or_repeated_parameter_is_a_problem(tiles: TestClient) -> None:
    for query in ("service=WMTS&no=1", "service=WMTS&SERVICE=WMTS"):
        assert tiles.get(f"/wmts?{query}").status_code == 400
