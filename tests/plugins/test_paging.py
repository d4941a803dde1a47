"""Pages of items by position, in every order, while rows are inserted and deleted."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shapely

from plugins.crs import CRS84, Box
from plugins.features import ItemQuery
from plugins.geopackage import GeoPackageProvider
from products.vector.layer import Column
from products.vector.query import Selection, SortKey
from tests.odd import geopackages as odd

COLUMNS = (Column("name", "TEXT"), Column("size", "REAL"), Column("any", "BLOB"), Column("code", "INTEGER"))
ROWS: Sequence[tuple[Any, ...]] = [
    ("b", 1.5, b"\0\xff", 1), ("a", None, "text", None), (None, 1.5, 7, 1), ("a", -2.0, None, 2),
    ("B", 1e300, 7.5, None),
    ("é", 0.0, b"", 9007199254740993), ("", 1.5, 7, 9007199254740992), ("a", 1.5, b"\0", -1), (None, None, None, None),
    ("zz", 3.25, "", 1), ("a", -2.0, "text", 2), ("b", 0.1, 2**62, 1),
]  # fmt: skip
ORDERS: Sequence[tuple[SortKey, ...]] = [
    (), *[(SortKey(name, descending),) for name in ("name", "size", "any", "code") for descending in (False, True)],
    (SortKey("name"), SortKey("size", descending=True)), (SortKey("code", descending=True), SortKey("any")),
]  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a layer with each of these rows four times, in a line from west to east."""
    path = tmp_path_factory.mktemp("paging") / "rows.gpkg"
    rows = [*ROWS] * 4
    odd.by_us(path, COLUMNS, rows, points=[shapely.Point(number / 4, 50) for number in range(len(rows))])
    return path


def flat(pages: Sequence[Sequence[Any]]) -> list[Any]:
    return [each for page in pages for each in page]


def pages(provider: GeoPackageProvider, query: ItemQuery) -> list[list[Any]]:
    """Return the ids of all pages from the first to the last; check that the way back has the same pages."""
    found, seen = [], 0
    page = provider.find(query)
    while True:
        found.append([feature["id"] for feature in page.features])
        seen += len(page.features)
        assert seen <= 1_000
        if page.summary.next is None:
            break
        page = provider.find(replace(query, after=page.summary.next))
    back = [found[-1]]
    while page.summary.previous is not None:
        page = provider.find(replace(query, after=page.summary.previous))
        back.insert(0, [feature["id"] for feature in page.features])
    assert flat(back) == flat(found)
    return found


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("box", [None, (2.9, 49, 9.1, 51)], ids=str)
@pytest.mark.parametrize("limit", [7, 48])
def test_pages_have_each_item_once_in_the_order_of_all(
    path: Path, order: tuple[SortKey, ...], box: tuple[float, ...] | None, limit: int
) -> None:
    provider = GeoPackageProvider({"name": "g", "type": "feature", "data": str(path)})
    boxes = None if box is None else [Box((box[0], box[1], box[2], box[3]), CRS84)]
    query = ItemQuery(boxes=boxes, selection=Selection(order=order), limit=limit, counting="none")
    whole = [feature["id"] for feature in provider.find(replace(query, limit=10_000)).features]
    found = pages(provider, query)
    assert flat(found) == whole
    assert {len(page) for page in found[:-1]} <= {limit}
    with closing(sqlite3.connect(path)) as connection:
        columns = ", ".join(f'"{key.name}" {"DESC" if key.descending else "ASC"}' for key in order)
        rows = connection.execute(f"SELECT fid FROM places ORDER BY {columns or 'fid'}, fid").fetchall()  # noqa: S608
    place = {row[0]: number for number, row in enumerate(rows)}
    assert [place[id_] for id_ in whole] == sorted(place[id_] for id_ in whole)
    assert len(whole) == (48 if box is None else 25)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_pages_stay_right_while_rows_come_and_go(path: Path, tmp_path: Path, order: tuple[SortKey, ...]) -> None:
    changed = tmp_path / "rows.gpkg"
    changed.write_bytes(path.read_bytes())
    provider = GeoPackageProvider({"name": "g", "type": "feature", "data": str(changed)})
    query = ItemQuery(selection=Selection(order=order), limit=5)
    whole = [feature["id"] for feature in provider.find(replace(query, limit=1_000)).features]
    page = provider.find(query)
    seen = [feature["id"] for feature in page.features]
    with closing(sqlite3.connect(changed, autocommit=True)) as connection:
        for gone in (*whole[:2], whole[4], whole[7]):
            connection.execute("DELETE FROM places WHERE fid = ?", (gone,))
    while page.summary.next is not None:
        page = provider.find(replace(query, after=page.summary.next))
        seen += [feature["id"] for feature in page.features]
    assert seen == [id_ for id_ in whole if id_ != whole[7]]


def test_chunks_of_a_large_box_are_all_of_it(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr("products.vector.meeting._LEAST_CHUNK", 2)
    provider = GeoPackageProvider({"name": "g", "type": "feature", "data": str(path)})
    query = ItemQuery(boxes=[Box((0.9, 49, 9.1, 51), CRS84)], limit=1, counting="none")
    assert flat(pages(provider, query)) == list(range(5, 38))


@pytest.mark.parametrize("make", odd.ALL, ids=lambda make: make.__name__)
def test_pages_of_odd_files_have_each_item_once(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "odd.gpkg")
    definition = {"name": "g", "type": "feature", "data": str(tmp_path / "odd.gpkg"), "storage_crs": odd.EPSG_4326}
    if make is odd.several:
        definition["table"] = "others"
    provider = GeoPackageProvider(definition)
    everywhere = [Box((-180, -90, 180, 90), CRS84)]
    for query in (ItemQuery(limit=1), ItemQuery(limit=1, boxes=everywhere)):
        whole = [feature.get("id") for feature in provider.find(replace(query, limit=1_000)).features]
        assert flat(pages(provider, query)) == whole
