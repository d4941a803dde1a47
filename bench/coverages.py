"""Coverages over HTTP beside titiler and vanilla pygeoapi: CPU a request of one server process each, bytes, and memory.

`BENCH_TITILER` is a Python with titiler.application and uvicorn; without it titiler is left out. The raster is that of
`bench.dense`; places are the same for all. Of a server its process alone counts, not the client.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import numpy as np
import psutil
import rasterio
import yaml
from rasterio.io import MemoryFile
from rasterio.windows import Window, bounds

from bench.dense import dense

_SIDES = {256: 30, 1_024: 12, 4_000: 3, 10_000: 1}
"""Pixels along each side, and how many are asked for."""
_ADVISED = {
    "GDAL_CACHEMAX": "200",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_NUM_THREADS": "2",
    "VSI_CACHE": "TRUE",
}
"""What titiler's documents advise."""
_START = 120
_CLIENT = httpx2.Client(timeout=300, trust_env=False)
"""It keeps a connection to each server, as clients of maps do."""

Address = Callable[[tuple[float, float, float, float], int], str]


def measure() -> None:
    """Print milliseconds of CPU a request, theirs over ours, and megabytes."""
    source = dense().absolute()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        servers = {"landcast": stack.enter_context(_landcast(Path(folder), source))}
        servers["pygeoapi"] = stack.enter_context(_pygeoapi(Path(folder), source))
        if python := os.environ.get("BENCH_TITILER"):
            servers["titiler"] = stack.enter_context(_titiler(python, source))
        for side, count in _SIDES.items():
            _compare(source, servers, side, count)


def _compare(source: Path, servers: Mapping[str, tuple[psutil.Process, Address]], side: int, count: int) -> None:
    places = np.random.default_rng(side).integers(0, 20_000 - side, (count, 2)).tolist()
    took: dict[str, list[float]] = {name: [] for name in servers}
    size = dict.fromkeys(servers, 0)
    with rasterio.open(source) as dataset:
        for place in places:
            window = Window(place[0], place[1], side, side)
            box = bounds(window, dataset.transform)
            expected = dataset.read(1, window=window)
            for name, (process, address) in servers.items():
                before = _cpu(process)
                try:
                    content = _get(address(box, side))
                except httpx2.HTTPStatusError as error:
                    print(f"{side:6} px {name:9} answers {error.response.status_code}")
                    continue
                took[name].append(1000 * (_cpu(process) - before))
                size[name] += len(content)
                _check(name, content, expected)
    for name, (process, _) in servers.items():
        if took[name]:
            print(
                f"{side:6} px {name:9} {fmean(took[name]):8.1f} ms of CPU, "
                f"{fmean(took[name]) / fmean(took['landcast']):5.2f} x, {size[name] / len(took[name]) / 1e3:9.0f} kB, "
                f"at most {peak(process):4.0f} MB",
                flush=True,
            )


def _check(name: str, content: bytes, expected: Any) -> None:
    """Exit where our pixels are not those of the raster, or others' answer is none at all."""
    with MemoryFile(content) as memory, memory.open() as dataset:
        found = dataset.read(1)
    if name == "landcast" and not np.array_equal(found, expected):
        sys.exit(f"{name} answers with other pixels")


def _get(url: str) -> bytes:
    return _CLIENT.get(url).raise_for_status().content


def _cpu(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def peak(process: psutil.Process) -> float:
    """Return the most MB of memory that a process has had."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def serving_raster(folder: Path, source: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Yield the one server process and the address of the collection of the raster."""
    configuration = yaml.safe_load(Path("pygeoapi-config.yml").read_text())
    configuration.pop("products")
    raster = configuration["resources"].pop("clcplus-raster")
    raster["providers"][0]["data"] = str(source)
    configuration["resources"] = {"land": raster}
    path, port = folder / "landcast.yml", _free_port()
    path.write_text(yaml.safe_dump(configuration))
    given = {
        "LANDCAST_AUTH_OPEN": "yes",
        "LANDCAST_STATE_DIR": str(folder / "state"),
        "LANDCAST_SERVER_BIND": f"127.0.0.1:{port}",
        "LANDCAST_SERVER_WORKERS": "1",
    }
    command = [sys.executable, "-m", "server.cli", "serve", "--config", str(path)]
    with _running(command, given, f"http://127.0.0.1:{port}/health/live") as process:
        yield _web(process, port), f"http://127.0.0.1:{port}/collections/land"


@contextmanager
def _landcast(folder: Path, source: Path) -> Iterator[tuple[psutil.Process, Address]]:
    with serving_raster(folder, source) as (process, url):
        base = f"{url}/coverage?f=tiff&subset="
        yield process, lambda box, _: f"{base}E({box[0]}:{box[2]}),N({box[1]}:{box[3]})"


def _web(supervisor: psutil.Process, port: int) -> psutil.Process:
    """Return the process below the supervisor that listens on the port and has no children."""
    for each in supervisor.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            listens = any(found.laddr.port == port for found in each.net_connections("tcp"))
            if listens and not each.children():
                return each
    raise LookupError(f"nobody listens on {port}")


@contextmanager
def _pygeoapi(folder: Path, source: Path) -> Iterator[tuple[psutil.Process, Address]]:
    configuration = yaml.safe_load(Path("pygeoapi-config.yml").read_text())
    raster = configuration["resources"]["clcplus-raster"]
    provider = {"type": "coverage", "name": "rasterio", "data": str(source)}
    raster["providers"] = [provider | {"format": {"name": "GTiff", "mimetype": "image/tiff"}}]
    port = _free_port()
    server = {
        "bind": {"host": "127.0.0.1", "port": port},
        "url": f"http://127.0.0.1:{port}",
        "mimetype": "application/json",
    }
    server |= {
        "encoding": "utf-8",
        "language": "en",
        "map": {"url": "https://tile.example.org/", "attribution": "none"},
    }
    document = {"server": server, "logging": {"level": "ERROR"}, "metadata": configuration["metadata"]}
    path, definition = folder / "pygeoapi.yml", folder / "pygeoapi.json"
    path.write_text(yaml.safe_dump(document | {"resources": {"land": raster}}))
    definition.write_text(json.dumps({"openapi": "3.0.2", "info": {"title": "", "version": "1"}, "paths": {}}))
    start = (
        "import sys, types; sys.modules['uvicorn'] = types.ModuleType('uvicorn'); "
        "from gunicorn.app.wsgiapp import run; run()"
    )
    options = [
        "--worker-class",
        "asgi",
        "--bind",
        f"127.0.0.1:{port}",
        "--no-control-socket",
        "pygeoapi.starlette_app:APP",
    ]
    given = {"PYGEOAPI_CONFIG": str(path), "PYGEOAPI_OPENAPI": str(definition)}
    with _running([sys.executable, "-c", start, *options], given, f"http://127.0.0.1:{port}/conformance") as process:
        base = f"http://127.0.0.1:{port}/collections/land/coverage?f=GTiff&subset="
        yield process.children()[0], lambda box, _: f"{base}x({box[0]}:{box[2]}),y({box[1]}:{box[3]})"


@contextmanager
def _titiler(python: str, source: Path) -> Iterator[tuple[psutil.Process, Address]]:
    port = _free_port()
    command = [python, "-m", "uvicorn", "titiler.application.main:app", "--port", str(port), "--log-level", "error"]
    with _running(command, _ADVISED, f"http://127.0.0.1:{port}/healthz") as process:
        query = urllib.parse.urlencode({"url": source, "coord_crs": "epsg:3035", "dst_crs": "epsg:3035"})
        base = f"http://127.0.0.1:{port}/cog/bbox"
        yield process, lambda box, side: f"{base}/{','.join(map(str, box))}/{side}x{side}.tif?{query}&return_mask=false"


@contextmanager
def _running(command: list[str], environment: Mapping[str, str], ready: str) -> Iterator[psutil.Process]:
    server = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    until = time.monotonic() + _START
    try:
        while True:
            try:
                _get(ready)
                break
            except httpx2.HTTPError:
                if time.monotonic() > until or server.poll() is not None:
                    raise
                time.sleep(0.3)
        yield psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(60)
