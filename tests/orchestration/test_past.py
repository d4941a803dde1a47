"""What is read of orders that are over: only successful ones of a kind, the newest, and nothing is written."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestration.errors import StoreUnavailable
from orchestration.job import Job, Manifest, Order, Output, ResultFile
from orchestration.store.past import PastOrder, count_unfinished, past_orders
from orchestration.store.sqlite import SqliteStore

MakeStore = Callable[..., SqliteStore]

AREA = {"bbox": [1, 2, 3, 4]}


def _file(size: int) -> Manifest:
    file = ResultFile("Raster.zip", "job/1/1/Raster.zip", "application/zip", size, "ab" * 32)
    return (Output("result", None, "application/zip", file),)


def _order(store: SqliteStore, process: str = "extract-product", kind: str = "Raster", **inputs: Any) -> Job:
    return store.add(Order(process, {"product": kind, "aoi": AREA, **inputs}, "somebody"))[0]


def _done(store: SqliteStore, size: int, process: str = "extract-product", **inputs: Any) -> Job:
    job = store.begin(_order(store, process, **inputs).id)
    assert job is not None
    assert store.publish(job.id, 1, _file(size))
    return job


def _past(state_dir: Path, **changed: Any) -> tuple[PastOrder, ...]:
    chosen = {"process": "extract-product", "kind": "Raster", "series": "clcplus"} | changed
    return past_orders(state_dir / "orders.sqlite", **chosen)


def test_the_newest_successful_orders_of_a_kind_and_series_are_found(make_store: MakeStore, state_dir: Path) -> None:
    store = make_store()
    older = _done(store, 10)
    newer = _done(store, 20, series="clcplus", year=2023)
    for inputs in ({"kind": "Vector"}, {"series": "snow"}, {"process": "national-product"}, {"kind": "x" * 200_000}):
        _done(store, 30, **inputs)
    _order(store)
    failed = store.begin(_order(store).id)
    assert failed is not None
    store.fail(failed.id, 1, "no")
    deleted = _done(store, 40)
    store.dismiss(deleted.id)
    found = _past(state_dir)
    assert [(order.id, order.size) for order in found] == [(newer.id, 20), (older.id, 10)]
    assert found[1].inputs == {"product": "Raster", "aoi": AREA}
    assert all(0 < order.seconds < 60 for order in found)
    assert [order.id for order in _past(state_dir, most=1)] == [newer.id]
    assert [order.size for order in _past(state_dir, kind="Vector")] == [30]
    assert [order.size for order in _past(state_dir, series="snow")] == [30, 10], "what names no series had the first"


def test_one_whose_outputs_were_not_asked_for_has_no_size(make_store: MakeStore, state_dir: Path) -> None:
    store = make_store()
    job = store.begin(_order(store).id)
    assert job is not None
    store.publish(job.id, 1, ())
    assert _past(state_dir) == ()


def test_only_the_last_five_thousand_are_looked_at(make_store: MakeStore, state_dir: Path) -> None:
    _done(make_store(), 10)
    assert len(_past(state_dir)) == 1
    with closing(sqlite3.connect(state_dir / "orders.sqlite")) as connection, connection:
        connection.execute("update sqlite_sequence set seq = 5000 where name = 'jobs'")
    _order(make_store(), "echo")
    assert _past(state_dir) == ()


def test_waiting_are_those_that_are_not_over_without_the_quick(make_store: MakeStore, state_dir: Path) -> None:
    store = make_store()
    _done(store, 10)
    assert count_unfinished(state_dir / "orders.sqlite", beside={"echo"}) == 0
    _order(store)
    store.begin(_order(store).id)
    _order(store, "echo")
    assert count_unfinished(state_dir / "orders.sqlite", beside={"echo"}) == 2
    assert count_unfinished(state_dir / "orders.sqlite", beside=()) == 3


def test_nothing_is_written_not_even_while_another_writes(make_store: MakeStore, state_dir: Path) -> None:
    store = make_store()
    _done(store, 10)
    path = state_dir / "orders.sqlite"
    store.changed()
    before = hashlib.sha256(path.read_bytes() + path.with_name("orders.sqlite-wal").read_bytes()).digest()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert len(_past(state_dir)) == 1
        assert count_unfinished(path, beside=()) == 0
        other.execute("rollback")
    assert hashlib.sha256(path.read_bytes() + path.with_name("orders.sqlite-wal").read_bytes()).digest() == before
    assert not store.changed()


@pytest.mark.parametrize("content", [None, b"no database" * 100])
def test_a_database_that_is_away_or_broken_is_said_and_not_made(state_dir: Path, content: bytes | None) -> None:
    path = state_dir / "orders.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreUnavailable):
        _past(state_dir)
    with pytest.raises(StoreUnavailable):
        count_unfinished(path, beside=())
    assert path.exists() == (content is not None)
