"""Poland from the sample: the national raster and vector, in processes of their own."""

import sys
import tempfile
from pathlib import Path

from bench.run import Run, run
from products.catalogue import catalogue_of, read_configuration
from products.nations import find_nation
from products.nations.product import national_raster, national_vector
from products.progress import unheard

_ROUNDS = 3


def measure() -> None:
    """Print seconds, peak memory and the size of the main file of each."""
    for kind, main in (("raster", "tif"), ("vector", "gpkg")):
        with tempfile.TemporaryDirectory() as folder:
            runs = [_made(kind, folder) for _ in range(_ROUNDS)]
            size = Path(folder, f"product.{main}").stat().st_size / 1e6
        seconds, megabytes = sorted(each.seconds for each in runs)[_ROUNDS // 2], max(each.megabytes for each in runs)
        print(f"{kind}, Poland: median {seconds:.1f} s, peak {megabytes:.0f} MB, file {size:.1f} MB")


def _made(kind: str, folder: str) -> Run:
    return run([sys.executable, "-m", "bench.nations", kind, folder])


def _make(kind: str, folder: str) -> None:
    product = catalogue_of(read_configuration(Path("pygeoapi-config.yml"))).default
    nation = find_nation("Poland") or sys.exit("there is no Poland")
    make = {"raster": national_raster, "vector": national_vector}[kind]
    make(product, nation, Path(folder), name="product", report=unheard)


if __name__ == "__main__":
    _make(*sys.argv[1:])
