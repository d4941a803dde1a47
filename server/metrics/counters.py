"""Counters of requests in memory that all processes share.

Each process counts in its own slot, which its successor continues: no counter decreases when a process ends. A lock on
a byte of the memory's file reserves the slot; the kernel releases it when the process ends for any reason.
"""

import asyncio
import fcntl
import json
import logging
import mmap
import os
import struct
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from routes.middleware.edge import OTHER, Counted

_log = logging.getLogger(__name__)

BUCKETS = (0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the histogram of seconds; the last bucket has no bound."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", OTHER)
STATUSES = (
    *(200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 412),
    *(413, 414, 415, 416, 421, 422, 428, 429, 431, 500, 501, 502, 503, 504, 0),
)
"""The counted statuses; 0 is any other, also for a request whose client disconnected before the answer."""
ROUTES = 127
"""The most routes with counters of their own; requests of further ones count as `other`."""

_STATUS = {status: number for number, status in enumerate(STATUSES)}
_METHOD = {method: number for number, method in enumerate(METHODS)}
_PAIRS = len(METHODS) * len(STATUSES)
_TIMES = len(BUCKETS) + 2
_ROW = _PAIRS + _TIMES
_GAUGES = 7
_CELLS = _GAUGES + (ROUTES + 1) * _ROW
_TEXT = 65_536
_HEAD = struct.Struct("<II")
_PAUSE = 0.25
"""Seconds between two transfers of counted requests to shared memory; a killed process loses those since."""

_USED, _KEYS_FETCHED, _CONNECTIONS, _LOST_LINES, _HITS, _MISSES, _DROPPED = range(_GAUGES)


@dataclass(frozen=True, slots=True)
class RequestTotals:
    """The counters of all processes since the start of the server.

    `requests` is by route, method and status; `seconds` is by route: the count of each bucket, then the sum.
    """

    requests: Mapping[tuple[str, str, int], int]
    seconds: Mapping[str, tuple[tuple[int, ...], float]]
    keys_fetched: float | None
    """Time of the oldest fetch of the issuer's keys among the processes, None if none has fetched them."""
    connections: int
    """Connections to PostgreSQL that requests are using."""
    lost_lines: int
    """Lines of the log that were dropped."""
    dropped_downloads: int = 0
    """Messages about downloads that were dropped, because too many waited."""
    tiles: tuple[int, int] = (0, 0)
    """Numbers of tiles found in the cache, and of those not found."""


class SharedCounters:
    """Memory for the counters of this maximum of concurrent `processes`; create it before they are forked.

    Never close its descriptor in a process that counts: POSIX would release the lock on its slot.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._descriptor = os.memfd_create("landcast-counters", os.MFD_CLOEXEC)
        size = 2 * _TEXT + processes * _CELLS * 8
        os.ftruncate(self._descriptor, size)
        self._memory = mmap.mmap(self._descriptor, size)

    def take(self) -> "CounterSlot | None":
        """Return a slot without a living process, or None."""
        for number in range(self._processes):
            with suppress(BlockingIOError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
                begin = 2 * _TEXT + number * _CELLS * 8
                return CounterSlot(memoryview(self._memory)[begin : begin + _CELLS * 8].cast("d"))
        _log.warning("requests are not counted: all %d slots are taken", self._processes)
        return None

    def write_routes(self, routes: Iterable[str]) -> None:
        """Write the names of the routes by number; every process of this program writes the same."""
        self._write(0, list(routes))

    def write_processes(self, on_airflow: Iterable[str], dags: Iterable[str]) -> None:
        """Write the processes and DAGs that run on Airflow; the worker does this."""
        self._write(_TEXT, [sorted(on_airflow), sorted(dags)])

    def processes(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the processes and DAGs that run on Airflow."""
        on_airflow, dags = self._read(_TEXT) or ((), ())
        return frozenset(on_airflow), frozenset(dags)

    def _write(self, begin: int, value: object) -> None:
        text = json.dumps(value).encode()
        if len(text) + _HEAD.size > _TEXT:
            _log.warning("%d bytes of names are too many for the metrics", len(text))
            return
        self._memory[begin + _HEAD.size : begin + _HEAD.size + len(text)] = text
        _HEAD.pack_into(self._memory, begin, len(text), crc32(text))

    def _read(self, begin: int) -> list[list[str]] | list[str] | None:
        """Return the written value, None if there is none or it is being written."""
        length, check = _HEAD.unpack_from(self._memory, begin)
        text = self._memory[begin + _HEAD.size : begin + _HEAD.size + length]
        return json.loads(text) if length and crc32(text) == check else None

    def totals(self) -> RequestTotals:
        """Return the sum of all slots."""
        cells = np.frombuffer(self._memory, np.float64, offset=2 * _TEXT).reshape(self._processes, _CELLS)
        used = cells[: int(np.count_nonzero(cells[:, _USED]))]
        rows = used[:, _GAUGES:].sum(axis=0).reshape(ROUTES + 1, _ROW)
        names = [OTHER, *(str(name) for name in self._read(0) or ())]
        requests, seconds = {}, {}
        for name, row in zip(names, rows, strict=False):
            for cell in np.flatnonzero(row[:_PAIRS]):
                method, status = divmod(int(cell), len(STATUSES))
                requests[name, METHODS[method], STATUSES[status]] = int(row[cell])
            if row[_PAIRS:-1].any():
                seconds[name] = (tuple(map(int, row[_PAIRS:-1])), float(row[-1]))
        fetched = used[used[:, _KEYS_FETCHED] > 0, _KEYS_FETCHED]
        return RequestTotals(
            requests,
            seconds,
            keys_fetched=float(fetched.min()) if len(fetched) else None,
            connections=int(used[:, _CONNECTIONS].sum()),
            lost_lines=int(used[:, _LOST_LINES].sum()),
            dropped_downloads=int(used[:, _DROPPED].sum()),
            tiles=(int(used[:, _HITS].sum()), int(used[:, _MISSES].sum())),
        )


class CounterSlot:
    """The counters of one process, used by one thread. They continue those of the slot's former process."""

    def __init__(self, cells: "memoryview[float]") -> None:
        self._cells = cells
        cells[_USED], cells[_KEYS_FETCHED], cells[_CONNECTIONS] = 1, 0, 0
        self._routes: Mapping[str, int] = {}
        self._lost_before, self._dropped_before = cells[_LOST_LINES], cells[_DROPPED]
        self._tiles_before = cells[_HITS], cells[_MISSES]

    def name_routes(self, routes: Iterable[str]) -> None:
        """Assign numbers to the routes; those beyond the maximum count as `other`."""
        self._routes = {route: number for number, route in enumerate(routes, 1) if number <= ROUTES}

    def count(self, counted: Counted) -> None:
        """Count an answered request."""
        route, method, status, seconds = counted
        begin = _GAUGES + self._routes.get(route, 0) * _ROW
        cells, times = self._cells, begin + _PAIRS
        cells[
            begin + _METHOD.get(method, len(METHODS) - 1) * len(STATUSES) + _STATUS.get(status, len(STATUSES) - 1)
        ] += 1
        cells[times + bisect_left(BUCKETS, seconds)] += 1
        cells[times + _TIMES - 1] += seconds

    def note(
        self,
        *,
        keys_fetched: float | None,
        connections: int,
        lost_lines: int,
        dropped_downloads: int = 0,
        tiles: tuple[int, int] = (0, 0),
    ) -> None:
        """Store the state of this process: the time of its last fetch of keys, its connections.

        Also the totals of lost lines, of dropped messages, and of tiles found and not found in the cache.
        """
        cells = self._cells
        cells[_KEYS_FETCHED], cells[_CONNECTIONS] = keys_fetched or 0, connections
        cells[_LOST_LINES] = self._lost_before + lost_lines
        cells[_DROPPED] = self._dropped_before + dropped_downloads
        cells[_HITS], cells[_MISSES] = (before + now for before, now in zip(self._tiles_before, tiles, strict=True))

    def leave(self) -> None:
        """Release the slot for a successor; its counts remain."""
        self._cells[_KEYS_FETCHED], self._cells[_CONNECTIONS] = 0, 0


@asynccontextmanager
async def counting(
    slot: CounterSlot, waiting: deque[Counted], note: Callable[[CounterSlot], None]
) -> AsyncIterator[None]:
    """Transfer the counted requests that are `waiting` into the slot every quarter of a second, in this event loop."""

    def transfer() -> None:
        while waiting:
            slot.count(waiting.popleft())
        note(slot)

    async def keep() -> None:
        while True:
            transfer()
            await asyncio.sleep(_PAUSE)

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        transfer()
        slot.leave()
