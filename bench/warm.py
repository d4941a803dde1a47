"""Trivial orders through `landcast work`, how many a second and what each costs; one park beside gdalwarp.

The orders are of `echo` and of a plugin of pygeoapi.
What they cost is what the worker and all that it has started take of the processor. The orders are in the database
before; the worker stands still while they are put there. An order of a park goes from POST to the last byte of its
package over HTTP, in turn with `gdalwarp` to the same COG.
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx2
import psutil
import yaml

from bench.orders import _AREAS, _theirs
from bench.run import clean_environment, run, serve
from orchestration.job import JobQuery, Order, Status
from orchestration.store.jobs import StoredJobs
from products.catalogue import catalogue_of, read_configuration

_ORDERS = 300
_FIRST = 10
"""Orders before those that are measured."""
_ROUNDS = 5
_LOOK = 0.01
_PORT = 5098


def measure() -> None:
    """Print them, with what the disk and the machine do meanwhile."""
    run([".venv/bin/python", "-m", "server.cli", "sample"])
    with tempfile.TemporaryDirectory(dir="var") as folder:
        state = Path(folder)
        copytree("var/sample", state / "sample")
        print(f"fsync of 4 kB: median {_fsync(state):.1f} ms; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        _trivial(state / "echo", Path("pygeoapi-config.yml"), "echo", {"stringInput": "x"})
        _trivial(state / "hello", _with_hello(state), "hello", {"name": "x"})
        _park(state)


def _fsync(folder: Path) -> float:
    took = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def _with_hello(folder: Path) -> Path:
    """Return a configuration with a plugin of pygeoapi's."""
    document = read_configuration(Path("pygeoapi-config.yml"))
    hello = {"type": "process", "processor": {"name": "HelloWorld"}}
    config = folder / "config.yml"
    config.write_text(yaml.safe_dump({**document, "resources": {**document["resources"], "hello": hello}}))
    return config


def _trivial(state: Path, config: Path, process: str, inputs: Mapping[str, Any]) -> None:
    state.mkdir()
    with _worker(state, config) as worker, closing(StoredJobs(state / "orders.sqlite", busy_seconds=60)) as store:
        _order_all(store, Order(process, inputs, "bench"), _FIRST)
        _wait_for_all(store, worker)
        worker.suspend()
        _order_all(store, Order(process, inputs, "bench"), _ORDERS)
        before, began = _cpu(worker), time.perf_counter()
        worker.resume()
        _wait_for_all(store, worker)
        seconds, cpu = time.perf_counter() - began, _cpu(worker) - before
    print(f"{_ORDERS} orders of {process}: {_ORDERS / seconds:.0f} a second, {cpu * 1000 / _ORDERS:.1f} ms of CPU each")


def _order_all(store: StoredJobs, order: Order, times: int) -> None:
    for _ in range(times):
        store.add(order)


def _wait_for_all(store: StoredJobs, worker: psutil.Process) -> None:
    """Wait until all orders are done, at next to no cost. Raises RuntimeError if the worker has ended."""
    while store.find(JobQuery(statuses=(Status.ACCEPTED, Status.RUNNING), limit=1)).matched:
        if worker.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError("the worker has ended")
        time.sleep(_LOOK)


@contextmanager
def _worker(state: Path, config: Path) -> Iterator[psutil.Process]:
    environment = {**os.environ, **clean_environment(state, _PORT)}
    command = [".venv/bin/python", "-m", "server.cli", "work", "--config", str(config)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


def _cpu(worker: psutil.Process) -> float:
    """Return the seconds of the processor that the worker has used, and all that it has started."""
    times = [process.cpu_times() for process in (worker, *worker.children(recursive=True))]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def _park(state: Path) -> None:
    area = _AREAS["one park"]
    source = catalogue_of(read_configuration(Path("pygeoapi-config.yml"))).default.raster
    with (state / "log").open("w") as log, httpx2.Client(base_url=f"http://127.0.0.1:{_PORT}", trust_env=False) as http:
        server = serve(state, _PORT, log)
        try:
            _wait(http)
            _order(http, area)
            pairs = [(_order(http, area), _theirs(source, json.dumps({"bbox": area})).seconds) for _ in range(_ROUNDS)]
        finally:
            server.terminate()
            server.wait(10)
    print(f"one park, POST to last byte: median {statistics.median(ours for ours, _ in pairs):.2f} s")
    print(f"  gdalwarp to the same COG: median {statistics.median(theirs for _, theirs in pairs):.2f} s")
    print(f"  ours/gdalwarp: median {statistics.median(ours / theirs for ours, theirs in pairs):.2f}")


def _wait(http: httpx2.Client) -> None:
    while True:
        try:
            if http.get("/health/ready").is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.1)


def _order(http: httpx2.Client, area: list[float]) -> float:
    """Order the raster of the area and take the package; return the seconds."""
    body = {"inputs": {"product": "Raster", "aoi": {"bbox": area}}}
    began = time.perf_counter()
    job = http.post("/processes/extract-product/execution", json=body).json()["jobID"]
    while (status := http.get(f"/jobs/{job}?f=json").json())["status"] in {"accepted", "running"}:
        time.sleep(_LOOK)
    if status["status"] != "successful":
        raise RuntimeError(status["message"])
    http.get(f"/jobs/{job}/results", follow_redirects=True).raise_for_status()
    return time.perf_counter() - began
