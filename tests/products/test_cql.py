"""CQL2: the examples of the standard, selected items, refusals with positions, and no text that becomes SQL."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shapely

from products.vector.cql import Filter, FilterError, read_json, read_text
from products.vector.cql_sql import where
from products.vector.cql_sqlite import GeoPackageDialect
from products.vector.geopackage import Reader, read_geopackage
from products.vector.layer import Column
from products.vector.query import Selection, search
from tests.odd import geopackages as odd

_, *LINES = Path(__file__).with_name("cql2_examples.txt").read_text().splitlines()
EXAMPLES = list(zip(LINES[::3], LINES[1::3], LINES[2::3], strict=True))
COLUMNS = (
    Column("name", "TEXT"), Column("size", "REAL"), Column("code", "INTEGER"), Column("day", "DATE"),
    Column("open", "BOOLEAN"), Column('we"ird é', "INTEGER"), Column("photo", "BLOB"),
)  # fmt: skip
FIELDS: dict[str, dict[str, Any]] = {
    "name": {"type": "string"}, "size": {"type": "number"}, "code": {"type": "integer"},
    "day": {"type": "string", "format": "date"}, "open": {"type": "boolean"}, 'we"ird é': {"type": "integer"},
    "photo": {"type": "string", "contentEncoding": "base64"},
}  # fmt: skip
ROWS: list[tuple[Any, ...]] = [
    ("Łódź", 1.5, 1, "2020-01-31", 1, 7, b"x"), ("lodz", -2.5, 2, "2021-06-01", 0, 8, None),
    ("100%", None, 3, None, None, 9, None), ("a_b", 0.0, None, "1999-12-31", 1, 7, None),
    (None, 1e300, 9007199254740993, "2020-01-31", 0, None, None), ("O'Hara", 7.0, -7, "2020-02-29", 1, 8, None),
]  # fmt: skip


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Return a layer of these rows, at 20, 21, … degrees of longitude and 50 of latitude."""
    path = tmp_path_factory.mktemp("cql") / "rows.gpkg"
    odd.by_us(path, COLUMNS, ROWS, points=[shapely.Point(20 + number, 50) for number in range(len(ROWS))])
    with read_geopackage(path) as opened:
        yield opened


def selected(reader: Reader, tree: Any, **more: Any) -> list[int]:
    dialect = GeoPackageDialect(reader, 4326)
    condition = where(Filter(tree, **more), FIELDS, "geometry", dialect)
    return list(search(reader, Selection(), [condition]).page(100).keys)


def plain(tree: Any) -> Any:
    """Return a tree without differences that text and JSON of the standard's examples have in spelling."""
    if isinstance(tree, dict):
        return {key: value.lower() if key == "op" else plain(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [plain(each) for each in tree]
    return tree.replace(".000000Z", "Z") if isinstance(tree, str) else tree


@pytest.mark.parametrize(("name", "text", "document"), EXAMPLES, ids=[example[0] for example in EXAMPLES])
def test_the_examples_of_the_standard_are_the_same_as_text_and_as_json(name: str, text: str, document: str) -> None:
    tree = read_text(text)
    if document != "null":
        assert plain(tree) == plain(read_json(document)), name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("code = 1", [1]),
        ("code = 1 OR code = 2 AND size > 0", [1]),
        ("(code = 1 OR code = 2) AND size > 0", [1]),
        ("NOT code = 1", [2, 3, 5, 6]),
        ("NOT (code = 1 OR code IS NULL)", [2, 3, 5, 6]),
        ("code <> 1", [2, 3, 5, 6]),
        ("code = 9007199254740993", [5]),
        ("code = 9007199254740992", []),
        ("code IN (1, -7, 99)", [1, 6]),
        ("code NOT IN (1, -7)", [2, 3, 5]),
        ("code BETWEEN -7 AND 1", [1, 6]),
        ("size NOT BETWEEN -1 AND 2", [2, 5, 6]),
        ("code IS NULL", [4]),
        ("photo IS NOT NULL", [1]),
        ("geometry IS NULL", []),
        ("name = 'O''Hara'", [6]),
        ("'lodz' = name", [2]),
        ("name LIKE '%o%'", [2]),
        ("name LIKE 'L%'", []),
        ("casei(name) LIKE casei('L%')", [2]),
        ("accenti(casei(name)) = accenti(casei('ŁÓDŹ'))", [1]),
        (r"name LIKE '%\%'", [3]),
        (r"name LIKE 'a\_b'", [4]),
        ("name LIKE '_odz'", [2]),
        ("name LIKE '_b'", []),
        ("name NOT LIKE '%'", []),
        ("open", [1, 4, 6]),
        ("NOT open", [2, 5]),
        ("open = FALSE", [2, 5]),
        ("TRUE", [1, 2, 3, 4, 5, 6]),
        ("FALSE OR code = 2", [2]),
        ('"we""ird é" = 7', [1, 4]),
        ('"we""ird é" = code + 6', [1, 2, 3]),
        ("code % 2 = 1", [1, 3, 5]),
        ("code / 2 = 1.5", [3]),
        ("code DIV 2 = 1", [2, 3]),
        ("code ^ 2 = 49", [6]),
        ("code / 0 = 1", []),
        ("size ^ 10 > 1", [1, 2, 6]),
        ("-code = 7", [6]),
        ("code = size + 0.5", []),
        ("size > code", [1, 5, 6]),
        ("day = DATE('2020-01-31')", [1, 5]),
        ("day > '2020-01-31'", [2, 6]),
        ("day < TIMESTAMP('2000-01-01T00:00:00Z')", [4]),
        ("T_AFTER(day, DATE('2020-02-01'))", [2, 6]),
        ("T_DURING(day, INTERVAL('2020-01-01', '2020-12-31'))", [1, 5, 6]),
        ("T_INTERSECTS(day, INTERVAL('..', '2020-01-31T12:00:00Z'))", [1, 4, 5]),
        ("NOT T_DISJOINT(day, DATE('2020-02-29'))", [6]),
        ("S_INTERSECTS(geometry, BBOX(20.5, 49, 22.5, 51))", [2, 3]),
        ("S_INTERSECTS(geometry, POLYGON((20.5 49, 22.5 49, 22.5 51, 20.5 51, 20.5 49)))", [2, 3]),
        ("S_WITHIN(geometry, BBOX(20, 49, 22, 51))", [2]),
        ("S_CONTAINS(BBOX(20, 49, 22, 51), geometry)", [2]),
        ("S_TOUCHES(geometry, BBOX(20, 49, 22, 51))", [1, 3]),
        ("S_EQUALS(geometry, POINT(25 50))", [6]),
        ("S_DISJOINT(geometry, BBOX(20.5, 49, 24.5, 51))", [1, 6]),
        ("NOT S_INTERSECTS(geometry, BBOX(20.5, 49, 24.5, 51))", [1, 6]),
        ("S_INTERSECTS(geometry, BBOX(24.5, 49, 20.5, 51))", [1, 6]),
        ("S_INTERSECTS(geometry, BBOX(20.5, 49, 22.5, 51)) AND code = 3 OR open", [1, 3, 4, 6]),
    ],
)
def test_a_filter_selects_the_matching_items(reader: Reader, text: str, expected: list[int]) -> None:
    assert selected(reader, read_text(text)) == expected


def test_a_shape_is_read_in_the_system_of_the_filter(reader: Reader) -> None:
    northing_first = read_text("S_INTERSECTS(geometry, BBOX(49, 20.5, 51, 22.5))")
    assert selected(reader, northing_first, crs=4326, northing_first=True) == [2, 3]
    assert selected(reader, northing_first) == []
    metres = read_text("S_INTERSECTS(geometry, BBOX(2282000, 6300000, 2500000, 6500000))")
    assert selected(reader, metres, crs=3857) == [2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code = ", "too early, at character 7"),
        ("code == 1", "line 1, column 7"),
        ("code = 1\nAND size >", "too early"),
        ("code = 1 AND\n  size ? 1", "line 2, column 8: '\\?'"),
        ("code = 'x", "line 1, column 8"),
        ("(" * 30_000, "too early"),
        ("hidden = 1", "no property 'hidden'; allowed: name, size"),
        ("hidden IS NULL", "no property"),
        ("T_AFTER(hidden, DATE('2020-01-01'))", "no property"),
        ("S_INTERSECTS(hidden, POINT(1 2))", "no property"),
        ("casei(hidden) = 'x'", "no property"),
        ("code = 'x'", "a number is not compared with a text"),
        ("name > 5", "a text is not compared with a number"),
        ("code = NULL", "not compared with a null"),
        ("open > FALSE", "allowed: =, <>"),
        ("day = 'yesterday'", "'yesterday': allowed: a date"),
        ("day = 5", "a number is not a time"),
        ("code = 99999999999999999999", "1e\\+20|64 bits|not"),
        ("1e999 = size", "below"),
        ("name LIKE code", "a text and a pattern"),
        ("photo = 'x'", "photo: allowed: IS NULL"),
        ("geometry = 'x'", "spatial functions"),
        ("code", "allowed: a condition"),
        ("code + 1", "is not a known condition|allowed"),
        ("load_extension('x')", "is not a known condition"),
        ("code = load_extension('x')", "is not a known condition"),
        ("S_RELATE(geometry, POINT(1 2))", "allowed: s_intersects"),
        ("S_INTERSECTS(geometry)", "has 1 arguments; allowed: 2"),
        ("S_INTERSECTS(geometry, geometry)", "and a geometry"),
        ("S_INTERSECTS(geometry, 'x')", "is not a geometry"),
        ("S_INTERSECTS(geometry, POLYGON EMPTY)", "not empty"),
        ("S_INTERSECTS(geometry, POINT(1e300 2))", "finite"),
        ("S_INTERSECTS(geometry, POLYGON((1 2)))", "is not a geometry"),
        ("A_CONTAINS(name, ('a'))", "is not a known condition"),
        ("code = 1 ORDER BY 1", "line 1, column 10"),
        ("NOT " * 9_000 + "open", "inside one another"),
        (" OR ".join(["open"] * 5_000), "at most"),
        ("open" + " " * 60_000, "at most 50,000 characters"),
    ],
    ids=lambda text: text[:30],
)
def test_an_unsupported_filter_is_refused_with_its_reason(reader: Reader, text: str, message: str) -> None:
    if text == "code = 99999999999999999999":
        assert selected(reader, read_text(text)) == []
        return
    with pytest.raises(FilterError, match=message):
        selected(reader, read_text(text))


@pytest.mark.parametrize(
    "document",
    [
        "[" * 100_000, "[" * 40_000,
        '{"op":' * 8_000, "{", "[]", "5", '"x"', "null", "{}", '{"op":"and"}', '{"op":1,"args":[]}',
        '{"op":"and","args":[]}', '{"op":"and","args":{}}', '{"op":"=","args":[{"property":["name"]},1]}', "NaN",
        '{"op":"=","args":[{"property":"name"},"\\ud800"]}', '{"op":"=","args":[{"property":"name"},"\\u0000"]}',
        '{"op":"=","args":[{"property":"code"},9223372036854775808]}', '{"op":"in","args":[{"property":"code"},5]}',
        '{"op":"s_intersects","args":[{"property":"geometry"},{"type":"Point"}]}', '{"op":"like","args":[1,2]}',
        '{"op":"s_intersects","args":[{"property":"geometry"},{"type":"Polygon","coordinates":[[[1,2],["x",3]]]}]}',
        '{"op":"s_intersects","args":[{"property":"geometry"},{"bbox":[1,2]}]}', '{"op":"isNull","args":[[]]}',
        '{"op":"t_after","args":[{"interval":[1,2]},{"date":5}]}', '{"op":"casei","args":[]}',
        '{"op":"between","args":[1]}',
    ],
    ids=lambda text: text[:60],
)  # fmt: skip
def test_json_that_is_not_a_filter_is_refused(reader: Reader, document: str) -> None:
    with pytest.raises(FilterError):
        selected(reader, read_json(document))


def test_no_text_of_a_filter_is_part_of_the_sql(reader: Reader) -> None:
    """The SQL is the same for all values; names that are not properties are refused before."""
    evil = [
        "'; DROP TABLE places; --",
        '"',
        "') OR 1=1 --",
        "\\",
        "%",
        "\x1b",
        "é" * 50,
        "{0}",
        "?",
        "%s",
        ":x",
        "@x",
        "$1",
    ]
    dialect, rng = GeoPackageDialect(reader, 4326), random.Random(1)  # noqa: S311 - no secret

    def sql_of(tree: Any) -> str:
        return where(Filter(tree), FIELDS, "geometry", dialect)[0]

    for operator in ("=", "<>", "like"):
        for wrap in (lambda node: node, lambda node: {"op": "casei", "args": [node]}):
            found = {
                where(
                    Filter({"op": operator, "args": [{"property": "name"}, wrap(text)]}), FIELDS, "geometry", dialect
                )[0]
                for text in (*evil, "x", *("".join(rng.choices("'\"`;-()%\\ a", k=20)) for _ in range(50)))
            }
            assert len(found) == 1
    for name in evil:
        for tree in (
            {"op": "=", "args": [{"property": name}, "x"]},
            {"op": name, "args": [{"property": "name"}, "x"]},
            {"op": "=", "args": [{"op": name, "args": [1]}, 1]},
            {"op": "s_" + name, "args": [{"property": "geometry"}, {"type": "Point", "coordinates": [1, 2]}]},
            {"op": "t_" + name, "args": [{"property": "day"}, {"date": "2020-01-01"}]},
        ):
            with pytest.raises(FilterError):
                where(Filter(tree), FIELDS, "geometry", dialect)


def test_a_filter_as_large_as_allowed_is_read_and_answered_in_time(reader: Reader) -> None:
    began = time.process_time()
    many = " OR ".join(f"code = {number}" for number in range(1_500))
    assert selected(reader, read_text(many)) == [1, 2, 3]
    assert selected(reader, read_text(f"day IN ({', '.join(["'2020-01-31'"] * 3_000)})")) == [1, 5]
    assert selected(reader, read_text(f"name LIKE '{'%a' * 8_000}%b'")) == []
    with pytest.raises(FilterError):
        read_text("(" * 25_000 + "open" + ")" * 24_000)
    assert time.process_time() - began < 30


def test_random_filters_select_the_same_items_as_python(reader: Reader) -> None:
    rng = random.Random(7)  # noqa: S311 - no secret
    for _ in range(200):
        text, truth = _random(rng, 3)
        expected = [key for key, row in enumerate(ROWS, 1) if truth(row) is True]
        assert selected(reader, read_text(text)) == expected, text
        assert selected(reader, json.loads(json.dumps(read_text(text)))) == expected


def _random(rng: random.Random, depth: int) -> tuple[str, Any]:
    """Return a filter and its value in Python: True, False, or None for NULL."""
    if not depth or rng.random() < 0.3:
        place, name = rng.choice([(1, "size"), (2, "code")])
        value, sign = rng.choice([-7, 0, 1, 1.5, 2, 3]), rng.choice(["<", ">", "=", "<>", "<=", ">="])
        python = {"=": "==", "<>": "!="}.get(sign, sign)
        compare = eval(f"lambda a, b: a {python} b")  # noqa: S307 - one of six signs
        return f"{name} {sign} {value}", lambda row: None if row[place] is None else compare(row[place], value)
    left, is_left = _random(rng, depth - 1)
    if rng.random() < 0.3:
        return f"NOT ({left})", lambda row: None if is_left(row) is None else not is_left(row)
    right, is_right = _random(rng, depth - 1)
    if rng.random() < 0.5:
        return f"({left}) AND ({right})", lambda row: _and(is_left(row), is_right(row))
    return f"({left}) OR ({right})", lambda row: _or(is_left(row), is_right(row))


def _and(left: bool | None, right: bool | None) -> bool | None:  # noqa: FBT001 - of three values
    return False if False in {left, right} else (None if None in {left, right} else True)


def _or(left: bool | None, right: bool | None) -> bool | None:  # noqa: FBT001 - of three values
    return True if True in {left, right} else (None if None in {left, right} else False)
