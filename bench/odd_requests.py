"""Requests with odd areas and boxes at the application, whose orders are done in this process: no 5xx, right values."""

import json
import logging
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx2
import numpy as np
import shapely
import yaml
from starlette.testclient import TestClient

from bench.odd_geometry import Odd
from orchestration.ending import read_ending
from orchestration.job import Job
from orchestration.runners import Done, Failed
from orchestration.store.jobs import StoredJobs
from orchestration.work import JobContext
from orchestration.work.attempt import attempt
from processes.loading import load_processes
from products.area import measure_area
from products.catalogue import read_configuration
from products.errors import ProductError
from products.progress import unheard
from products.vector.geopackage import read_geopackage, write_geopackage
from products.vector.layer import Column, Layer, quote
from server.app import create_app
from server.database import database_of
from server.settings import CONCERNS, Settings

_ROOT = Path(__file__).parents[1]
_SERVER_FAULT = 500
_ROWS = 8
"""Odd geometries in one file."""
_LARGE_KM2 = 30.0
"""An order of the vector product that is larger would take seconds."""
_OK = 200
_SURROGATES = "\ud800", "\udfff"


class Worker:
    """Does the orders of an application in this process, as its worker does in a child."""

    def __init__(self, configuration: Path, state: Path) -> None:
        self._configuration, self._results = configuration, state / "results"
        self._processes = load_processes(read_configuration(configuration)["resources"]).registry
        self._store, self._stop = StoredJobs(database_of(_settings(state))), Event()
        self.fault: str = ""
        self.wanted = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while self.wanted.wait() and not self._stop.wait(0.002):
            for job in self._store.unfinished():
                if begun := self._store.begin(job.id):
                    self._do(begun)

    def _do(self, job: Job) -> None:
        folder = self._results / job.id / "1" / "1"
        folder.mkdir(parents=True)
        results, folder = self._results.absolute(), folder.absolute()
        context = JobContext(job.id, job.order, results, folder, self._configuration, _nothing, unheard)
        attempt(self._processes[job.order.process].find_work, replace(context, processes=self._processes))
        match read_ending(folder):
            case Done(manifest):
                self._store.publish(job.id, job.attempt, manifest)
            case Failed(reason, detail, fault):
                if fault in {"", "BrokenSource"}:
                    self.fault = f"{fault} {reason} {detail}"
                self._store.fail(job.id, job.attempt, reason, fault=fault)
        if job.order.process != "extract-product":
            shutil.rmtree(self._results / job.id)

    def finish(self, job_id: str) -> Job:
        """Return the job once it is done, without its files."""
        self.wanted.set()
        while (job := self._store.get(job_id)) is not None and job.finished is None:
            time.sleep(0.002)
        if job is None:
            raise AssertionError(f"job {job_id} is gone")
        self.wanted.clear()
        shutil.rmtree(self._results / job_id, ignore_errors=True)
        return job

    def close(self) -> None:
        """Stop."""
        self._stop.set()
        self.wanted.set()
        self._thread.join()


def _nothing(address: str) -> Any:
    raise AssertionError(f"{address} is fetched")


def _settings(state: Path) -> Settings:
    chosen: dict[str, dict[str, Any]] = {
        "server": {"url": "https://maps.example.org/land"},
        "state": {"dir": state},
        "auth": {"open": True},
    }
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    values: Any = {name: kind(**chosen.get(name, {})) for name, kind in kinds.items()}
    return Settings(**values)


class Requests:
    """Requests at the application; one of its collections has odd features."""

    def __init__(self, client: TestClient, worker: Worker, odd_file: Path, parks: Path) -> None:
        self._client, self._worker, self._file = client, worker, odd_file
        with read_geopackage(parks) as reader:
            self._parks = np.concatenate([batch.geometries for batch in reader.features((-180, -90, 180, 90))])

    def places(self) -> tuple[Callable[[Odd], None], ...]:
        """Return the requests, each as often as it is to be chosen."""
        often = self.items, self.coverage, self.map, self.echo
        return (*often * 4, *[self.estimate] * 3, *[self.statistics] * 2, self.features, self.features, self.extract)

    def items(self, odd: Odd) -> None:
        """Ask for items in a box: those that meet it."""
        name = odd.chance.choice(("parks", "parks", "clcplus-vector", "nations", "odd"))
        asked = odd.query(sized=False)
        answer = self._get(f"/collections/{name}/items", {**asked, "limit": "3"})
        box = _box_of(asked)
        if name == "parks" and box is not None and answer.status_code == _OK:
            _equal(answer.json()["numberMatched"], int(shapely.intersects(self._parks, box).sum()), str(asked))

    def coverage(self, odd: Odd) -> None:
        """Ask for a coverage."""
        self._get("/collections/clcplus-raster/coverage", odd.query(sized=True))

    def map(self, odd: Odd) -> None:
        """Ask for a picture, of the size that is asked for."""
        asked = {name: value for name, value in odd.query(sized=False).items() if name != "limit"}
        answer = self._get("/collections/clcplus-raster/map", {**asked, "width": "37", "height": "23"})
        if answer.status_code == _OK:
            size = int.from_bytes(answer.content[16:20]), int.from_bytes(answer.content[20:24])
            _equal(size, (37, 23), str(asked))

    def echo(self, odd: Odd) -> None:
        """Let odd geometry come back."""
        name = odd.chance.choice(("boundingBoxInput", "geometryInput", "featureCollectionInput", "mixedInput"))
        value = odd.bbox() if name == "boundingBoxInput" else odd.value()
        answer = self._execute("echo", {name: value})
        if answer.status_code == _OK and isinstance(value, dict) and "value" not in value:
            _equal(answer.json(), json.loads(json.dumps(value)), "what comes back")

    def estimate(self, odd: Odd) -> None:
        """Estimate an order: its area is the same in whichever form."""
        clean, *forms = odd.twins()
        twin = odd.one_in(2)
        value = odd.chance.choice(forms) if twin else odd.value()
        answer = self._execute("estimate-product", {"product": "Raster" if odd.one_in(2) else "Vector", "aoi": value})
        if twin:
            with suppress(ProductError):
                km2 = round(measure_area(clean).km2, 4)
                _equal(answer.json().get("area", answer.json()).get("km2"), km2, f"{value}: {answer.text[:500]}")

    def statistics(self, odd: Odd) -> None:
        """Measure an area by class: its size is the same in whichever form."""
        value = odd.chance.choice(odd.twins()) if odd.one_in(2) else odd.value()
        self._execute("area-statistics", {"aoi": value})

    def features(self, odd: Odd) -> None:
        """Write a file of odd features, page through them, and measure those of a box and one by its name."""
        _write(self._file, [odd.blob() for _ in range(_ROWS)])
        for system in ("OGC/1.3/CRS84", "EPSG/0/4326"):
            crs = f"http://www.opengis.net/def/crs/{system}"
            answer = self._get("/collections/odd/items", {"crs": crs, "limit": "100"})
            _equal(answer.json()["numberMatched"], _ROWS, "features")
        self._get("/collections/odd/items", {**odd.query(sized=False), "limit": "100"})
        self._get("/collections/odd", {})
        box = odd.bbox() if odd.one_in(2) else {"bbox": [18, 48, 21, 51]}
        self._execute("area-statistics", {"collection": "odd", "bbox": box})

    def extract(self, odd: Odd) -> None:
        """Order an area, and wait for it."""
        value = odd.chance.choice(odd.twins()) if odd.one_in(2) else odd.value()
        kind = "Raster"
        with suppress(ProductError):
            kind = "Vector" if measure_area(value).km2 < _LARGE_KM2 else "Raster"
        answer = self._execute("extract-product", {"product": kind, "aoi": value})
        if answer.is_success:
            self._worker.finish(answer.json()["jobID"])
            self._check_worker()

    def _get(self, path: str, asked: Mapping[str, str]) -> httpx2.Response:
        return self._checked(self._client.get(path, params=dict(asked)))

    def _execute(self, process: str, inputs: Mapping[str, Any]) -> httpx2.Response:
        body = json.dumps({"inputs": inputs})
        headers = {"Content-Type": "application/json"}
        self._worker.wanted.set()
        answer = self._client.post(f"/processes/{process}/execution", content=body, headers=headers)
        self._worker.wanted.clear()
        self._check_worker()
        return self._checked(answer)

    def _checked(self, answer: httpx2.Response) -> httpx2.Response:
        if answer.status_code >= _SERVER_FAULT:
            raise AssertionError(f"{answer.request.url} {answer.status_code} {answer.text[:2000]}")
        return answer

    def _check_worker(self) -> None:
        if self._worker.fault:
            raise AssertionError(self._worker.fault)


def _equal(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise AssertionError(f"{what[:2000]}: {found!r}, not {expected!r}")


def _write(path: Path, blobs: Sequence[bytes]) -> None:
    """Write a layer of these blobs, without a spatial index."""
    path.unlink(missing_ok=True)
    with write_geopackage(path, Layer("odd", 4326, (Column("name", "TEXT"),), geometry_type="GEOMETRY")) as writer:
        writer.add([1], np.array([shapely.Point(19, 50)], dtype=object), [["a point"]])
        (key, geometry) = writer.layer.key, writer.layer.geometry
    with closing(sqlite3.connect(path, autocommit=True)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {quote(name)}")
        connection.execute(f"DROP TABLE rtree_odd_{geometry}")
        connection.executescript("DELETE FROM gpkg_extensions; DELETE FROM odd")
        rows = [(number, f"N{number}", blob) for number, blob in enumerate(blobs)]
        connection.executemany(f"INSERT INTO odd ({key}, name, {geometry}) VALUES (?, ?, ?)", rows)  # noqa: S608 - ours


def _box_of(asked: Mapping[str, str]) -> shapely.Geometry | None:
    """Return the box of a query in longitude and latitude, None where it is in another system or is none."""
    if "bbox-crs" in asked:
        return None
    try:
        west, south, east, north = map(float, asked["bbox"].split(","))
    except ValueError:
        return None
    return shapely.box(west, south, east, north) if west <= east and south <= north else None


@contextmanager
def serving(folder: Path, sample: Path) -> Iterator[Sequence[Callable[[Odd], None]]]:
    """Yield requests at an application whose state is in the folder; the sample is in another state folder."""
    document = read_configuration(_ROOT / "pygeoapi-config.yml")
    resources = document["resources"]
    resources["odd"] = {**resources["parks"], "title": "Odd", "providers": [_provider(folder / "odd.gpkg")]}
    resources["parks"]["providers"] = [_provider(sample / "sample" / "parks.gpkg")]
    resources["clcplus-vector"]["providers"] = [_provider(sample / "sample" / "clcplus_2023_parks.gpkg")]
    collections = ("clcplus-raster", "clcplus-vector", "odd")
    of_work = {name: each for name, each in resources.items() if name in collections or each["type"] == "process"}
    configuration = folder / "config.yml"
    configuration.write_text(yaml.safe_dump({"products": document["products"], "resources": of_work}))
    _write(folder / "odd.gpkg", [])
    logging.disable(logging.WARNING)  # rows that cannot be read
    app = create_app(document, _settings(folder / "state"))
    with TestClient(app, base_url="http://inside.invalid", follow_redirects=False) as client:
        worker = Worker(configuration, folder / "state")
        try:
            yield Requests(client, worker, folder / "odd.gpkg", sample / "sample" / "parks.gpkg").places()
        finally:
            worker.close()


def _provider(path: Path) -> dict[str, Any]:
    return {"type": "feature", "name": "plugins.geopackage.GeoPackageProvider", "data": str(path.absolute())}
