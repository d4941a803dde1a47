"""Metadata of tiles: tilesets, tile matrix sets, TileJSON; and configured matrix sets."""

from pathlib import Path
from typing import Any

import morecantile
import pytest
from starlette.testclient import TestClient

from products.tiling import tile_matrix_sets
from server.configuration import examine
from tests.conftest import application
from tests.routes.tiles.conftest import raster_alone

URL = "https://maps.example.org/land"
ONE = "/collections/clcplus-raster/map/tiles"
OGC = "http://www.opengis.net/def/rel/ogc/1.0"


def path_of(href: str) -> str:
    assert href.startswith(URL)
    return href.removeprefix(URL)


def by_rel(document: dict[str, Any]) -> dict[str, str]:
    return {each["rel"]: each["href"] for each in document["links"]}


@pytest.mark.parametrize("start", ["/", "/collections/clcplus-raster"])
def test_links_lead_from_the_landing_page_to_a_tile(tiles: TestClient, start: str) -> None:
    address = by_rel(tiles.get(start, headers={"accept": "application/json"}).json())[f"{OGC}/tilesets-map"]
    sets = tiles.get(path_of(address)).json()["tilesets"]
    assert [each["tileMatrixSetId"] for each in sets] == ["WebMercatorQuad", "EuropeanETRS89_LAEAQuad"]
    for each in sets:
        whole = tiles.get(path_of(by_rel(each)["self"])).json()
        assert {name: whole[name] for name in each} == each
        assert whole["dataType"] == "map"
        matrix_set = tiles.get(path_of(by_rel(each)[f"{OGC}/tiling-scheme"])).json()
        assert (matrix_set["id"], matrix_set["uri"]) == (each["tileMatrixSetId"], each["tileMatrixSetURI"])
        template = next(link for link in whole["links"] if link["rel"] == "item")
        assert template["templated"] is True
        limits = whole["tileMatrixSetLimits"]
        assert [limit["tileMatrix"] for limit in limits] == [each["id"] for each in matrix_set["tileMatrices"]]
        limit = limits[8]
        for row, status in ((limit["maxTileRow"], 200), (limit["maxTileRow"] + 1, 404)):
            values = {"tileMatrix": limit["tileMatrix"], "tileRow": row, "tileCol": limit["minTileCol"]}
            tile = template["href"]
            for name, value in values.items():
                tile = tile.replace(f"{{{name}}}", str(value))
            answer = tiles.get(path_of(tile))
            assert (answer.status_code, answer.headers["content-type"] == template["type"]) == (status, status == 200)


def test_a_box_has_the_order_of_the_axes(tiles: TestClient) -> None:
    box = tiles.get(f"{ONE}/EuropeanETRS89_LAEAQuad").json()["boundingBox"]
    northing, easting = box["lowerLeft"]
    assert 2_900_000 < northing < 3_100_000
    assert 4_600_000 < easting < 4_800_000
    assert tiles.get(f"{ONE}/WebMercatorQuad").json()["boundingBox"]["lowerLeft"][0] < 2_000_000


def test_tilejson(tiles: TestClient) -> None:
    for place in (ONE, "/map/tiles"):
        document = tiles.get(f"{place}/WebMercatorQuad?f=tilejson").json()
        assert (document["tilejson"], document["scheme"]) == ("3.0.0", "xyz")
        assert (document["minzoom"], document["maxzoom"]) == (0, 14)
        west, south, east, north = document["bounds"]
        assert (west < 15.44, east > 23.96, south < 49.38, north > 53.16) == (True, True, True, True)
        tile = document["tiles"][0].replace("{z}", "12").replace("{y}", "1396").replace("{x}", "2270")
        assert tiles.get(path_of(tile)).headers["content-type"] == "image/png"
        assert "Copernicus" in document["attribution"]
    answer = tiles.get(f"{ONE}/EuropeanETRS89_LAEAQuad?f=tilejson")
    assert (answer.status_code, "Web Mercator" in answer.json()["detail"]) == (400, True)


def test_the_chosen_collections_stay_in_the_links(tiles: TestClient) -> None:
    document = tiles.get("/map/tiles/WebMercatorQuad?collections=clcplus-raster").json()
    template = next(each["href"] for each in document["links"] if each["rel"] == "item")
    assert template.endswith("collections=clcplus-raster")
    more = tiles.get("/map/tiles/WebMercatorQuad?collections=clcplus-raster&f=tilejson").json()
    assert more["tiles"][0].endswith("collections=clcplus-raster")


@pytest.mark.parametrize("place", ["/tileMatrixSets/NoQuad", f"{ONE}/NoQuad", "/map/tiles/NoQuad"])
def test_an_unknown_matrix_set_is_named(tiles: TestClient, place: str) -> None:
    answer = tiles.get(place)
    assert answer.status_code == 404
    assert "'NoQuad'; there are WebMercatorQuad, EuropeanETRS89_LAEAQuad" in answer.json()["detail"]


def test_every_registered_set_has_the_boxes_that_morecantile_gives() -> None:
    """Axis orders, origins and corners: northing first, both poles, New Zealand."""
    served = []
    for name in morecantile.tms.list():
        tiles = morecantile.tms.get(name)
        if tiles.is_variable:
            with pytest.raises(ValueError, match="variableMatrixWidths"):
                tile_matrix_sets([name])
            continue
        [ours] = tile_matrix_sets([name]).values()
        served.append(name)
        for level in (0, 3):
            matrix = ours.matrices[tiles.tileMatrices[level].id]
            for row, column in ((0, 0), (matrix.rows - 1, matrix.columns - 1)):
                expected = tiles.xy_bounds(morecantile.Tile(column, row, int(matrix.id)))
                assert matrix.bounds(row, column) == pytest.approx(tuple(expected)), name
    assert len(served) > 8


ROTATED = {
    "id": "FromSouth",
    "crs": "http://www.opengis.net/def/crs/EPSG/0/3035",
    "orderedAxes": ["Y", "X"],
    "tileMatrices": [
        {
            "id": "0",
            "scaleDenominator": 357_142.857,
            "cellSize": 100,
            "cornerOfOrigin": "bottomLeft",
            "pointOfOrigin": [2_900_000, 4_600_000],
            "tileWidth": 128,
            "tileHeight": 64,
            "matrixWidth": 60,
            "matrixHeight": 80,
        }
    ],
}


def test_sets_of_the_configuration_are_served(tmp_path: Path) -> None:
    configuration = raster_alone()
    configuration["server"]["tile_matrix_sets"] = ["WorldCRS84Quad", ROTATED]
    assert examine(configuration).flaws == ()
    with TestClient(application(configuration, state={"dir": tmp_path})) as client:
        sets = client.get("/tileMatrixSets").json()["tileMatrixSets"]
        assert [each["id"] for each in sets] == ["WorldCRS84Quad", "FromSouth"]
        limits = client.get(f"{ONE}/FromSouth").json()["tileMatrixSetLimits"][0]
        assert 0 <= limits["minTileRow"] <= limits["maxTileRow"] < 80
        tile = client.get(f"{ONE}/FromSouth/0/{limits['minTileRow']}/{limits['minTileCol']}")
        assert tile.status_code == 200
        assert tile.content[16:24] == bytes((0, 0, 0, 128, 0, 0, 0, 64))
        answer = client.get(f"{ONE}/WorldCRS84Quad/8/57/278")
        assert answer.headers["content-crs"] == "<http://www.opengis.net/def/crs/OGC/1.3/CRS84>"
        assert "FromSouth" not in client.get("/wmts?service=WMTS&request=GetCapabilities").text


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["NoQuad"], "'NoQuad': allowed: CDB1GlobalGrid"),
        (["GNOSISGlobalGrid"], "without variableMatrixWidths"),
        ([{"id": "x"}], "is no tile matrix set"),
        ([{**ROTATED, "crs": "http://www.opengis.net/def/crs/EPSG/0/999999"}], "is no tile matrix set"),
        ([{**ROTATED, "tileMatrices": [{**ROTATED["tileMatrices"][0], "tileWidth": 9_000}]}], "at most 4096 pixels"),  # type: ignore[dict-item]  # JSON
        ([], "tile_matrix_sets"),
        ("WebMercatorQuad", "tile_matrix_sets"),
        ([7], "tile_matrix_sets"),
    ],
)
def test_an_invalid_matrix_set_is_reported_at_the_start(given: Any, reason: str) -> None:
    configuration = raster_alone()
    configuration["server"]["tile_matrix_sets"] = given
    flaws = examine(configuration).flaws
    assert flaws
    assert any(reason in flaw and "server.tile_matrix_sets" in flaw for flaw in flaws), flaws
