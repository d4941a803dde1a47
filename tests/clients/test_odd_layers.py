"""GDAL and QGIS read unusual layers of other programs: every feature, value and geometry."""

import copy
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shapely

from products.catalogue import read_configuration
from tests.clients.conftest import run
from tests.conftest import serving
from tests.odd import geopackages as odd

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("QGIS_PYTHON", "/usr/bin/python3")
PROGRAMS = ROOT / "tests" / "qgis"
MADE = (
    odd.parameters, odd.heights, odd.text_key, odd.null_ids, odd.several, odd.laea, odd.esri, odd.no_key, odd.names,
    odd.values, odd.empty, odd.stale_index,
)  # fmt: skip
COUNTS = {
    "parameters": 3, "heights": 4, "text_key": 2, "null_ids": 14, "others": 1, "laea": 2, "esri": 2, "no_key": 2,
    "names": 1, "values": 2, "empty": 8, "stale_index": 3, "circle": 1, "points": 2, "own": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server with the most unusual layers, and some written by QGIS."""
    folder = tmp_path_factory.mktemp("layers")
    definitions: dict[str, dict[str, Any]] = {}
    for make in MADE:
        make(folder / f"{make.__name__}.gpkg")
        definitions[make.__name__] = {"data": str(folder / f"{make.__name__}.gpkg")}
    odd.by_hand(folder / "circle.gpkg", odd.ONE, [(1, "circle", odd.blob(odd.CURVES["circle"][0]))])
    done = run(PYTHON, str(PROGRAMS / "write_layers.py"), str(folder), HOME=str(folder))
    assert done.returncode == 0, f"QGIS is needed (apt-get install python3-qgis): {done.stderr[-500:]}"
    for name in ("circle", "points", "own"):
        definitions[name] = {"data": str(folder / f"{name}.gpkg")}
    definitions["null_ids"]["id_field"] = "code"
    definitions["others"] = {"data": definitions.pop("several")["data"], "table": "others"}
    configuration = read_configuration(ROOT / "pygeoapi-config.yml")
    model = configuration["resources"].pop("parks")
    for name, definition in definitions.items():
        entry = copy.deepcopy(model)
        entry["providers"][0] |= definition
        configuration["resources"][name] = entry
    (folder / "configuration.yml").write_text(json.dumps(configuration, default=str))
    with serving(folder, folder / "log", configuration=str(folder / "configuration.yml")) as url:
        yield url


def test_gdal_reads_unusual_layers(served: str) -> None:
    """It reads the layers of the server, with ids, names, spatial filters and the values of unusual columns."""
    done = run("ogrinfo", "-ro", f"OAPIF:{served}", *COUNTS)
    assert done.returncode == 0, done.stderr
    counts = {name: done.stdout.count(f"\nOGRFeature({name}):") for name in COUNTS}
    assert counts == COUNTS
    assert "ERROR" not in done.stderr, done.stderr
    first = done.stdout.partition("OGRFeature(parameters):1")[2].partition("OGRFeature")[0]
    values = dict(re.findall(r"^  (\S+) \(String\) = (\S+)$", first, re.MULTILINE))
    assert {name: values.get(name) for name in ("limit", "f", "bbox", "offset", "datetime", "q", "token")} == {
        name: f"a{name}" for name in ("limit", "f", "bbox", "offset", "datetime", "q", "token")
    }
    assert "POINT Z (21 52.2 100.5)" in done.stdout
    assert {"id (String) = a/b", "id (String) = é ?#%", "id (String) =  ", "id (String) = ../x"} <= {
        line.lstrip(" ").removesuffix("\n") for line in done.stdout.splitlines()
    }
    near = run("ogrinfo", "-ro", "-so", "-spat", "19.8", "50", "20", "50.2", f"OAPIF:{served}", "parameters", "laea")
    assert re.findall(r"Feature Count: (\d+)", near.stdout) == ["1", "1"], near.stdout


def test_qgis_reads_unusual_layers(served: str, tmp_path: Path) -> None:
    """It requests the schema, the queryables and pages of its own size."""
    done = run(PYTHON, str(PROGRAMS / "read_layers.py"), served, str(tmp_path), *COUNTS, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr[-500:]
    layers = json.loads(done.stdout)
    assert {name: len(features or ()) for name, features in layers.items()} == {
        **COUNTS,
        "null_ids": 13,  # features of the same id are one to QGIS
    }
    found = {name: [(values, outline) for values, outline in features] for name, features in layers.items()}
    values, outline = found["parameters"][0]
    assert {"limit": "alimit", "f": "af", "bbox": "abbox", "datetime": "adatetime"}.items() <= values.items()
    assert shapely.from_wkt(outline).equals(shapely.Point(odd.WARSAW))
    assert {values["id"] for values, _ in found["text_key"]} == {"a/b", "é ?#%"}
    for name in ("laea", "esri", "no_key"):
        assert shapely.from_wkt(found[name][0][1]).distance(shapely.Point(odd.WARSAW)) < 1e-6
    (_, circle), (own, round_) = found["circle"][0], found["own"][0]
    assert shapely.from_wkt(circle).area == pytest.approx(3.1416, abs=0.01)
    assert shapely.from_wkt(round_).centroid.distance(shapely.Point(21, 52.2)) < 1e-6
    assert (own["name"], own["limit"], own["day"]) == ("no 1", 1, "2023-01-01")
    assert [outline for _, outline in found["points"]][1] is None
    assert "100" in found["points"][0][1]
