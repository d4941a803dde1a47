"""Counters in shared memory survive the processes that count."""

import asyncio
import multiprocessing
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.app import COUNTED_ROUTES, create_app
from server.metrics.counters import ROUTES, CounterSlot, SharedCounters, counting
from server.settings import CONCERNS, Settings
from tests.conftest import URL

_FORK = multiprocessing.get_context("fork")


def _slot(counters: SharedCounters) -> CounterSlot:
    slot = counters.take()
    assert slot is not None
    slot.name_routes(["/a", "/b"])
    counters.write_routes(["/a", "/b"])
    return slot


_REPLACED = """
import os, signal, sys
from server.metrics.counters import SharedCounters

counters, seen = SharedCounters(2), 0
counters.write_routes(["/a"])
size = os.fstat(counters._descriptor).st_size
for number in range(1, int(sys.argv[1]) + 1):
    if os.fork() == 0:
        slot = counters.take()
        slot.name_routes(["/a"])
        slot.count(("/a", "GET", 200, 0.004))
        if number % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    os.wait()
    if number % 20 == 0:
        totals = counters.totals()
        assert totals.requests == {("/a", "GET", 200): number}, totals
        assert seen < totals.seconds["/a"][0][0] == number, totals
        seen = number
assert os.fstat(counters._descriptor).st_size == size
assert abs(counters.totals().seconds["/a"][1] - 0.004 * number) < 1e-6
"""


@pytest.mark.parametrize("replaced", [40, pytest.param(1000, marks=pytest.mark.full)])
def test_many_replaced_processes_neither_grow_memory_nor_reset_counters(replaced: int) -> None:
    subprocess.run([sys.executable, "-c", _REPLACED, str(replaced)], check=True)


def test_concurrent_processes_have_their_own_slots_and_are_summed() -> None:
    counters = SharedCounters(3)
    go = _FORK.Event()

    def work(number: int, ready: Any) -> None:
        slot = _slot(counters)
        for _ in range(number):
            slot.count(("/b", "POST", 201, 0.3))
        slot.note(keys_fetched=1000.0 + number, connections=number, lost_lines=number, dropped_downloads=2 * number)
        ready.release()
        go.wait(60)

    ready = _FORK.Semaphore(0)
    working = [_FORK.Process(target=work, args=(number, ready)) for number in (5, 7)]
    for each in working:
        each.start()
    for _ in working:
        assert ready.acquire(timeout=60)
    totals = counters.totals()
    assert totals.requests == {("/b", "POST", 201): 12}
    assert totals.keys_fetched == 1005.0
    assert (totals.connections, totals.lost_lines, totals.dropped_downloads) == (12, 12, 24)
    go.set()
    for each in working:
        each.join()
        assert each.exitcode == 0


def test_without_a_free_slot_a_process_serves_without_counting(caplog: pytest.LogCaptureFixture) -> None:
    counters = SharedCounters(0)
    assert counters.take() is None
    assert "not counted" in caplog.text


@pytest.mark.parametrize(
    ("counted", "key"),
    [
        (("/a", "PATCH", 404, 0.1), ("/a", "PATCH", 404)),
        (("/unknown", "GET", 404, 0.1), ("other", "GET", 404)),
        (("/a", "BREW", 405, 0.1), ("/a", "other", 405)),
        (("/a", "GET", 299, 0.1), ("/a", "GET", 0)),
        (("/a", "GET", 0, 9e9), ("/a", "GET", 0)),
    ],
)
def test_labels_are_bounded(counted: tuple[str, str, int, float], key: tuple[str, str, int]) -> None:
    counters = SharedCounters(1)
    _slot(counters).count(counted)
    assert counters.totals().requests == {key: 1}


def test_routes_beyond_the_capacity_count_as_other() -> None:
    counters, names = SharedCounters(1), [f"/{number}" for number in range(ROUTES + 20)]
    slot = counters.take()
    assert slot is not None
    slot.name_routes(names)
    counters.write_routes(names)
    for name in names:
        slot.count((name, "GET", 200, 0.1))
    requests = counters.totals().requests
    assert requests["other", "GET", 200] == 20
    assert requests[names[ROUTES - 1], "GET", 200] == 1
    assert sum(requests.values()) == len(names)


def test_the_capacity_suffices_for_our_routes() -> None:
    assert len(COUNTED_ROUTES) < ROUTES


def test_too_long_names_are_refused_and_counters_stay(caplog: pytest.LogCaptureFixture) -> None:
    counters = SharedCounters(1)
    _slot(counters).count(("/a", "GET", 200, 0.1))
    counters.write_processes(["x" * 70_000], [])
    assert "too many" in caplog.text
    assert counters.processes() == (frozenset(), frozenset())
    assert counters.totals().requests == {("/a", "GET", 200): 1}


def test_pending_counts_are_written_when_the_server_ends() -> None:
    counters, waiting = SharedCounters(1), deque[tuple[str, str, int, float]]()

    async def serve() -> None:
        async with counting(_slot(counters), waiting, lambda _: None):
            await asyncio.sleep(0)
            waiting.extend([("/a", "GET", 200, 0.1)] * 3)

    asyncio.run(serve())
    assert counters.totals().requests == {("/a", "GET", 200): 3}


def test_requests_are_counted_by_route_not_by_path(configuration: dict[str, Any], tmp_path: Path) -> None:
    given: dict[str, Any] = {"server": {"url": URL}, "state": {"dir": tmp_path}, "auth": {"open": True}}
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    settings = Settings(**{name: kind(**given.get(name, {})) for name, kind in kinds.items()})  # type: ignore[arg-type]  # by concern
    counters = SharedCounters(1)
    with TestClient(create_app(configuration, settings, counters), base_url="http://inside.invalid") as client:
        client.get("/collections/parks/items?limit=1&f=json")
        client.get("/collections/nothing/items?f=json")
        client.get("/collections/parks/items?limit=-1&f=json")
        client.put("/collections/parks/items")
        client.head("/health/live")
        client.get("/collections/parks/")  # a redirect, and where it leads
        client.get("/no/such/path")
        client.get("/health/live", headers={"host": "a b"})
    items = "/collections/{collection_id}/items"
    assert counters.totals().requests == {
        (items, "GET", 200): 1,
        (items, "GET", 404): 1,
        (items, "GET", 400): 1,
        (items, "PUT", 405): 1,
        ("/health/live", "HEAD", 200): 1,
        ("other", "GET", 308): 1,
        ("/collections/{collection_id}", "GET", 200): 1,
        ("other", "GET", 404): 1,
        ("other", "GET", 400): 1,
    }
