"""The server processes' bounds."""

import os
import subprocess
import sys
from pathlib import Path

import rasterio
from affine import Affine

_READ_ALL = """
import sys
import rasterio
from pathlib import Path
from rasterio.windows import Window
from server.web import limit_memory

def resident():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])

limit_memory()
with rasterio.open(sys.argv[1]) as dataset:
    before = resident()
    for row in range(0, dataset.height, 256):
        dataset.read(1, window=Window(0, row, dataset.width, 256))
    print(resident() - before)
"""


def test_gdal_caches_few_blocks(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "tiled": True, "sparse_ok": True}
    place = {"crs": "EPSG:3035", "transform": Affine(10, 0, 4_000_000, 0, -10, 3_000_000)}
    with rasterio.open(tmp_path / "large.tif", "w", width=16_384, height=16_384, **profile, **place):
        """256 MB of pixels, none of them in the file."""
    clean = {name: value for name, value in os.environ.items() if name != "GDAL_CACHEMAX"}
    command = [sys.executable, "-c", _READ_ALL, str(tmp_path / "large.tif")]
    grown = subprocess.run(command, env=clean, capture_output=True, text=True, check=True).stdout
    assert 32 < int(grown) / 1024 < 128
