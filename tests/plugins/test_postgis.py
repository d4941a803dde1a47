"""The provider of PostGIS tables: its answers for tables of every kind, and its refusals."""

import inspect
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shapely
from psycopg2.extensions import parse_dsn
from pygeoapi.api.itemtypes import get_collection_item, get_collection_items
from pygeoapi.crs import create_crs_transform_spec
from pygeoapi.plugin import load_plugin
from pygeoapi.provider.base import (
    ProviderConnectionError,
    ProviderInvalidQueryError,
    ProviderItemNotFoundError,
    ProviderRequestEntityTooLargeError,
)

from auth.access import Verdict, current_verdict
from plugins import postgis_page
from plugins.crs import CRS84, Box, crs_of
from plugins.features import ItemPage, ItemQuery, TileQuery
from plugins.postgis import PostgisProvider
from products.operation import reproject
from products.vector.query import Selection, SortKey
from tests.postgres import Postgres

EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
ODD = 'Ünï"c%ö%%de s'
READER = f"reader_{os.getpid()}"
MADE: dict[str, PostgisProvider] = {}
"""The providers by their definitions: making one asks the catalog."""
FIRST, SECOND = (f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2))


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> str:
    url = postgres.spatial()
    postgres.run(url, f"create role {READER} login password 'reader-password'")
    postgres.run(url, Path("tests/odd/tables.sql").read_text().replace(":reader", READER))
    return url


def provider(url: str, table: str = "places", *, user: str | None = None, **given: Any) -> PostgisProvider:
    data = {**parse_dsn(url), **({"user": user, "password": "reader-password"} if user else {})}
    definition = {"type": "feature", "name": "plugins.postgis.PostgisProvider", "table": table, "data": data}
    definition |= given
    if (name := repr(definition)) not in MADE:
        made = load_plugin("provider", definition)
        assert isinstance(made, PostgisProvider)
        MADE[name] = made
    return MADE[name]


def ids(page: dict[str, Any]) -> list[Any]:
    return [feature["id"] for feature in page["features"]]


@pytest.mark.parametrize(
    ("handler", "method"),
    [(get_collection_items, PostgisProvider.query), (get_collection_item, PostgisProvider.get)],
)
def test_every_argument_of_a_handler_has_a_name(handler: Any, method: Any) -> None:
    source = inspect.getsource(handler)
    given = {name for name in inspect.signature(method).parameters if name not in {"self", "crs"}}
    assert {name for name in given if f"{name}=" in source or f"'{name}'" in source or name == "identifier"} == given
    with pytest.raises(TypeError):
        method(object(), unheard_of=1)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"offset": 1, "limit": 1}, [2]),
        ({"bbox": [20.05, 49, 20.15, 51]}, [2]),
        ({"bbox": [20.05, 49, 0, 20.15, 51, 9]}, [2]),
        ({"bbox": [20.1, 50, 20.1, 50]}, [2]),
        ({"bbox": [170, 49, 20.05, 51]}, [1]),
        ({"bbox": [-60, -60, -59, -59]}, []),
        ({"datetime_": "2020-01-01/.."}, [2, 3]),
        ({"properties": [("name", "c")]}, [3]),
        ({"properties": [("size", "1.5"), ("name", "a")]}, [1]),
        ({"properties": [("raw", "Ag==")]}, [3]),
        ({"properties": [("year", 2020)]}, [2]),
        ({"properties": [("year", str(2**62))]}, []),
        ({"properties": [("name", "a"), ("name", "a")]}, [1]),
        ({"properties": [("name", "\0")]}, []),
        ({"properties": [("name", "\ud800")]}, []),
        ({"sortby": [{"property": "name", "order": "-"}]}, [3, 2, 1]),
        ({"sortby": [{"property": "size", "order": "+"}]}, [2, 1, 3]),
        ({"resulttype": "hits"}, []),
    ],
    ids=str,
)
def test_items_by_argument(database: str, arguments: dict[str, Any], expected: list[int]) -> None:
    page = provider(database).query(**arguments)
    assert ids(page) == expected
    assert page["numberReturned"] == len(expected)
    if not arguments.keys() & {"offset", "resulttype"}:
        assert page["numberMatched"] == len(expected)


def test_the_shape_of_items(database: str) -> None:
    [feature] = provider(database).query(limit=1, select_properties=["size"], skip_geometry=True)["features"]
    assert feature == {"type": "Feature", "id": 1, "geometry": None, "properties": {"size": 1.5}}
    assert "numberMatched" not in provider(database, count=False).query(limit=1)
    assert provider(database, count=False).query(resulttype="hits")["numberMatched"] == 3
    assert provider(database, "nothing_there").query(bbox=[0, 0, 1, 1])["features"] == []
    assert provider(database).editable is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"offset": 10**30}, "offset"), ({"limit": -1}, "limit"), ({"limit": True}, "limit"),
        ({"resulttype": "all"}, "resulttype"), ({"bbox": [1, 2, 3]}, "bbox"), ({"bbox": [1, 3, 2, 2]}, "bbox"),
        ({"datetime_": "soon"}, "datetime"), ({"properties": [("none", "1")]}, "properties: 'none'"),
        ({"properties": [("size", "large")]}, "size: allowed"), ({"sortby": [{"property": "none"}]}, "sortby"),
        ({"select_properties": ["none"]}, "properties"), ({"q": ","}, "q: "), ({"filterq": ["a filter"]}, "filter: "),
        ({"language": "de"}, "lang: de"),
    ],
    ids=str,
)  # fmt: skip
def test_invalid_arguments_of_items_are_refused(database: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ProviderInvalidQueryError) as refused:
        provider(database).query(**arguments)
    assert refused.value.http_status_code == 400
    assert refused.value.message.startswith(said)


def test_coordinates_have_the_order_of_their_system(database: str) -> None:
    def first(asked: str | None, **more: Any) -> list[float]:
        made = provider(database, **more)
        spec = create_crs_transform_spec({"crs": [asked], **more}, asked) if asked else None
        item = made.get("1", crs_transform_spec=spec)
        assert made.query(limit=1, crs_transform_spec=spec)["features"][0]["geometry"] == item["geometry"]
        return list(item["geometry"]["coordinates"])

    assert first(None) == [20, 50]
    assert first(f"{EPSG}4326") == [50, 20]
    assert first(f"{EPSG}4326", always_xy=True) == [20, 50]
    assert first(f"{EPSG}3857") == pytest.approx([2226389.82, 6446275.84])
    assert first(f"{EPSG}2180") == pytest.approx([237_447, 571_645], abs=1)  # northing first
    assert first("http://www.opengis.net/def/crs/ESRI/0/54009") == pytest.approx([1_600_000, 5_900_000], rel=0.1)
    assert first(None, storage_crs=f"{EPSG}4326") == [50, 20]


def by_id(page: dict[str, Any]) -> dict[str, Any]:
    return {feature["id"]: feature for feature in page["features"]}


def test_every_type_of_geometry_is_geojson(database: str) -> None:
    """Curves become lines, surfaces polygons, empty geometries null; the role cannot read one of the columns."""
    made = provider(database, ODD, user=READER)
    assert list(made.get_fields()) == ['a"b%s', "ж"]
    found = by_id(made.query(limit=100))
    geometries = {name: each["geometry"] for name, each in found.items()}
    assert {name for name, each in geometries.items() if each is None} == {"none", "empty", "far", "no number"}
    assert {name: each["type"] for name, each in geometries.items() if each} == {
        "circle": "Polygon", "circles": "MultiPolygon", "tin": "MultiPolygon", "surface": "MultiPolygon",
        "triangle": "Polygon", "clockwise": "Polygon", "high": "Point", "measured": "Point",
        "both": "GeometryCollection", '"a/\\%s ü': "LineString",
    }  # fmt: skip
    assert geometries["high"]["coordinates"] == pytest.approx([10, 52, 77.5])
    assert geometries["measured"]["coordinates"] == pytest.approx([10, 52])
    assert len(geometries["circle"]["coordinates"][0]) > 50
    (x0, y0), (x1, y1), (x2, y2), _ = geometries["clockwise"]["coordinates"][0]
    assert (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0) > 0
    assert found["circle"]["properties"] == {'a"b%s': 1, "ж": None}
    for name, feature in found.items():  # the page is PROJ's work from "far" on, one item that of PostGIS
        one = made.get(name)
        assert {**one, "geometry": None} == {**feature, "geometry": None}
        if one["geometry"]:
            there, here = shapely.from_geojson([json.dumps(one["geometry"]), json.dumps(feature["geometry"])])
            assert shapely.equals_exact(there, here, 1e-6)
    around = {name for name, each in geometries.items() if each} | {"none", "empty"}
    near = by_id(made.query(limit=100, bbox=[9.99, 51.99, 10.01, 52.01]))
    assert set(near) == around - {"empty"}  # an empty one is no unplaced one, and meets nothing
    assert ids(made.query(properties=[('a"b%s', "11")])) == ['"a/\\%s ü']
    assert ids(made.query(limit=3, sortby=[{"property": 'a"b%s', "order": "-"}])) == [
        "clockwise",
        "triangle",
        '"a/\\%s ü',
    ]
    assert ids(made.query(limit=2, sortby=[{"property": 'a"b%s', "order": "+"}])) == ["surface", "circle"]


SEEN = {
    "b": True, "i2": 1, "i8": 9007199254740993, "r": 1.1, "n": 1.1, "t": 'q"\\\n%s', "v": "abc", "c": "ab  ",
    "d": "2020-02-03", "ts": "2020-02-03T04:05:06.7+00:00", "tz": "2020-02-03T02:05:06+00:00", "y": "AP8=",
    "j": {"a": [1, 2]}, "jb": [1], "e": "10.0.0.1/32", "iv": "P1DT2H", "arr": [1, None], "rg": "[1,5)", "pt": "(1,2)",
    "x": "<a/>", "mo": "$5.00", "sh": "red", "tn": "dark",
}  # fmt: skip


def test_every_type_of_column_is_json(database: str) -> None:
    made = provider(database, "types", user=READER)
    one, other = made.query()["features"]
    assert (one["id"], other["id"]) == (FIRST, SECOND)
    assert one["properties"] == SEEN
    assert set(other["properties"].values()) == {None}
    assert made.get(FIRST) == one
    assert {name: each["type"] for name, each in made.get_fields().items()} == {
        **dict.fromkeys(SEEN, "string"), "b": "boolean", "i2": "integer", "i8": "integer", "r": "number",
        "n": "number", "j": "object", "jb": "object", "arr": "array",
    }  # fmt: skip
    assert made.query(bbox=[179, 0, -179, 20])["features"] == [other]
    assert made.get_domains(["tn", "n", "y"]) == ({"tn": ["dark"], "n": [1.1]}, True)


@pytest.mark.parametrize("name", SEEN)
def test_items_are_found_and_ordered_by_every_type_of_column(database: str, name: str) -> None:
    made = provider(database, "types", user=READER)
    given = {"b": "true", "n": "1.10", "j": '{"a": [1, 2]}', "jb": "[1]", "arr": "{1,NULL}"}.get(name, str(SEEN[name]))
    assert ids(made.query(properties=[(name, given)])) == [FIRST]
    least = FIRST if name in {"n", "d"} else SECOND  # which has NaN and infinity there, though JSON has no such values
    most = SECOND if least == FIRST else FIRST
    for order, expected in (("+", [least, most]), ("-", [most, least])):
        assert ids(made.query(sortby=[{"property": name, "order": order}])) == expected
        paged = list(pages(made, ItemQuery(limit=1, selection=Selection(order=(SortKey(name, order == "-"),)))))
        assert [feature["id"] for page in paged for feature in page.features] == expected


@pytest.mark.parametrize(("name", "value"), [("d", "soon"), ("ts", "1"), ("tz", ""), ("i2", "1.5"), ("b", "1")])
def test_values_of_a_wrong_type_are_refused(database: str, name: str, value: str) -> None:
    with pytest.raises(ProviderInvalidQueryError, match=r"allowed|Invalid"):
        provider(database, "types").query(properties=[(name, value)])


@pytest.mark.parametrize("name", ["v", "c", "e", "iv", "arr", "rg", "pt", "x", "mo", "sh", "tn", "t", "j"])
@pytest.mark.parametrize("value", ["'; drop table types; --", '"', "%s%(a)s", "\\", "ü" * 5_000, "", "{", "now()"])
def test_a_text_is_never_sql(database: str, name: str, value: str) -> None:
    assert provider(database, "types").query(properties=[(name, value)])["features"] == []


@pytest.mark.parametrize("identifier", ["0", "-1", "9" * 30, "1 or 1=1", "1.0", "01", "", "ü", "\0", "\ud800", "1;--"])
def test_an_invalid_id_is_not_found(database: str, identifier: str) -> None:
    for table in ("places", "types", ODD):
        with pytest.raises(ProviderItemNotFoundError):
            provider(database, table).get(identifier)


def pages(made: PostgisProvider, query: ItemQuery) -> Any:
    """Yield the pages from the first to the last."""
    while True:
        page = made.find(query)
        yield page
        if page.summary.next is None:
            return
        query = ItemQuery(
            boxes=query.boxes, selection=query.selection, limit=query.limit, after=page.summary.next
        )  # fmt: skip


@pytest.mark.parametrize(
    "order", [(), (SortKey("class_code"),), (SortKey("area", descending=True), SortKey("class_code"))]
)
def test_pages_forward_and_backward_have_every_item_once(database: str, order: tuple[SortKey, ...]) -> None:
    made, box = provider(database, "fields"), Box((4321050, 3210050, 4324999, 3214999), crs_of(3035))
    query = ItemQuery(boxes=(box,), selection=Selection(order=order), limit=333)
    there: list[ItemPage] = list(pages(made, query))
    found = [feature["id"] for page in there for feature in page.features]
    assert len(found) == len(set(found)) == 40 * 50
    whole = made.find(ItemQuery(boxes=(box,), selection=Selection(order=order), limit=10_000))
    assert found == [feature["id"] for feature in whole.features]
    assert (whole.summary.matched, whole.summary.estimated, whole.summary.more) == (2000, False, False)
    back: list[Any] = []
    place = there[-1].summary.previous
    while place is not None:
        page = made.find(ItemQuery(boxes=(box,), selection=Selection(order=order), limit=333, after=place))
        back = [feature["id"] for feature in page.features] + back
        assert page.summary.more
        place = page.summary.previous
    assert back + [feature["id"] for feature in there[-1].features] == found


def test_written_items_equal_the_found_ones(database: str) -> None:
    made = provider(database, "fields")
    query = ItemQuery(limit=1_234, offset=77, crs=crs_of(3035))
    file = io.BytesIO()
    summary = made.write(query, file)
    found = made.find(query)
    assert json.loads(f"[{file.getvalue().decode()}]") == found.features
    assert summary == found.summary
    assert (summary.returned, summary.matched, summary.estimated) == (1_234, 12_000, False)
    assert found.features[0]["id"] == 77
    assert [3210000, 4328700] in found.features[0]["geometry"]["coordinates"][0]


def test_the_number_of_many_items_is_estimated(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MADE.clear()
    monkeypatch.setattr(postgis_page, "_FEW", 1_000)
    monkeypatch.setattr(postgis_page, "_SMALL_TABLE", 1_000)
    made = provider(database, "fields")
    box = Box((4321000, 3210000, 4327000, 3220000), crs_of(3035))
    for query, true in ((ItemQuery(limit=1), 12_000), (ItemQuery(limit=1, boxes=(box,)), 6_100)):
        cheap = made.find(query).summary
        assert cheap.estimated
        assert cheap.matched == pytest.approx(true, rel=0.3)
    exact = made.find(ItemQuery(limit=1, boxes=(box,), counting="exact")).summary
    assert (exact.matched, exact.estimated) == (6_100, False)
    assert made.find(ItemQuery(limit=1, counting="none")).summary.matched is None


def test_a_page_ends_before_it_is_too_large(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgis_page, "_MAX_BYTES", 1_000)
    made = provider(database, "fields")
    page = made.find(ItemQuery(limit=500))
    assert 0 < page.summary.returned < 10
    assert page.summary.more
    assert made.find(ItemQuery(limit=1, after=page.summary.next)).features[0]["id"] == page.summary.returned
    with pytest.raises(ProviderRequestEntityTooLargeError, match="at a time"):
        made.query(limit=500)


def test_a_box_is_compared_with_outlines_in_its_own_system(database: str) -> None:
    """A box in degrees is not a box in the table's CRS: the box of its two corners contains other items."""
    made = provider(database, "fields")
    box = (10.02, 52.01, 10.13, 52.07)
    found = {feature["id"] for feature in made.find(ItemQuery(boxes=(Box(box, CRS84),), limit=10_000)).features}
    sql = (
        "select id from fields where st_intersects(geom, st_transform(st_segmentize("
        "st_makeenvelope(10.02, 52.01, 10.13, 52.07, 4326), 0.0005), 3035))"
    )
    assert found == {row[0] for row in made._live.pool.rows(sql)}
    assert len(found) > 1_000


@pytest.mark.parametrize(
    ("fields", "asked", "expected"),
    [
        (["begins", "ends"], "2020-06-01", [1]), (["begins", "ends"], "../2018-01-01", [2]),
        (["begins", "ends"], "2021-01-01/..", [3]), (["begins", "ends"], "2020-12-31T23:00:00Z", [1]),
        (["begins", "ends"], "2020-12-31T23:00:01Z", []), ("begins", "2020-01-01T12:00:00Z", [1, 2]),
        ("ends", "2019-06-01", [2, 3]), ("label", "2019-05-31", [2, 3]), ("label", "2020-07-01/..", [1, 3]),
    ],
    ids=str,
)  # fmt: skip
def test_items_are_selected_by_time(database: str, fields: Any, asked: str, expected: list[int]) -> None:
    assert ids(provider(database, "periods", time_field=fields).query(datetime_=asked)) == expected


def test_the_extent_has_the_time_of_the_items(database: str) -> None:
    def extent(table: str, **given: Any) -> list[str] | None:
        found = provider(database, table, **given).time_extent
        return found and [instant.isoformat() for instant in found if instant]

    assert extent("periods", time_field=["begins", "ends"]) is None
    assert extent("periods", time_field="begins") == ["2020-01-01T00:00:00+00:00", "2021-01-01T23:59:59.999999+00:00"]
    assert extent("places") == ["2019-01-01T00:00:00+00:00", "2021-12-31T23:59:59.999999+00:00"]
    assert extent("nothing_there") is None


def test_a_view_uses_the_configured_id_field(database: str) -> None:
    made = provider(database, "seen", user=READER, id_field="code", geom_field="shape")
    assert ids(made.query(bbox=[19, 49, 21, 51])) == [FIRST]
    assert made.get(FIRST)["properties"] == {"i8": 9007199254740993, "d": "2020-02-03"}


def test_the_geometry_in_longitude_and_latitude_is_used(database: str) -> None:
    made = provider(database, "by_both")
    assert made.geometry_name == "geom"
    assert made.get("1")["geometry"]["coordinates"] == [7, 8]
    assert made.get("1", crs=crs_of(3035))["geometry"]["coordinates"] == [3210000, 4321000]


@pytest.mark.parametrize(
    ("table", "given", "said"),
    [
        ("none", {}, "no table 'none'"), ("no_key", {}, "no primary key"), ("two_keys", {}, "no primary key"),
        ("no_geometry", {}, "no column of geometry"), ("no_system", {}, "storage_crs"),
        ("places", {"id_field": "none"}, "no column 'none'"), ("places", {"geom_field": "name"}, "is not a geometry"),
        ("places", {"properties": ["none"]}, "no column none"), ("places", {"time_field": "none"}, "no column none"),
        ("places; drop table places", {}, "no table"),
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_do_not_match_the_table_are_named(
    database: str, table: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ProviderConnectionError, match=said):
        provider(database, table, **given).get_fields()


def test_an_unreadable_column_is_left_out(database: str) -> None:
    with pytest.raises(ProviderConnectionError, match="may not be read"):
        provider(database, ODD, user=READER, id_field="secret").get_fields()
    assert "secret" in provider(database, ODD).get_fields()
    with pytest.raises(ProviderInvalidQueryError):
        provider(database, ODD, user=READER).query(properties=[("secret", "x")])


def test_the_system_of_a_table_can_be_configured(database: str) -> None:
    made = provider(database, "no_system", storage_crs=f"{EPSG}3035")
    assert made.get("1", crs=CRS84)["geometry"]["coordinates"] == pytest.approx([10, 52])
    assert made.storage_crs_uri == f"{EPSG}3035"


def test_nothing_secret_is_shown(database: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    made = provider(database)
    made.query()
    wrong = provider(database, user="nobody")
    with pytest.raises(ProviderConnectionError) as refused:
        wrong.get_fields()
    shown = f"{made!r} {made._live.pool!r} {made._live._source!r} {vars(made)} {refused.value} {caplog.text}"
    assert "test-password" not in shown
    assert "reader-password" not in shown


def test_the_provider_cannot_write(database: str) -> None:
    made = provider(database)
    with pytest.raises(Exception, match="SQLSTATE 25006"):
        made._live.pool.rows("delete from places")
    assert len(made.query()["features"]) == 3


def test_a_tile_has_only_the_items_that_the_caller_may_see(database: str) -> None:
    """PostGIS writes the tile; its bytes contain the layer, the ids and the attributes as plain text."""
    made = provider(database, "fields")
    [(west, south, east, north)] = [reproject((10.0, 52.0, 10.02, 52.01), 4326, 3857)]
    asked = TileQuery((west, south, east, north), crs_of(3857), "the layer", 100)
    content = made.tile(asked)
    assert b"the layer" in content
    assert b"class_code" in content
    reset = current_verdict.set(Verdict(allowed=True, rows=("class_code = 99",)))
    try:
        assert made.tile(asked) == b""
    finally:
        current_verdict.reset(reset)
    far = TileQuery((0, 0, 1_000, 1_000), crs_of(3857), "the layer", 100)
    assert made.tile(far) == b""
    for table in ("places", "types", ODD):
        found = provider(database, table)
        wide = TileQuery((-2e7, -2e7, 2e7, 2e7), crs_of(3857), "l", 100)
        assert bool(found.tile(wide)) == bool(found.find(ItemQuery(limit=1)).features), table
    few, more = (len(made.tile(replace(asked, most=most))) for most in (1, 2))
    assert few < more
