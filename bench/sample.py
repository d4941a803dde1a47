"""Making the sample's vector products, beside GDAL's own polygonizer on one park of it."""

import tempfile
from pathlib import Path

from bench.run import run


def measure() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ours = run(
            [".venv/bin/python", "-m", "server.cli", "sample"], environment={"LANDCAST_STATE_DIR": str(Path(folder))}
        )
    print(f"landcast sample: {ours.seconds:.1f} s, {ours.megabytes:.0f} MB")
