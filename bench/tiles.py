"""Tiles of 256 px of the dense raster, never asked for before, beside MapServer in process and titiler over HTTP.

MapServer is asked by the mapscript of `BENCH_MAPSCRIPT` (a Python; default: /usr/bin/python3 with python3-mapscript),
titiler by `BENCH_TITILER` (a Python that has titiler.application and uvicorn; without it titiler is left out).
"""

import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import yaml
from pyproj import Transformer

from bench.balance import ask, free_port
from bench.dense import dense
from bench.run import clean_environment
from products.classes import CLASSES
from products.operation import Bounds
from products.raster.blocks import RasterBlocks
from products.raster.nearest import read_nearest
from products.raster.picture import Style, palette_of, png
from products.tiling import TileMatrix, tile_matrix_sets

_ZOOMS = ("8", "10", "12", "14")
_TILES = 60
_SIZE = (256, 256)
_CLIENTS, _SECONDS, _WORKERS, _STARTING = 8, 4.0, 2, 15.0
_MAPSCRIPT = """
import json, mapscript, sys, time
source, boxes = sys.argv[1], json.load(sys.stdin)
world = mapscript.mapObj()
world.setProjection("EPSG:3857")
world.units = mapscript.MS_METERS
form = mapscript.outputFormatObj("AGG/PNG", "png")
form.imagemode = mapscript.MS_IMAGEMODE_RGBA
world.setOutputFormat(form)
layer = mapscript.layerObj(world)
layer.data, layer.type, layer.status = source, mapscript.MS_LAYER_RASTER, mapscript.MS_ON
layer.setProjection("EPSG:3035")
for setting in ("CLOSE_CONNECTION=DEFER", "RESAMPLE=NEAREST"):
    layer.addProcessing(setting)
took = {}
for zoom, of_zoom in boxes.items():
    took[zoom] = []
    for number, box in enumerate(of_zoom[:3] + of_zoom):
        world.setExtent(*box)
        world.setSize(256, 256)
        begun = time.process_time()
        image = world.draw().getBytes()
        took[zoom] += [(time.process_time() - begun, len(image))] * (number >= 3)
print(json.dumps(took))
"""

Place = tuple[str, int, int]
"""Zoom, row and column."""


def measure() -> None:
    """Print the CPU time of a tile, the peer's over ours, and requests a second over HTTP."""
    source = dense().resolve()
    places = {zoom: list(_places(source, zoom)) for zoom in _ZOOMS}
    _in_process(source, places)
    if titiler := os.environ.get("BENCH_TITILER"):
        with tempfile.TemporaryDirectory() as folder:
            _over_http(source, places, Path(folder), titiler)


def _matrix(zoom: str) -> TileMatrix:
    return tile_matrix_sets()["WebMercatorQuad"].matrices[zoom]


def _places(source: Path, zoom: str) -> Iterator[Place]:
    """Yield places in the raster, each once, always the same."""
    chance, seen, matrix = np.random.default_rng(1), set[tuple[int, int]](), _matrix(zoom)
    west, south, east, north = RasterBlocks(source).grid.bounds
    transformer = Transformer.from_crs(3035, 3857, always_xy=True)
    for _ in range(_TILES * 4):
        share_x, share_y = chance.uniform(0.05, 0.95, 2)
        x, y = transformer.transform(west + share_x * (east - west), south + share_y * (north - south))
        column, row = int((x - matrix.begin[0]) // matrix.span[0]), int((matrix.begin[1] - y) // matrix.span[1])
        if (row, column) not in seen and len(seen) < _TILES:
            seen.add((row, column))
            yield zoom, row, column


def _in_process(source: Path, places: Mapping[str, Sequence[Place]]) -> None:
    boxes = {zoom: [_matrix(zoom).bounds(row, column) for _, row, column in of] for zoom, of in places.items()}
    mapscript = os.environ.get("BENCH_MAPSCRIPT", "/usr/bin/python3")
    asked = [mapscript, "-c", _MAPSCRIPT, str(source)]
    done = subprocess.run(asked, input=json.dumps(boxes), capture_output=True, text=True, check=False)
    theirs = json.loads(done.stdout) if done.returncode == 0 else {}
    print("in process       tiles  ours ms  bytes  bytes/8-bit PNG  MapServer ms  MapServer/ours")
    for zoom, of_zoom in boxes.items():
        took, sizes, plain = _ours(source, of_zoom)
        row = f"z{zoom:<15} {len(of_zoom):5} {1e3 * took:8.2f} {sizes:6.0f} {sizes / plain:16.2f}"
        peer = median(each[0] for each in theirs[zoom]) if theirs else math.nan
        print(f"{row} {1e3 * peer:13.2f} {peer / took:15.1f}", flush=True)


def _ours(source: Path, boxes: Sequence[Bounds]) -> tuple[float, float, float]:
    """Return the median CPU time of a tile, and the mean bytes of ours and of 8 bits by zlib at level 6."""
    raster, palette = RasterBlocks(source), palette_of(Style(CLASSES))
    took, sizes, plain = [], [], []
    for number, box in enumerate([*boxes[:3], *boxes]):
        begun = time.process_time()
        values = read_nearest(raster, box, 3857, _SIZE)
        if values is None:
            continue
        content = png(values, palette)
        if number >= 3:  # noqa: PLR2004 - the first ones warm up
            took.append(time.process_time() - begun)
            sizes.append(len(content))
            plain.append(len(zlib.compress(np.pad(values, ((0, 0), (1, 0))), 6)))
    return median(took), sum(sizes) / len(sizes), sum(plain) / len(plain)


def _over_http(source: Path, places: Mapping[str, Sequence[Place]], folder: Path, titiler: str) -> None:
    print(f"over HTTP, {_CLIENTS} clients, {_WORKERS} processes: ms of CPU a request  ours  titiler  titiler/ours")
    with _landcast(source, folder) as ours, _titiler(source, titiler) as theirs:
        for zoom, of_zoom in places.items():
            took = []
            for process, port, template in (ours, theirs):
                paths = [template.format(z=zoom, y=row, x=column) for _, row, column in of_zoom]
                took.append(asyncio.run(_cost(process, port, paths)))
            print(f"z{zoom:<53} {took[0]:7.1f} {took[1]:8.1f} {took[1] / took[0]:13.1f}", flush=True)


async def _cost(server: psutil.Process, port: int, paths: list[str]) -> float:
    """Return milliseconds of the processor that a request takes, of all of the server's processes."""
    warmed = time.monotonic() + _SECONDS / 2
    await asyncio.gather(*(_ask_all(port, paths[:2], warmed) for _ in range(_CLIENTS)))
    before, until = _cpu(server), time.monotonic() + _SECONDS
    asked = (_ask_all(port, paths[number:] + paths[:number], until) for number in range(_CLIENTS))
    count = sum(await asyncio.gather(*asked))
    return 1e3 * (_cpu(server) - before) / count


def _cpu(server: psutil.Process) -> float:
    times = [each.cpu_times() for each in (server, *server.children(recursive=True))]
    return sum(each.user + each.system for each in times)


async def _ask_all(port: int, paths: Sequence[str], until: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    try:
        while time.monotonic() < until:
            await ask(reader, writer, paths[count % len(paths)])
            count += 1
    finally:
        writer.close()
    return count


@contextmanager
def _landcast(source: Path, folder: Path) -> Iterator[tuple[psutil.Process, int, str]]:
    port = free_port()
    document = yaml.safe_load(Path("pygeoapi-config.yml").read_text())
    raster = document["resources"]["clcplus-raster"]
    raster["providers"][0]["data"] = str(source)
    document["resources"], _ = {"dense": raster}, document.pop("products")
    (folder / "config.yml").write_text(yaml.safe_dump(document))
    environment = {**os.environ, **clean_environment(folder / "state", port), "LANDCAST_SERVER_WORKERS": str(_WORKERS)}
    command = [sys.executable, "-m", "server.cli", "serve", "--config", str(folder / "config.yml")]
    with _running(command, environment, port) as process:
        yield process, port, "/collections/dense/map/tiles/WebMercatorQuad/{z}/{y}/{x}?f=png"


@contextmanager
def _titiler(source: Path, python: str) -> Iterator[tuple[psutil.Process, int, str]]:
    port = free_port()
    settings = {"GDAL_CACHEMAX": "200", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "VSI_CACHE": "TRUE"}
    command = [python, "-m", "uvicorn", "titiler.application.main:app", "--port", str(port), "--workers", str(_WORKERS)]
    with _running([*command, "--log-level", "error"], {**os.environ, **settings}, port) as process:
        yield process, port, f"/cog/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png?url={source}"


@contextmanager
def _running(command: Sequence[str], environment: Mapping[str, str], port: int) -> Iterator[psutil.Process]:
    server = subprocess.Popen(command, env=dict(environment), stderr=subprocess.DEVNULL)
    try:
        asyncio.run(_until_answers(port))
        time.sleep(_STARTING)
        yield psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(30)


async def _until_answers(port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.2)
        else:
            writer.close()
            return
    raise TimeoutError("the server does not start")
