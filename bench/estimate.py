"""An estimate beside its order, each as the process that the worker starts, and what it expected beside the truth."""

import json
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.run import Run, run
from orchestration.ending import read_ending
from orchestration.job import Order
from orchestration.runners import Done
from orchestration.work import JobContext, Work
from orchestration.work.attempt import attempt
from products.progress import unheard

_AREAS = {
    "2 km by 2 km": [23.80, 52.70, 23.83, 52.72],
    "one park": [23.72, 52.70, 23.94, 52.82],
    "100 km by 100 km": [19.4, 49.3, 20.8, 50.2],
    "the whole sample": [15.40, 49.30, 24.00, 53.20],
}
_CONFIG = Path("pygeoapi-config.yml")
_EMPTY = "import rasterio, shapely, pyproj, sqlite3"


def measure() -> None:
    """Print seconds and peak memory of both, and what was expected of the order without any past ones."""
    print(f"a process that only imports: {run([sys.executable, '-c', _EMPTY]).seconds:.2f} s")
    for name, bbox in _AREAS.items():
        for kind in ("Raster", "Vector"):
            with tempfile.TemporaryDirectory() as folder:
                said = _run("estimate-product", kind, bbox, folder)
                estimate = _result(folder).value
            with tempfile.TemporaryDirectory() as folder:
                done = _run("extract-product", kind, bbox, folder)
                size = _result(folder).file.size
            unit = estimate.get("pixels") or estimate["polygons"]
            print(f"{kind}, {name}: {unit['total']:,}, give or take {unit['margin']:,}")
            print(f"  estimate {said.seconds:.2f} s, {said.megabytes:.0f} MB; order {done.seconds:.2f} s")
            print(f"  {size:,} bytes, expected {_shown(estimate['size'])}; seconds expected {_shown(estimate['time'])}")


def _shown(cost: dict[str, Any]) -> str:
    return f"{cost['expected']:,} ({cost['low']:,} to {cost['high']:,})"


def _run(process: str, kind: str, bbox: list[float], folder: str) -> Run:
    return run([sys.executable, "-m", "bench.estimate", process, kind, json.dumps({"bbox": bbox}), folder])


def _result(folder: str) -> Any:
    ending = read_ending(Path(folder, "job", "1", "1"))
    return ending.manifest[0] if isinstance(ending, Done) else sys.exit(str(ending))


def _attempt(process: str, kind: str, aoi: str, folder: str) -> None:
    results, stage = Path(folder), Path(folder, "job", "1", "1")
    stage.mkdir(parents=True)
    order = Order(process, {"product": kind, "aoi": json.loads(aoi)}, "local")
    work: Work = import_module(f"orchestration.work.{process.replace('-', '_')}").WORK
    attempt(lambda: work, JobContext("job", order, results, stage, _CONFIG, _no_fetch, unheard))


def _no_fetch(url: str) -> Any:
    raise ValueError(url)


if __name__ == "__main__":
    _attempt(*sys.argv[1:])
