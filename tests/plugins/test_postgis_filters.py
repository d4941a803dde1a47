"""CQL2 on PostGIS tables: selected items, unsupported filters, and the row and area rules of a policy."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import shapely
from psycopg2.extensions import parse_dsn
from pygeoapi.provider.base import ProviderItemNotFoundError

from auth.access import Verdict, current_verdict
from auth.policy import RestrictionUnsupported
from plugins.features import ItemQuery
from plugins.postgis import PostgisProvider
from products.area import Area
from products.vector.cql import Filter, FilterError, read_text
from products.vector.query import Selection
from tests.postgres import Postgres

A = "00000000-0000-0000-0000-000000000001"
B = "00000000-0000-0000-0000-000000000002"


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> str:
    url = postgres.spatial()
    reader = f"filter_reader_{os.getpid()}"
    postgres.run(url, f"create role {reader}")
    postgres.run(url, Path("tests/odd/tables.sql").read_text().replace(":reader", reader))
    return url


@pytest.fixture(scope="module")
def tables(database: str) -> dict[str, PostgisProvider]:
    definition = {"type": "feature", "name": "plugins.postgis.PostgisProvider", "data": parse_dsn(database)}
    named: dict[str, dict[str, Any]] = {
        "periods": {"time_field": ["begins", "ends"]},
        "odd": {"table": 'Ünï"c%ö%%de s'},
    }
    return {
        name: PostgisProvider({**definition, "table": name, **named.get(name, {})})
        for name in ("places", "types", "periods", "odd", "fields")
    }


def selected(made: PostgisProvider, text: str) -> list[Any]:
    page = made.find(ItemQuery(limit=10_000, selection=Selection(filters=(Filter(read_text(text)),))))
    return [feature["id"] for feature in page.features]


@pytest.mark.parametrize(
    ("table", "text", "expected"),
    [
        ("places", "name = 'a'", [1]), ("places", "name <> 'a'", [2, 3]), ("places", "NOT name = 'a'", [2, 3]),
        ("places", "size > 1.5 OR name IN ('a', 'b')", [1, 2, 3]), ("places", "size IS NULL", [2]),
        ("places", "year BETWEEN 2020 AND 2021", [2, 3]), ("places", "casei(name) = casei('B')", [2]),
        ("places", "size * 2 = 5", [3]), ("places", "size / 0 = 1", []), ("places", "year % 2 = 1", [1, 3]),
        ("places", "year div 10 = 202", [2, 3]), ("places", "size ^ 2 = 2.25", [1]), ("places", "size ^ 5000 > 1", []),
        ("places", "9223372036854775807 + year > 1", [1, 2, 3]), ("places", "geom IS NULL", []),
        ("places", "S_INTERSECTS(geom, BBOX(20.05, 49, 20.15, 51))", [2]),
        ("places", "T_AFTER(year, DATE('2020-06-01'))", [3]), ("places", "S_DISJOINT(geom, POINT(20 50))", [2, 3]),
        ("places", "S_WITHIN(geom, POLYGON((19 49, 20.05 49, 20.05 51, 19 51, 19 49)))", [1]),
        ("places", "accenti(name) = accenti('ä')", [1]), ("places", "name LIKE '%'", [1, 2, 3]),
        ("places", "name LIKE '_'", [1, 2, 3]), ("places", "name LIKE 'b%'", [2]), ("types", "id = 'x'", FilterError),
        ("types", "t LIKE 'q\"\\\\%'", [A]), ("types", "tn = 'dark'", [A]), ("types", "NOT b", []),
        ("types", "e = '10.0.0.1/32'", [A]), ("types", "r = 1.1", [A]), ("types", "n = 1.1", [A]), ("types", "b", [A]),
        ("types", "d = DATE('2020-02-03')", [A]), ("types", "ts < TIMESTAMP('2020-02-03T04:05:07Z')", [A]),
        ("types", "tz = DATE('2020-02-03')", [A]), ("types", "i8 = 9007199254740993", [A]), ("types", "c = 'ab'", [A]),
        ("periods", "T_INTERSECTS(begins, INTERVAL('2020-01-01', '..'))", [1, 3]),
        ("odd", '"a""b%s" = 11', ['"a/\\%s ü']), ("odd", '"ж" > 1 AND "a""b%s" > 11', ["triangle"]),
        ("fields", "S_INTERSECTS(geom, BBOX(10.0, 52.0, 10.002, 52.001)) AND class_code = 1", [0]),
        ("places", "none = 1", FilterError), ("places", "name = 1", FilterError), ("places", "raw = 'a'", FilterError),
        ("places", "name LIKE 'a\\\\\\'", FilterError), ("places", "S_INTERSECTS(geom, POINT(1e40 0))", FilterError),
    ],
    ids=str,
)  # fmt: skip
def test_a_filter_selects_the_same_items_in_postgis(
    tables: dict[str, PostgisProvider], table: str, text: str, expected: Any
) -> None:
    if isinstance(expected, list):
        assert sorted(selected(tables[table], text)) == sorted(expected)
        return
    with pytest.raises(expected):
        selected(tables[table], text)


@pytest.mark.parametrize("value", ["' or 1=1 --", "%s%(a)s", "\\", '"; drop table places', "x' || version() || '"])
def test_a_text_in_a_filter_is_never_sql(tables: dict[str, PostgisProvider], value: str) -> None:
    quoted = value.replace("'", "''")
    assert selected(tables["places"], f"name = '{quoted}' OR casei(name) = casei('{quoted}')") == []
    assert selected(tables["places"], "name = 'a'") == [1]


@contextmanager
def seeing(**rules: Any) -> Iterator[None]:
    reset = current_verdict.set(Verdict(allowed=True, **rules))
    try:
        yield
    finally:
        current_verdict.reset(reset)


def test_rows_of_a_policy_apply_to_list_item_and_count(tables: dict[str, PostgisProvider]) -> None:
    made = tables["places"]
    assert made.find(ItemQuery(limit=1)).summary.matched == 3
    with seeing(rows=("name = 'a'", "year = 2021")):
        page = made.find(ItemQuery())
        assert [feature["id"] for feature in page.features] == [1, 3]
        assert made.find(ItemQuery(limit=1)).summary.matched == 2
        assert made.find(ItemQuery(limit=0, counting="exact")).summary.matched == 2
        assert selected(made, "name = 'b' OR name = 'c'") == [3]
        assert made.get("1")["id"] == 1
        with pytest.raises(ProviderItemNotFoundError):
            made.get("2")
        assert made.get_domains(["name", "year"]) == ({"name": ["a", "c"], "year": [2019, 2021]}, True)
    with seeing(rows=()):
        assert made.find(ItemQuery()).summary.matched == 0
    for rule in ("none = 1", "name ="):
        with seeing(rows=(rule,)), pytest.raises(RestrictionUnsupported):
            made.find(ItemQuery())
    assert made.find(ItemQuery(limit=1)).summary.matched == 3


def test_the_area_of_a_policy_applies_to_items(tables: dict[str, PostgisProvider]) -> None:
    with seeing(area=Area(shapely.box(20.05, 49, 20.15, 51))):
        assert [feature["id"] for feature in tables["places"].find(ItemQuery()).features] == [2]
