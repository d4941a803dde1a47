"""Memory of the server processes: over time while 64 clients ask for everything, and after large pages.

`BENCH_MEMORY_SECONDS` is how long the mixed load is judged, after two minutes of it (default: 300).
"""

import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import psutil

from bench.balance import ask, web_processes

_CLIENTS = 64
_EVERY = 10.0
"""Seconds between two rows of the table."""
_WARMING = 120.0
"""Seconds of load before the time that is judged: by then each of the threads has done all that there is to do."""
_LARGE_CLIENTS, _LARGE_PAGES = 4, 3
_LARGEST = 350.0
_GROWTH = 1.05
_ALL = "/collections/clcplus-vector/items?limit=10000"
_MIX = (
    (30, "/collections/parks/items?limit={some}"),
    (20, "/collections/clcplus-vector/items?limit={some}&offset={place}"),
    (15, "/collections/clcplus-vector/items/{place}"),
    (10, "/collections/clcplus-raster/map?bbox={box}&width=256&f=png"),
    (5, "/collections/clcplus-raster/coverage?bbox={box}"),
    (8, "/collections"),
    (4, "/jobs?limit={some}"),
    (4, "/collections/clcplus-vector/items?limit={some}&bbox={box}"),
    (2, f"{_ALL}&offset={{place}}"),
    (1, "/collections/clcplus-vector/items?limit=1000&f=html"),
    (1, "order"),
)
_BOX = (19.46, 49.55, 19.62, 49.62)
_ORDER = {"product": "Raster", "aoi": "POLYGON ((19.5 49.57, 19.56 49.57, 19.56 49.6, 19.5 49.6, 19.5 49.57))"}


def measure() -> None:
    """Print megabytes of PSS. Exits where the second half of the load has more than the first, or one has too much."""
    seconds = float(os.environ.get("BENCH_MEMORY_SECONDS", "300"))
    with tempfile.TemporaryDirectory() as folder:
        with web_processes(Path(folder), 2) as (port, processes):
            asyncio.run(_large(port, processes))
        with web_processes(Path(folder), 2) as (port, processes):
            rows = asyncio.run(_mixed(port, processes, seconds))
    if failed := _judged(rows):
        raise SystemExit(failed)


def pss(process: psutil.Process) -> float:
    """Return the megabytes of a process: its own, and its share of those that it shares."""
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {process.pid} has no PSS")


async def _large(port: int, processes: Sequence[psutil.Process]) -> None:
    """Print what pages of 10,000 items take while they are made and leave behind, of all of the server's processes."""
    web = processes[0].parent()
    supervisor = web.parent() if web else None
    everything = [supervisor, *supervisor.children(recursive=True)] if supervisor else list(processes)
    before = sum(map(pss, everything))
    began = time.monotonic()
    clients = [asyncio.create_task(_pages(port)) for _ in range(_LARGE_CLIENTS)]
    most = before
    while not all(client.done() for client in clients):
        await asyncio.sleep(0.1)
        most = max(most, sum(map(pss, everything)))
    read = sum(await asyncio.gather(*clients))
    took = time.monotonic() - began
    await asyncio.sleep(3)
    after = sum(map(pss, everything))
    print(f"{_LARGE_CLIENTS} clients, {_LARGE_PAGES} pages of 10,000 items each, {read / 1e6:.0f} MB in {took:.1f} s:")
    print(f"all processes: before {before:.0f} MB, at most {most:.0f} MB, three seconds later {after:.0f} MB")


async def _pages(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return sum([await ask(reader, writer, _ALL) for _ in range(_LARGE_PAGES)])
    finally:
        writer.close()


async def _mixed(port: int, processes: Sequence[psutil.Process], seconds: float) -> list[list[float]]:
    """Print the memory of each process as time goes on, and return it without that of the first two minutes."""
    began = time.monotonic()
    until = began + _WARMING + seconds
    done: dict[str, int] = {}
    clients = [asyncio.create_task(_client(port, until, random.Random(number), done)) for number in range(_CLIENTS)]  # noqa: S311 - the same load each time
    rows = []
    while time.monotonic() < until:
        rows.append([pss(process) for process in processes])
        written = " ".join(f"{value:6.0f}" for value in rows[-1])
        print(f"{time.monotonic() - began:5.0f} s {written} MB, {sum(done.values()):,} requests", flush=True)
        await asyncio.sleep(_EVERY)
    for lost in await asyncio.gather(*clients, return_exceptions=True):
        if lost is not None:
            print(f"a client ended early: {lost!r}")
    print(", ".join(f"{count:,} x {path}" for path, count in sorted(done.items())))
    return rows[round(_WARMING / _EVERY) :]


async def _client(port: int, until: float, chance: random.Random, done: dict[str, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while time.monotonic() < until:
            [path] = chance.choices([path for _, path in _MIX], [weight for weight, _ in _MIX])
            try:
                if path == "order":
                    await _order(port)
                else:
                    await ask(reader, writer, _filled(path, chance))
            except ValueError as error:
                path = f"{error} of {path}"
                await reader.read(65_536)
                await asyncio.sleep(1)
            done[path] = done.get(path, 0) + 1
    finally:
        writer.close()


def _filled(path: str, chance: random.Random) -> str:
    west, south, east, north = _BOX
    x, y = chance.uniform(west, east - 0.03), chance.uniform(south, north - 0.02)
    box = f"{x:.5f},{y:.5f},{x + 0.03:.5f},{y + 0.02:.5f}"
    return path.format(some=chance.randint(1, 100), place=chance.randint(1, 2_000), box=box)


async def _order(port: int) -> None:
    """Order a clip, on a connection of its own, and leave it to be made."""
    body = json.dumps({"inputs": _ORDER})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        "POST /processes/extract-product/execution HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Prefer: respond-async\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        writer.write((head + body).encode())
        await reader.read()
    finally:
        writer.close()


def _judged(rows: Sequence[Sequence[float]]) -> str:
    """Print the means of the first and the second half, and return what is wrong with them."""
    wrong = []
    for number, values in enumerate(zip(*rows, strict=True), 1):
        first, second = values[: len(values) // 2], values[len(values) // 2 :]
        growth = mean(second) / mean(first)
        print(
            f"process {number}: first half {mean(first):.0f} MB, second half {mean(second):.0f} MB"
            f" ({100 * growth - 100:+.1f} %), at most {max(values):.0f} MB"
        )
        if growth > _GROWTH or max(values) > _LARGEST:
            wrong.append(f"process {number} grows or is larger than {_LARGEST:.0f} MB")
    return "; ".join(wrong)
