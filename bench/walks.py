"""The walk of a request through the code: the files that it enters, the changes between them, the opened sources.

Every call of a Python function in our folders counts, in all threads; the continuation of a coroutine or generator does
not. The request is sent twice before, to fill the caches.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from starlette.testclient import TestClient

from orchestration.job import Output
from products.catalogue import read_configuration
from products.vector.sample import make_parks
from server.app import create_app
from server.settings import CONCERNS, Settings

MOST_FILES, MOST_CHANGES, MOST_OPENED = 16, 60, 1
_ROOT = Path(__file__).parents[1]
_OURS = ("auth", "orchestration", "plugins", "processes", "products", "routes", "server", "sql")
_ECHO = {"inputs": {"stringInput": "walk"}}
_WARM = 2
_GOES_ON = 3
"""The bits of RESUME's argument that are set if a frame continues after a yield or an await (CPython, `dis`)."""


@dataclass(slots=True)
class Walk:
    """The files that a request entered, in turn, and the sources that it opened."""

    files: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)

    @property
    def changes(self) -> int:
        """The number of changes from one file to another."""
        return sum(before != after for before, after in zip(self.files, self.files[1:], strict=False))


def measure() -> None:
    """Print for each request how many files, changes between them and opened sources, with the bounds."""
    with TemporaryDirectory() as folder, _client(Path(folder)) as client:
        print(
            f"{'':44} {'files':>6} {'changes':>8} {'opened':>7}   (at most {MOST_FILES}, {MOST_CHANGES}, {MOST_OPENED})"
        )
        for title, send in requests(client).items():
            for _ in range(_WARM):
                send()
            walk = walked(send)
            print(f"{title:24} {len(set(walk.files)):6} {walk.changes:8} {len(walk.opened):7}", flush=True)


@contextmanager
def _client(state: Path) -> Iterator[TestClient]:
    os.environ["LANDCAST_STATE_DIR"] = str(state)
    given: dict[str, Any] = {"state": {"dir": state}, "auth": {"open": True}}
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    values: Any = {name: kind(**given.get(name, {})) for name, kind in kinds.items()}
    configuration = read_configuration(_ROOT / "pygeoapi-config.yml")
    parks = state / "parks.gpkg"
    make_parks(_ROOT / "sample" / "parks.geojson", parks)
    configuration["resources"]["parks"]["providers"][0]["data"] = str(parks)
    for product in configuration["products"].values():
        configuration["resources"].pop(product.pop("vector", None), None)
    with TestClient(create_app(configuration, Settings(**values))) as client:
        yield client


def requests(client: TestClient) -> dict[str, Callable[[], object]]:
    """Return the requests by title."""

    def get(path: str) -> Callable[[], object]:
        return lambda: _expect(client.get(path), HTTPStatus.OK)

    def order() -> None:
        answer = client.post("/processes/echo/execution", json=_ECHO, headers={"Prefer": "respond-async"})
        _expect(answer, HTTPStatus.CREATED)

    return {
        "items": get("/collections/parks/items?limit=10"),
        "items in a box, sorted": get("/collections/parks/items?bbox=19,49,21,51&sortby=name&limit=10"),
        "item": get(f"/collections/parks/items/{_first(client)}"),
        "coverage": get("/collections/clcplus-raster/coverage?bbox=23.8,52.7,23.82,52.71"),
        "map": get("/collections/clcplus-raster/map?bbox=23.8,52.7,23.82,52.71&width=256"),
        "tile": get("/collections/clcplus-raster/map/tiles/WebMercatorQuad/12/1396/2270"),
        "execution": order,
        "results": get(f"/jobs/{_done(client)}/results"),
        "collection": get("/collections/parks"),
        "collections": get("/collections"),
        "processes": get("/processes"),
        "openapi": get("/openapi?f=json"),
    }


def _first(client: TestClient) -> str:
    return str(client.get("/collections/parks/items?limit=1").json()["features"][0]["id"])


def _done(client: TestClient) -> str:
    """Return the id of a job whose result is published, as the worker would."""
    app: Any = client.app
    store = app.state.resources.store
    answer = client.post("/processes/echo/execution", json=_ECHO, headers={"Prefer": "respond-async"})
    job = store.begin(answer.json()["jobID"])
    store.publish(job.id, job.attempt, (Output("echoOutput", "walk"),))
    return str(job.id)


def _expect(answer: Any, status: int) -> None:
    if answer.status_code != status:
        sys.exit(f"{answer.request.url}: {answer.status_code} {answer.text[:300]}")


def walked(send: Callable[[], object]) -> Walk:
    """Return what a request walks through."""
    walk = Walk()
    names: dict[str, str] = {}
    folders = tuple(f"{_ROOT / folder}{os.sep}" for folder in _OURS)

    def look(frame: FrameType, event: str, _argument: object) -> None:
        if event != "call" or frame.f_code.co_code[frame.f_lasti + 1] & _GOES_ON:
            return
        path = frame.f_code.co_filename
        if path.startswith(folders):
            walk.files.append(names.setdefault(path, str(Path(path).relative_to(_ROOT))))
        elif frame.f_code.co_name == "open" and path.endswith("rasterio/__init__.py"):
            walk.opened.append(str(frame.f_locals.get("fp")))

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "sqlite3.connect" and look is current[0] and ".gpkg" in str(arguments[0]):
            walk.opened.append(str(arguments[0]))

    current: list[Any] = [look]
    sys.addaudithook(hear)
    threading.setprofile_all_threads(look)
    try:
        send()
    finally:
        threading.setprofile_all_threads(None)
        current[0] = None
    return walk
