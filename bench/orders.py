"""An area cut from the sample: our extraction with all its members beside `gdalwarp -of COG`, in turn."""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from bench.run import Run, run
from products.area import read_area
from products.catalogue import catalogue_of, read_configuration
from products.progress import unheard
from products.raster.extract import extract_raster
from products.vector.extract import extract_vector

_ROUNDS = 3
_AREAS = {
    "one park": [23.72, 52.70, 23.94, 52.82],
    "100 km by 100 km": [19.4, 49.3, 20.8, 50.2],
}
_WHOLE = [15.40, 49.30, 24.00, 53.20]


def measure() -> None:
    """Print seconds and peak memory of each, and the ratio pair by pair; gdalwarp needs minutes for the whole."""
    source = catalogue_of(read_configuration(Path("pygeoapi-config.yml"))).default
    vector = source.vector or sys.exit("the first product has no vector")
    for name, bbox in _AREAS.items():
        area = json.dumps({"bbox": bbox})
        pairs = [(_ours("raster", source.raster, area), _theirs(source.raster, area)) for _ in range(_ROUNDS)]
        _print(f"raster, {name}", [ours for ours, _ in pairs])
        _print("  gdalwarp", [theirs for _, theirs in pairs])
        ratios = [ours.seconds / theirs.seconds for ours, theirs in pairs]
        print(f"  ours/gdalwarp: median {statistics.median(ratios):.2f}")
        _print(f"vector, {name}", [_ours("vector", vector, area) for _ in range(_ROUNDS)])
    area = json.dumps({"bbox": _WHOLE})
    _print("raster, the whole sample", [_ours("raster", source.raster, area)])
    _print("vector, the whole sample", [_ours("vector", vector, area)])


def _print(name: str, runs: list[Run]) -> None:
    seconds = statistics.median(each.seconds for each in runs)
    megabytes = max(each.megabytes for each in runs)
    print(f"{name}: median {seconds:.2f} s, peak {megabytes:.0f} MB")


def _ours(kind: str, source: Path, area: str) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        return run([sys.executable, "-m", "bench.orders", kind, str(source), area, folder])


def _theirs(source: Path, area: str) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        cutline = Path(folder, "area.geojson")
        cutline.write_text(json.dumps(read_area(json.loads(area)).geometry.__geo_interface__))
        options = ["-of", "COG", "-cutline", str(cutline), "-crop_to_cutline", "-tap", "-tr", "10", "10"]
        creation = ["-co", "OVERVIEW_RESAMPLING=MODE", "-co", "COMPRESS=DEFLATE", "-co", "SPARSE_OK=TRUE"]
        return run(["gdalwarp", "-q", *options, *creation, str(source), str(Path(folder, "out.tif"))])


def _extract(kind: str, source: str, area: str, folder: str) -> None:
    extract = {"raster": extract_raster, "vector": extract_vector}[kind]
    extract(Path(source), read_area(json.loads(area)), Path(folder), name="product", report=unheard)


if __name__ == "__main__":
    _extract(*sys.argv[1:])
