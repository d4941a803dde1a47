"""Orders of Poland from the sample, its raster and its polygons, each as the process that the worker starts."""

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench.run import Run, run
from orchestration.ending import read_ending
from orchestration.job import Order
from orchestration.runners import Done
from orchestration.work import JobContext
from orchestration.work.attempt import attempt
from orchestration.work.national_product import WORK
from products.progress import unheard

_CONFIG = Path("pygeoapi-config.yml")
_PROCESS = "national-product"
_ROUNDS = 3


def measure() -> None:
    """Print seconds, also those of the processor, peak memory and the size of the result of each."""
    for kind in ("Raster", "Vector"):
        made = [_made(kind) for _ in range(_ROUNDS)]
        seconds, user = median(each.seconds for each, _ in made), median(each.user for each, _ in made)
        megabytes, size = max(each.megabytes for each, _ in made), made[0][1] / 1e6
        print(f"{kind}, Poland: median {seconds:.1f} s ({user:.1f} s user), peak {megabytes:.0f} MB, {size:.1f} MB")


def _made(kind: str) -> tuple[Run, int]:
    with tempfile.TemporaryDirectory() as folder:
        took = run([sys.executable, "-m", "bench.nations", kind, folder])
        ending = read_ending(_stage(folder))
        if not isinstance(ending, Done) or (file := ending.manifest[0].file) is None:
            sys.exit(str(ending))
        return took, file.size


def _make(kind: str, folder: str) -> None:
    stage = _stage(folder)
    stage.mkdir(parents=True)
    order = Order(_PROCESS, {"product": kind, "nation": "Poland"}, "local")
    attempt(lambda: WORK, JobContext("job", order, Path(folder), stage, _CONFIG, _no_fetch, unheard))


def _stage(folder: str) -> Path:
    return Path(folder, "job", "1", "1")


def _no_fetch(url: str) -> Any:
    raise ValueError(url)


if __name__ == "__main__":
    _make(*sys.argv[1:])
