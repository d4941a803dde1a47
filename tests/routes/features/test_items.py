"""Items over HTTP, on the real sample."""

import csv
import json
import re
import sqlite3
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import shapely
from pyproj import Transformer
from starlette.applications import Starlette
from starlette.testclient import TestClient

from routes.features.parameters import ITEMS_PARAMETERS
from tests.conftest import MakeApp

URL = "https://maps.example.org/land"
LAND_COVER = "/collections/clcplus-vector/items"
EPSG = "http://www.opengis.net/def/crs/EPSG/0"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
PLACE = (20.33, 49.40, 20.37, 49.43)
"""A box inside a park."""
BBOX = ",".join(map(str, PLACE))


def get(client: TestClient, path: str, **parameters: Any) -> Any:
    answer = client.get(path, params=parameters or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(document: Any) -> list[Any]:
    return [feature["id"] for feature in document["features"]]


def outlines(sample: Path) -> dict[int, Any]:
    """Return every polygon of the product by its number, read without our code."""
    with sqlite3.connect(sample / "sample" / "clcplus_2023_parks.gpkg") as connection:
        rows = connection.execute(
            "SELECT fid, geometry FROM land_cover f JOIN rtree_land_cover_geometry r ON r.id = f.fid"
            " WHERE minx > 5050000 AND maxx < 5080000 AND miny > 2970000 AND maxy < 3010000"
        ).fetchall()
    return {fid: shapely.from_wkb(blob[40:]) for fid, blob in rows}


def in_metres(box: tuple[float, float, float, float]) -> Any:
    transformer = Transformer.from_crs("OGC:CRS84", 3035, always_xy=True)
    outline = shapely.segmentize(shapely.box(*box), 0.0001)
    return shapely.transform(outline, lambda xy: shapely.get_coordinates(shapely.points(*transformer.transform(*xy.T))))


def test_a_page_has_its_metadata(client: TestClient) -> None:
    answer = client.get("/collections/parks/items", params={"limit": 2})
    document = answer.json()
    assert answer.headers["content-type"] == "application/geo+json"
    assert answer.headers["content-crs"] == f"<{CRS84}>"
    assert document["type"] == "FeatureCollection"
    assert (document["numberMatched"], document["numberReturned"]) == (9, 2)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["timeStamp"])
    assert {link["rel"] for link in document["links"]} == {"self", "alternate", "next", "collection"}
    assert all(link["href"].startswith(f"{URL}/collections/parks") for link in document["links"])
    assert document["features"][0]["properties"].keys() == {"cdda_id", "name", "country", "designated"}


def test_following_next_returns_every_item_once(client: TestClient) -> None:
    seen: list[str] = []
    address = f"{URL}/collections/nations/items?limit=7"
    while address and len(seen) < 100:
        document = get(client, address.removeprefix(URL))
        seen += ids(document)
        address = next((link["href"] for link in document["links"] if link["rel"] == "next"), "")
    assert len(seen) == len(set(seen)) == 46
    prev = next(link["href"] for link in document["links"] if link["rel"] == "prev")
    assert ids(get(client, prev.removeprefix(URL))) == seen[35:42]


def test_a_box_selects_by_geometry_and_not_by_envelope(client: TestClient, sample: Path) -> None:
    asked = in_metres(PLACE)
    shapely.prepare(asked)
    polygons = outlines(sample)
    expected = {fid for fid, polygon in polygons.items() if asked.intersects(polygon)}
    document = get(client, LAND_COVER, bbox=BBOX, limit=10_000, skipGeometry="true")
    assert len(expected) > 100
    assert len(expected) < sum(asked.intersects(shapely.box(*polygon.bounds)) for polygon in polygons.values())
    assert set(ids(document)) == expected
    assert document["numberMatched"] == len(expected)


@pytest.mark.parametrize(
    ("crs", "bbox"),
    [
        (f"{EPSG}/4326", (49.40, 20.33, 49.43, 20.37)),
        (CRS84, (20.33, 49.40, 0, 20.37, 49.43, 100)),
    ],
)
def test_a_box_is_read_in_the_order_of_its_axes(client: TestClient, crs: str, bbox: tuple[float, ...]) -> None:
    text = ",".join(map(str, bbox))
    expected = get(client, LAND_COVER, bbox=BBOX, limit=1)["numberMatched"]
    assert get(client, LAND_COVER, **{"bbox": text, "bbox-crs": crs, "limit": 1})["numberMatched"] == expected


def test_a_box_in_the_storage_crs_is_northing_first(client: TestClient, sample: Path) -> None:
    box = (5_066_000, 2_975_000, 5_070_000, 2_977_500)
    expected = {fid for fid, polygon in outlines(sample).items() if polygon.intersects(shapely.box(*box))}
    text = "2975000,5066000,2977500,5070000"
    parameters = {"bbox": text, "bbox-crs": f"{EPSG}/3035", "limit": 10_000, "skipGeometry": "true"}
    assert expected
    assert set(ids(get(client, LAND_COVER, **parameters))) == expected


@pytest.mark.parametrize(
    ("bbox", "count"),
    [
        ("-180,-90,180,90", 147_857),
        ("170,-90,-170,90", 0),
        ("15,-90,-170,90", 147_857),
        ("0,0,1,1", 0),
    ],
)
def test_boxes_may_be_the_world_or_cross_the_antimeridian(client: TestClient, bbox: str, count: int) -> None:
    assert get(client, LAND_COVER, bbox=bbox, limit=1)["numberMatched"] == count


def test_a_point_finds_the_nation_that_it_is_in(client: TestClient) -> None:
    assert ids(get(client, "/collections/nations/items", bbox="21,52.2,21,52.2")) == ["PL_2180"]


def test_geometries_are_transformed_to_other_systems(client: TestClient, sample: Path) -> None:
    stored = outlines(sample)
    first = ids(get(client, LAND_COVER, bbox=BBOX, limit=1))[0]
    item = f"{LAND_COVER}/{first}"
    x, y = stored[first].geoms[0].exterior.coords[0]
    metres = client.get(item, params={"crs": f"{EPSG}/3035"})
    assert metres.headers["content-crs"] == f"<{EPSG}/3035>"
    assert [y, x] in metres.json()["geometry"]["coordinates"][0][0]
    degrees = Transformer.from_crs(3035, 4326).transform(y, x)
    ring = get(client, item, crs=f"{EPSG}/4326")["geometry"]["coordinates"][0][0]
    assert [round(number, 7) for number in degrees] in ring
    assert [round(number, 7) for number in degrees[::-1]] in get(client, item)["geometry"]["coordinates"][0][0]


def test_coordinates_are_short_and_rings_right_handed(client: TestClient) -> None:
    for name in ("parks", "nations", "clcplus-vector"):
        for feature in get(client, f"/collections/{name}/items", limit=50)["features"]:
            for polygon in feature["geometry"]["coordinates"]:
                assert shapely.LinearRing(polygon[0]).is_ccw
                assert not any(
                    shapely.LinearRing(hole).is_ccw for hole in polygon[1:] if len(set(map(tuple, hole))) > 3
                )
                assert all(round(number, 7) == number for point in polygon[0] for number in point)


def test_items_are_filtered_sorted_and_reduced(client: TestClient) -> None:
    document = get(client, LAND_COVER, class_code=10, sortby="-area_m2,class_name", properties="area_m2", limit=20)
    areas = [feature["properties"]["area_m2"] for feature in document["features"]]
    assert areas == sorted(areas, reverse=True)
    assert all(feature["properties"].keys() == {"area_m2"} for feature in document["features"])
    assert document["numberMatched"] == get(client, LAND_COVER, class_name="Water", limit=1)["numberMatched"]
    assert 0 < document["numberMatched"] < 147_857
    assert get(client, LAND_COVER, class_name="' OR 1=1 --", limit=1)["numberMatched"] == 0
    assert get(client, LAND_COVER, bbox=BBOX, class_code=1, limit=1)["numberMatched"] > 0


@pytest.mark.parametrize(
    ("time", "count"),
    [
        ("2023-06-01T00:00:00Z", 147_857),
        ("2023-06-01", 147_857),
        ("2022-01-01/2023-01-01", 147_857),
        ("../2022-12-31", 0),
        ("2024-01-01T00:00:00Z/..", 0),
    ],
)
def test_the_year_is_the_time_of_an_item(client: TestClient, time: str, count: int) -> None:
    assert get(client, LAND_COVER, datetime=time, limit=1)["numberMatched"] == count


def test_items_without_a_time_match_every_time(client: TestClient) -> None:
    assert get(client, "/collections/parks/items", datetime="1800-01-01")["numberMatched"] == 9


@pytest.mark.parametrize(
    ("listed", "repeated"),
    [
        ("bbox=19.4,49.5,19.7,49.7", "bbox=19.4&bbox=49.5&bbox=19.7&bbox=49.7"),
        ("bbox=19.4,49.5,0,19.7,49.7,9", "bbox=19.4&bbox=49.5,0&bbox=19.7&bbox=49.7&bbox=9"),
        ("sortby=country,-name&limit=3", "sortby=country&sortby=-name&limit=3"),
        ("properties=name,country", "properties=name&properties=country"),
    ],
)
def test_a_list_may_be_repeated(client: TestClient, listed: str, repeated: str) -> None:
    """Some clients generated from the OpenAPI document write it so."""
    once, often = (client.get(f"/collections/parks/items?{query}").json() for query in (listed, repeated))
    assert once["features"] == often["features"] != []


@pytest.mark.parametrize(
    "query", ["year=2_023", "year=\u0662\u0660\u0662\u0663", "bbox=1_9,49,20,50", "bbox=\u0661\u0669,49,20,50"]
)
def test_numbers_are_written_as_json_numbers(client: TestClient, query: str) -> None:
    """Python reads these, too: the year 2023, and 19 degrees."""
    answer = client.get(f"{LAND_COVER}?{query}")
    assert (answer.status_code, answer.json()["parameter"]) == (400, query.partition("=")[0])


def test_the_next_page_keeps_a_repeated_list(client: TestClient) -> None:
    place = "/collections/parks/items?sortby=country&sortby=-name"
    both = client.get(f"{place}&limit=2").json()["features"]
    page = client.get(f"{place}&limit=1").json()
    following = next(link["href"] for link in page["links"] if link["rel"] == "next")
    assert page["features"] + client.get(following).json()["features"] == both


@pytest.mark.parametrize(("on_exceed", "status"), [("throttle", 200), ("error", 400)])
def test_a_limit_above_the_largest_is_cut_or_refused(
    make_app: MakeApp, configuration: dict[str, Any], on_exceed: str, status: int
) -> None:
    configuration["resources"]["nations"]["limits"] = {"max_items": 3, "default_items": 2, "on_exceed": on_exceed}
    with TestClient(make_app(configuration)) as client:
        answer = client.get("/collections/nations/items?limit=4")
        assert answer.status_code == status
        assert (answer.json().get("numberReturned"), "allowed: 1 to 3" in answer.text) in ((3, False), (None, True))
        assert client.get("/collections/nations/items?limit=3").json()["numberReturned"] == 3
        assert client.get("/collections/nations/items").json()["numberReturned"] == 2


@pytest.mark.parametrize("query", ["bbox=1&bbox=2&bbox=3", "bbox=1,1,2,2&bbox=1,1,2,2", "sortby=name&sortby=x"])
def test_a_repeated_list_is_read_as_one(client: TestClient, query: str) -> None:
    answer = client.get(f"/collections/parks/items?{query}")
    assert (answer.status_code, answer.json()["parameter"]) == (400, query.partition("=")[0])


def test_geometries_can_be_skipped(client: TestClient) -> None:
    document = get(client, "/collections/parks/items", skipGeometry="true")
    assert {feature["geometry"] for feature in document["features"]} == {None}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("foo=1", "foo"),
        ("Limit=1", "Limit"),
        ("limit=1&limit=2", "limit"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("offset=-1", "offset"),
        ("bbox=1,2,3", "bbox"),
        ("bbox=1,2,3,x", "bbox"),
        ("bbox=1,2,3,nan", "bbox"),
        ("bbox=1,4,3,2", "bbox"),
        ("bbox=3,2,1,4&bbox-crs=http://www.opengis.net/def/crs/EPSG/0/3857", "bbox"),
        ("bbox-crs=http://www.opengis.net/def/crs/EPSG/0/2154", "bbox-crs"),
        ("crs=EPSG:3035;DROP", "crs"),
        ("class_code=water", "class_code"),
        ("class_code=9223372036854775808", "class_code"),
        ("area_m2=big", "area_m2"),
        ("properties=secret", "properties"),
        ("properties=", "properties"),
        ("sortby=fid;DROP TABLE land_cover", "sortby"),
        ("skipGeometry=perhaps", "skipGeometry"),
        ("datetime=yesterday", "datetime"),
        ("datetime=2024-01-01/2023-01-01", "datetime"),
        ("f=kml", "f"),
    ],
)
def test_mistakes_are_named(client: TestClient, query: str, said: str) -> None:
    answer = client.get(f"{LAND_COVER}?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["parameter"] == said
    assert "allowed" in answer.json()["detail"]


def test_an_unknown_parameter_is_400_with_the_allowed_ones(client: TestClient) -> None:
    detail = client.get(f"{LAND_COVER}?foo=1").json()["detail"]
    assert all(name in detail for name in ("bbox", "class_code", "sortby"))


def test_a_large_limit_is_cut_not_refused(client: TestClient) -> None:
    document = get(client, LAND_COVER, limit=1_000_000, skipGeometry="true")
    assert document["numberReturned"] == 10_000
    assert any(link["rel"] == "next" for link in document["links"])


def test_items_come_as_json_ld_and_csv_too(client: TestClient) -> None:
    page = client.get("/collections/parks/items?limit=2&offset=1", headers={"accept": "application/ld+json"})
    assert page.headers["content-type"] == "application/ld+json"
    first = get(client, "/collections/parks/items", limit=2, offset=1)["features"][0]
    address = f"{URL}/collections/parks/items/{first['id']}"
    assert page.json()["features"][0] == {"@type": "schema:Place", "@id": address}
    assert get(client, "/collections/parks/items", f="jsonld", bbox="0,0,1,1")["features"] == []
    item = get(client, f"/collections/parks/items/{first['id']}", f="jsonld")
    assert item["@id"] == address
    assert item["gsp:hasGeometry"]["gsp:asWKT"]["@value"].startswith(("POLYGON ((", "MULTIPOLYGON ((("))
    assert first["properties"].items() <= item.items()
    rows = client.get("/collections/parks/items?f=csv&sortby=name&limit=3")
    assert rows.headers["content-type"] == "text/csv; charset=utf-8"
    names = [each["properties"]["name"] for each in get(client, "/collections/parks/items", sortby="name")["features"]]
    assert [row["name"] for row in csv.DictReader(StringIO(rows.text))] == names[:3]


def test_hits_returns_only_the_number_of_items(client: TestClient) -> None:
    hits = get(client, "/collections/nations/items", resulttype="hits", code="GB")
    assert (hits["numberMatched"], hits["numberReturned"], hits["features"]) == (3, 0, [])
    assert {link["rel"] for link in hits["links"]} == {"self", "alternate", "collection"}
    assert client.get("/collections/nations/items?resulttype=all").status_code == 400


def test_one_item_is_returned(client: TestClient) -> None:
    answer = client.get("/collections/nations/items/AL_2462")
    assert answer.headers["content-type"] == "application/geo+json"
    document = answer.json()
    assert (document["id"], document["type"]) == ("AL_2462", "Feature")
    assert document["properties"] == {"name": "ALBANIA", "title": "Albania", "code": "AL", "epsg": 2462}
    assert {link["rel"] for link in document["links"]} == {"self", "alternate", "collection"}
    assert get(client, "/collections/parks/items/852")["properties"]["name"] == "Karkonoski National Park"


@pytest.mark.parametrize(
    "path",
    [
        "nations/items/XX_1", "parks/items/0", "parks/items/x", "parks/items/1e9", "parks/items/99999999999999999999",
        "clcplus-vector/items/-1", "clcplus-raster/items", "clcplus-raster/items/1", "nothing/items",
    ],
)  # fmt: skip
def test_missing_resources_are_404(client: TestClient, path: str) -> None:
    answer = client.get(f"/collections/{path}")
    assert answer.status_code == 404
    assert answer.json()["type"].startswith("http://www.opengis.net/def/exceptions/")


@pytest.mark.parametrize(
    ("path", "kind"),
    [("clcplus-raster/items", "items"), ("clcplus-raster/items/1", "items"), ("parks/coverage", "coverage")],
)
def test_a_collection_of_another_type_has_no_items(client: TestClient, path: str, kind: str) -> None:
    detail = client.get(f"/collections/{path}").json()["detail"]
    assert detail == f"collection {path.partition('/')[0]!r} has no {kind}"


def test_a_missing_file_is_503_and_the_others_are_served(
    make_app: Callable[..., Starlette], configuration: dict[str, Any], tmp_path: Path
) -> None:
    configuration["resources"]["parks"]["providers"][0]["data"] = str(tmp_path / "gone.gpkg")
    with TestClient(make_app(configuration), base_url="http://inside.invalid") as client:
        for path in ("/collections/parks/items", "/collections/parks/items/852"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert "gone" not in answer.text
        assert client.get("/collections/nations/items").status_code == 200


def test_html_pages_escape_their_content(
    make_app: Callable[..., Starlette], configuration: dict[str, Any], sample: Path, tmp_path: Path
) -> None:
    wicked = tmp_path / "wicked.gpkg"
    wicked.write_bytes((sample / "sample" / "parks.gpkg").read_bytes())
    with sqlite3.connect(wicked) as connection:
        for trigger in ("update3", "update4"):
            connection.execute(f"DROP TRIGGER rtree_parks_geometry_{trigger}")
        connection.execute("UPDATE parks SET name = '<script>alert(1)</script>' WHERE fid = 852")
    configuration["resources"]["parks"]["providers"][0]["data"] = str(wicked)
    with TestClient(make_app(configuration), base_url="http://inside.invalid") as client:
        for path in ("/collections/parks/items?f=html&limit=5", "/collections/parks/items/852?f=html"):
            answer = client.get(path)
            assert answer.headers["content-type"].startswith("text/html")
            assert "<script>" not in answer.text
            hosts = re.findall(r"(?:src|href)=\"(https?://[^/\"]+)", answer.text)
            assert set(hosts) == {"https://maps.example.org"}
        assert "&lt;script&gt;" in answer.text


def test_pages_link_items_and_the_next_page(client: TestClient) -> None:
    page = client.get("/collections/nations/items", headers={"accept": "text/html"}).text
    assert f'href="{URL}/collections/nations/items/AL_2462?f=html"' in page
    assert 'rel="next"' in page
    assert "<dt>epsg</dt><dd>2462</dd>" in client.get("/collections/nations/items/AL_2462?f=html").text


def test_answers_are_strict_json(client: TestClient) -> None:
    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    json.loads(client.get(LAND_COVER).text, parse_constant=refuse)


def page_after(client: TestClient, cursor: str, **parameters: Any) -> Any:
    return client.get("/collections/nations/items", params={"limit": 7, "cursor": cursor, **parameters})


def cursor_of(document: Any, rel: str) -> str:
    (link,) = [link for link in document["links"] if link["rel"] == rel]
    return str(dict(parse_qsl(urlsplit(link["href"]).query))["cursor"])


def test_a_forged_or_foreign_cursor_is_refused(client: TestClient) -> None:
    real = cursor_of(get(client, "/collections/nations/items", limit=7), "next")
    assert page_after(client, real).status_code == 200
    signed = urlsafe_b64decode(real + "=" * (-len(real) % 4))
    forged = urlsafe_b64encode(signed[:16] + b"[[1],false,1]").decode()
    for text in (
        forged,
        real[:-2],
        real + "AAAA",
        "",
        "x" * 20_000,
        "[[1],false,1]",
        "é",
        "' OR 1=1 --",
        "\0",
        "=",
        "A" * 22,
    ):
        refused = page_after(client, text)
        assert (refused.status_code, refused.json()["parameter"]) == (400, "cursor"), text
    for sortby in ("name", "-name"):
        assert page_after(client, real, sortby=sortby).status_code == 400
    assert client.get("/collections/parks/items", params={"cursor": real}).status_code == 400
    assert page_after(client, real, offset=3).json()["parameter"] == "offset"


def test_prev_returns_to_the_former_page_and_pages_are_numbered(client: TestClient) -> None:
    first = get(client, "/collections/nations/items", limit=7, sortby="-name")
    second = page_after(client, cursor_of(first, "next"), sortby="-name").json()
    assert ids(page_after(client, cursor_of(second, "prev"), sortby="-name").json()) == ids(first)
    assert "Items 8 to 14 of 46" in page_after(client, cursor_of(second, "self"), sortby="-name", f="html").text


def matching(client: TestClient, **parameters: Any) -> list[Any]:
    return ids(get(client, "/collections/nations/items", limit=100, **parameters))


def test_a_filter_selects_items_in_text_and_json_and_is_counted(client: TestClient) -> None:
    whole = get(client, "/collections/nations/items", limit=100)["features"]
    expected = [each["id"] for each in whole if each["properties"]["code"] in {"GB", "PL"}]
    assert len(expected) > 1
    text = "code IN ('GB', 'PL')"
    tree = {"op": "in", "args": [{"property": "code"}, ["GB", "PL"]]}
    assert matching(client, filter=text) == expected
    assert matching(client, **{"filter": text, "filter-lang": "cql-text"}) == expected
    assert matching(client, **{"filter": json.dumps(tree), "filter-lang": "cql2-json"}) == expected
    hits = get(client, "/collections/nations/items", filter=text, resulttype="hits")
    assert (hits["numberMatched"], hits["features"]) == (len(expected), [])
    place = "S_INTERSECTS(geometry, POINT(21 52.2))"
    assert matching(client, filter=place) == ["PL_2180"]
    northing = {"filter": "S_INTERSECTS(geometry, POINT(52.2 21))", "filter-crs": f"{EPSG}/4326"}
    assert matching(client, **northing) == ["PL_2180"]
    assert matching(client, filter=f"{place} AND code = 'GB'") == []


def test_a_filter_applies_to_all_pages(client: TestClient) -> None:
    text = "NOT code = 'PL'"
    first = get(client, "/collections/nations/items", limit=7, filter=text)
    second = page_after(client, cursor_of(first, "next"), filter=text).json()
    assert [*ids(first), *ids(second)] == matching(client, filter=text)[:14]


@pytest.mark.parametrize(
    ("parameters", "parameter", "reason"),
    [
        ({"filter": "code = "}, "filter", "too early"),
        ({"filter": "code = 'x' AND"}, "filter", "character 14"),
        ({"filter": "code ? 1"}, "filter", "line 1, column 6"),
        ({"filter": "fid = 1"}, "filter", "no property 'fid'"),
        ({"filter": "1; DROP TABLE nations"}, "filter", "column 2"),
        ({"filter": "x" * 15_000}, "filter", "no property|allowed"),
        ({"filter": "(" * 15_000}, "filter", "too early"),
        ({"filter": "[" * 15_000, "filter-lang": "cql2-json"}, "filter", "JSON"),
        ({"filter": "{}", "filter-lang": "cql2-json"}, "filter", "allowed"),
        ({"filter": "TRUE", "filter-lang": "sql"}, "filter-lang", "cql2-text"),
        ({"filter": "TRUE", "filter-crs": "EPSG:1"}, "filter-crs", "allowed"),
        ({"filter": "S_INTERSECTS(geometry, POINT(1 1e999))"}, "filter", "below|geometry"),
    ],
    ids=str,
)
def test_a_filter_that_cannot_be_answered_is_400(
    client: TestClient, parameters: dict[str, str], parameter: str, reason: str
) -> None:
    answer = client.get("/collections/nations/items", params=parameters)
    assert (answer.status_code, answer.json()["parameter"]) == (400, parameter), answer.text
    assert re.search(reason, answer.json()["detail"])
    assert len(answer.content) < 2_000


def test_sql_in_every_parameter_changes_nothing(client: TestClient) -> None:
    """Each is refused, or is a value that no item has."""
    everything = get(client, "/collections/nations/items", limit=100)
    for name in (*(each.name for each in ITEMS_PARAMETERS), "code", "name", "f", "lang"):
        for text in ("' OR 1=1 --", "1; DROP TABLE nations; --", '") UNION SELECT 1', "%00", "\\"):
            answer = client.get("/collections/nations/items", params={name: text})
            free = name in {"lang", "profile"}
            assert answer.status_code == 400 or answer.json()["features"] == [] or free, (name, text)
    assert ids(get(client, "/collections/nations/items", limit=100)) == ids(everything)
