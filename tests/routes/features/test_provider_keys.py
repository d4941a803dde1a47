"""The keys of a GeoPackage's configuration, as in vanilla pygeoapi."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.configuration import Findings, examine
from tests.routes.test_languages import client_of, configuration

ITEMS = "/collections/nations/items"
EPSG_4326 = "http://www.opengis.net/def/crs/EPSG/0/4326"


def configured(folder: Path, **keys: Any) -> dict[str, Any]:
    document = configuration(folder)
    document["server"] = {"language": "en"}
    document["resources"]["nations"]["providers"][0] |= keys
    return document


def opened(folder: Path, **keys: Any) -> TestClient:
    document = configured(folder, **keys)
    assert examine(document) == Findings((), ())
    return client_of(document, folder)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[TestClient]:
    with opened(tmp_path / "plain") as client:
        yield client


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()


def first(client: TestClient, **query: Any) -> Any:
    answer = client.get(ITEMS, params={"limit": 1, "f": "json", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_unlisted_columns_are_hidden(plain: TestClient, tmp_path: Path) -> None:
    whole = first(plain)["features"][0]["properties"]
    shown, hidden = list(whole)[:2]
    with opened(tmp_path, properties=[shown]) as client:
        feature = first(client)["features"][0]
        assert feature["properties"] == {shown: whole[shown]}
        assert list(client.get(f"{ITEMS}/{feature['id']}", params={"f": "json"}).json()["properties"]) == [shown]
        for part in ("schema", "queryables"):
            schema = client.get(f"/collections/nations/{part}", params={"f": "json"}).json()
            assert hidden not in schema["properties"]
        for query in ({hidden: "x"}, {"sortby": hidden}, {"properties": hidden}):
            assert client.get(ITEMS, params={**query, "f": "json"}).status_code == 400
        assert str(whole[hidden]) not in client.get(ITEMS, params={"limit": 1, "f": "html"}).text
        operation = client.get("/openapi", params={"f": "json"}).json()["paths"][ITEMS]["get"]
        assert hidden not in [each.get("name") for each in operation["parameters"]]


def test_count_false_omits_the_number_of_items(plain: TestClient, tmp_path: Path) -> None:
    assert first(plain)["numberMatched"] > 1
    with opened(tmp_path, count=False) as client:
        document = first(client)
        assert "numberMatched" not in document
        assert document["numberReturned"] == 1
        assert "next" in [link["rel"] for link in document["links"]]
        assert client.get(ITEMS, params={"f": "html"}).status_code == 200


def corner(document: Any) -> Any:
    place = (document["features"][0] if "features" in document else document)["geometry"]["coordinates"]
    while isinstance(place[0], list):
        place = place[0]
    return place


def test_coordinates_may_have_x_before_y_in_every_system(plain: TestClient, tmp_path: Path) -> None:
    x, y = corner(first(plain))
    assert corner(first(plain, crs=EPSG_4326)) == [y, x]
    with opened(tmp_path, always_xy=True) as client:
        document = first(client, crs=EPSG_4326)
        assert corner(document) == [x, y]
        item = client.get(f"{ITEMS}/{document['features'][0]['id']}", params={"f": "json", "crs": EPSG_4326})
        assert corner(item.json()) == [x, y]
        assert item.headers["Content-Crs"] == f"<{EPSG_4326}>"
        assert corner(first(client)) == [x, y]
        box = {"bbox": f"{y},{x},{y},{x}", "bbox-crs": EPSG_4326}
        assert first(client, **box)["numberMatched"] == first(plain, **box)["numberMatched"] > 0


@pytest.mark.parametrize("keys", [{"language": "fr"}, {"languages": ["fr"]}])
def test_the_language_of_the_data_is_declared(tmp_path: Path, keys: dict[str, Any]) -> None:
    with opened(tmp_path, **keys) as client:
        for path in (ITEMS, f"{ITEMS}/{first(client)['features'][0]['id']}"):
            assert client.get(path, params={"f": "json"}).headers["Content-Language"] == "fr, en"


def test_startindex_is_offset(plain: TestClient) -> None:
    for path in (ITEMS, "/collections/points/items"):
        by_offset = plain.get(path, params={"offset": 1, "limit": 1, "f": "json"}).json()
        answer = plain.get(path, params={"startindex": 1, "limit": 1, "f": "json"})
        assert [each["id"] for each in answer.json()["features"]] == [each["id"] for each in by_offset["features"]]
        assert "startindex" not in " ".join(
            link["href"] for link in answer.json()["links"] if link["rel"] in {"next", "prev"}
        )
        both = plain.get(path, params={"startindex": 1, "offset": 1, "f": "json"})
        assert both.status_code == 400
        assert "startindex" in both.json()["detail"]
        assert plain.get(path, params={"startindex": -1, "f": "json"}).status_code == 400


def test_check_warns_if_orders_deliver_hidden_columns(tmp_path: Path) -> None:
    document = configured(tmp_path, properties=["code"])
    product = {"title": "Land", "year": 2023, "raster": "nations", "vector": "nations", "attribution": "Somebody"}
    document["products"] = {"land": product}
    flaws = examine(document).flaws
    (flaw,) = [flaw for flaw in flaws if flaw.startswith("products.land.vector: ")]
    assert flaw.startswith("products.land.vector: nations shows some of its columns (properties), but orders deliver")
