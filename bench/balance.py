"""How even several server processes share the work of a few clients, whose connections are kept or made anew."""

import asyncio
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.run import clean_environment

_CLIENTS = (4, 8, 16, 64)
_SECONDS = 3.0
_PATH = "/collections/parks/items?limit=1"
_MOST = 65


def measure() -> None:
    """Print the share of the processor's time of the server process that works most. Exits where it is too much."""
    uneven = 0
    with tempfile.TemporaryDirectory() as folder:
        for workers in (2, 4):
            with web_processes(Path(folder), workers) as (port, processes):
                for clients in _CLIENTS:
                    for kept_alive in (True, False):
                        share, rate = asyncio.run(_shared(port, processes, clients, kept_alive=kept_alive))
                        uneven += share > _MOST
                        how = "kept alive" if kept_alive else "made anew"
                        print(f"{workers} processes, {clients:2} clients, {how}: {share:.0f} %, {rate:,.0f} requests/s")
    if uneven:
        raise SystemExit(f"{uneven} times one process did more than {_MOST} % of the work")


@contextmanager
def web_processes(folder: Path, workers: int, **environment: str) -> Iterator[tuple[int, list[psutil.Process]]]:
    """Yield the port of a server with the sample, and its web processes."""
    port, state = free_port(), folder / "state"
    own = {**os.environ, **clean_environment(state, port), "LANDCAST_SERVER_WORKERS": str(workers), **environment}
    subprocess.run([".venv/bin/python", "-m", "server.cli", "sample"], env=own, check=True, capture_output=True)
    with (folder / "log").open("a") as log:
        server = subprocess.Popen([".venv/bin/python", "-m", "server.cli", "serve"], env=own, stderr=log)
    try:
        yield port, _found(server.pid, workers)
    finally:
        server.terminate()
        server.wait(20)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _found(supervisor: int, workers: int) -> list[psutil.Process]:
    """Wait for the web processes, children of a child of the supervisor, and until each has begun."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for child in psutil.Process(supervisor).children():
            if len(found := child.children()) == workers and _rests(found):
                return found
        time.sleep(0.1)
    raise TimeoutError("the server does not start")


def _rests(processes: list[psutil.Process]) -> bool:
    """Say whether each has done something and does no more."""
    before = [_cpu(process) for process in processes]
    time.sleep(1)
    return before == [_cpu(process) for process in processes]


async def _shared(port: int, processes: list[psutil.Process], clients: int, *, kept_alive: bool) -> tuple[float, float]:
    before = [_cpu(process) for process in processes]
    until = time.monotonic() + _SECONDS
    done = sum(await asyncio.gather(*(_client(port, until, kept_alive=kept_alive) for _ in range(clients))))
    took = [_cpu(process) - was for process, was in zip(processes, before, strict=True)]
    return 100 * max(took) / sum(took), done / _SECONDS


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def _client(port: int, until: float, *, kept_alive: bool) -> int:
    """Ask one thing after another until the time; return how many were answered."""
    done = 0
    while time.monotonic() < until:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while time.monotonic() < until:
                await ask(reader, writer, _PATH, close=not kept_alive)
                done += 1
                if not kept_alive:
                    break
        finally:
            writer.close()
    return done


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, *, close: bool = False) -> int:
    """Ask with GET, read the answer, return its bytes. Raises ValueError where it is not 200."""
    connection = "close" if close else "keep-alive"
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: {connection}\r\n\r\n"
    writer.write(head.encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ValueError(answer.partition(b"\r\n")[0].decode())
    fields = dict(line.split(b": ", 1) for line in answer.lower().split(b"\r\n")[1:] if line)
    if b"content-length" in fields:
        return len(await reader.readexactly(int(fields[b"content-length"])))
    return await _chunks(reader)


async def _chunks(reader: asyncio.StreamReader) -> int:
    read = 0
    while size := int(await reader.readline(), 16):
        read += len(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return read
