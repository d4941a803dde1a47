"""Lists of 400 collections, each a GeoPackage of its own: the first answer after the start, and the median of five.

Seconds are those of the processor, so that what else runs does not count.
"""

import copy
import os
import shutil
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from starlette.testclient import TestClient

from products.catalogue import read_configuration
from products.vector.sample import make_parks
from server.app import create_app
from server.settings import CONCERNS, Settings

COLLECTIONS = 400
PATHS = (
    "/jobs",
    "/collections",
    "/health/ready",
    "/openapi?f=json",
    "/collections/copy-7",
    "/collections/copy-7/items?limit=1",
)
_ROUNDS = 5


def measure() -> None:
    """Print the seconds of the start and of each path."""
    with TemporaryDirectory() as folder:
        state = Path(folder)
        os.environ["LANDCAST_STATE_DIR"] = folder
        began = time.process_time()
        app = create_app(_configuration(state), _settings(state))
        with TestClient(app) as client:
            print(f"start: {time.process_time() - began:.2f} s")
            for path in PATHS:
                first, *others = (_seconds(client, path) for _ in range(1 + _ROUNDS))
                print(f"{path}: first {first * 1000:.0f} ms, then {median(others) * 1000:.1f} ms")


def _configuration(state: Path) -> dict[str, Any]:
    configuration = read_configuration(Path("pygeoapi-config.yml"))
    parks = state / "parks.gpkg"
    make_parks(Path("sample/parks.geojson"), parks)
    model = configuration["resources"].pop("parks")
    for number in range(COLLECTIONS):
        entry = copy.deepcopy(model)
        entry["providers"][0]["data"] = str(shutil.copy(parks, state / f"copy-{number}.gpkg"))
        configuration["resources"][f"copy-{number}"] = {**entry, "title": f"Copy {number}"}
    return configuration


def _settings(state: Path) -> Settings:
    given: dict[str, Any] = {"state": {"dir": state / "state"}, "auth": {"open": True}}
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    values: Any = {name: kind(**given.get(name, {})) for name, kind in kinds.items()}
    return Settings(**values)


def _seconds(client: TestClient, path: str) -> float:
    began = time.process_time()
    client.get(path)
    return time.process_time() - began
