"""Third-party process plugins with the real server and worker: executed, dismissed, killed, and executed again."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import yaml

from products.catalogue import read_configuration
from tests.conftest import ROOT
from tests.orchestration.receivers import Receiver
from tests.reaper import lives
from tests.server.served import Served, end, eventually

pytestmark = pytest.mark.long

_PLUGIN = """
from processes.base import Processor


class Count(Processor):
    work = "outside_work"
    quick = True
    files = False
    description = {
        "id": "count", "version": "1.0.0", "title": "Count", "description": "Counts letters.", "keywords": [],
        "jobControlOptions": ["sync-execute", "async-execute", "dismiss"], "outputTransmission": ["value", "reference"],
        "inputs": {"words": {"title": "Words", "schema": {"type": "array", "items": {"type": "string"}}}},
        "outputs": {"letters": {"title": "Letters", "description": "How many.", "schema": {"type": "integer"}}},
        "example": {"inputs": {"words": ["a", "bc"]}},
    }
"""
_WORK = """
import sys

from orchestration.job import Output
from orchestration.work import Work


def plan(context):
    return [{"word": word} for word in context.order.inputs["words"]]


def make(part, context):
    return {"letters": len(part["word"]), "light": "pygeoapi" not in sys.modules}


def assemble(pieces, context):
    assert all(piece["light"] for piece in pieces)
    return (Output("letters", sum(piece["letters"] for piece in pieces)),)


WORK = Work(plan, make, assemble)
"""
_ENTRIES: dict[str, dict[str, Any]] = {
    "hello": {"processor": {"name": "HelloWorld"}},
    "shapes": {"processor": {"name": "ShapelyFunctions"}},
    "survey": {"processor": {"name": "others.Survey"}},
    "once": {"processor": {"name": "others.Survey"}, "attempts": 1},
    "odd": {"processor": {"name": "others.Odd"}},
    "letters": {"processor": {"name": "outside.Count"}},
    "broken": {"processor": {"name": "others.Nobody"}},
}


class Place:
    """A server whose configuration, plugins and works are outside of the repository."""

    def __init__(self, folder: Path) -> None:
        shutil.copy(ROOT / "tests" / "processes" / "plugins_of_others.py", folder / "others.py")
        (folder / "outside.py").write_text(_PLUGIN)
        (folder / "outside_work.py").write_text(_WORK)
        document = read_configuration(ROOT / "pygeoapi-config.yml")
        resources = {name: each for name, each in document["resources"].items() if each["type"] == "collection"}
        resources |= {name: {"type": "process", **entry} for name, entry in _ENTRIES.items()}
        config = folder / "config.yml"
        config.write_text(yaml.safe_dump({**document, "resources": resources}))
        self.folder = folder
        self.served = Served(
            folder / "state",
            folder / "log",
            "--config",
            str(config),
            PYTHONPATH=str(folder),
            LANDCAST_SERVER_WORKERS="1",
            LANDCAST_JOBS_PARALLEL="4",
            LANDCAST_JOBS_PLUGIN_SECONDS="60",
            LANDCAST_JOBS_PLUGIN_MEMORY="1G",
            LANDCAST_JOBS_FETCH_PRIVATE="yes",
            LANDCAST_CALLBACKS_PAUSE="0.5",
        )
        self.client = httpx2.Client(base_url=self.served.url, timeout=90)

    def post(self, process: str, inputs: dict[str, Any], *, prefer: str = "", **members: Any) -> httpx2.Response:
        headers = {"Prefer": prefer} if prefer else {}
        body = {"inputs": inputs, **members}
        return self.client.post(f"/processes/{process}/execution", json=body, headers=headers)

    def order(self, process: str, inputs: dict[str, Any], **members: Any) -> str:
        answer = self.post(process, inputs, prefer="respond-async", **members)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["jobID"])

    def job(self, job_id: str) -> dict[str, Any]:
        document: dict[str, Any] = self.client.get(f"/jobs/{job_id}?f=json").json()
        return document

    def over(self, job_id: str) -> dict[str, Any]:
        eventually(lambda: self.job(job_id)["status"] in {"successful", "failed", "dismissed"}, 120)
        return self.job(job_id)

    def marked(self, name: str, tries: int = 1) -> int:
        """Return the process that runs the given try of an order with this mark."""
        path = self.folder / name
        eventually(lambda: path.exists() and len(path.read_text().splitlines()) >= tries, 120)
        return int(path.read_text().splitlines()[tries - 1].split()[0])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("plugins"))
    try:
        made.served.ready()
        yield made
    finally:
        made.client.close()
        end(made.served)


def test_lists_pages_and_openapi_have_all_plugins_but_the_broken_one(place: Place) -> None:
    sound = set(_ENTRIES) - {"broken"}
    listed = place.client.get("/processes?f=json&limit=100").json()["processes"]
    assert {each["id"] for each in listed} == sound
    for path in (
        "/processes?f=html",
        "/?f=html",
        "/conformance?f=json",
        *(f"/processes/{each}?f=html" for each in sound),
    ):
        assert place.client.get(path).status_code == 200, path
    paths = place.client.get("/openapi?f=json").json()["paths"]
    assert {path.split("/")[2] for path in paths if path.endswith("/execution")} == sound
    assert place.client.get("/processes/broken").status_code == 404
    assert "the process broken is left out: others.Nobody" in place.served.log.read_text()


def test_a_process_and_its_work_may_lie_outside(place: Place) -> None:
    assert place.post("letters", {"words": ["ab", "c"]}).json() == 3
    assert place.post("letters", {"words": "ab"}).status_code == 400


def test_hello_world_runs_synchronously_and_asynchronously(place: Place) -> None:
    answer = place.post("hello", {"name": "Ann"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"id": "echo", "value": "Hello Ann!"}
    job = place.order("hello", {"name": "Ann"}, response="document")
    assert place.over(job)["status"] == "successful"
    value = {"id": "echo", "value": "Hello Ann!"}
    assert place.client.get(f"/jobs/{job}/results").json() == {
        "echo": {"value": value, "mediaType": "application/json"}
    }
    assert "Hello Ann!" in place.client.get(f"/jobs/{job}/results?f=html").text
    assert job in {each["jobID"] for each in place.client.get("/jobs?f=json&processID=hello").json()["jobs"]}


def test_the_error_of_a_plugin_is_the_reason(place: Place) -> None:
    answer = place.post("hello", {})
    assert 400 <= answer.status_code < 500
    assert "Cannot process without a name" in answer.text


def test_shapely_functions_run(place: Place) -> None:
    inputs = {
        "operation": "constructive:centroid",
        "geoms": ["POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))"],
        "output_format": "wkt",
    }
    assert "POINT (1 1)" in place.post("shapes", inputs).text
    job = place.order("shapes", inputs)
    assert place.over(job)["status"] == "successful"


def test_a_csv_result_is_delivered_unchanged(place: Place) -> None:
    answer = place.post("survey", {"rows": 1})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv")
    assert answer.content == "number,name\r\n0,ä0\r\n".encode()
    document = place.post("survey", {"rows": 0}, response="document").json()
    assert document == {"table": {"value": "number,name\r\n", "mediaType": "text/csv"}}


def test_a_long_execution_is_dismissed_and_its_process_ends(place: Place) -> None:
    job = place.order("survey", {"rows": 1, "pause": 600, "mark": str(place.folder / "dismissed")})
    child = psutil.Process(place.marked("dismissed"))
    assert place.client.delete(f"/jobs/{job}").json()["status"] == "dismissed"
    eventually(lambda: not lives(child))


def test_an_order_runs_again_after_its_child_was_killed(place: Place) -> None:
    job = place.order("survey", {"rows": 1, "pause": 3, "mark": str(place.folder / "killed")})
    os.kill(place.marked("killed"), signal.SIGKILL)
    assert place.over(job)["status"] == "successful"
    assert len((place.folder / "killed").read_text().splitlines()) == 2


def test_an_order_with_one_attempt_is_started_once(place: Place) -> None:
    job = place.order("once", {"rows": 1, "pause": 30, "mark": str(place.folder / "once")})
    os.kill(place.marked("once"), signal.SIGKILL)
    found = place.over(job)
    assert (found["status"], "not to begin it again" in found["message"]) == ("failed", True)
    assert len((place.folder / "once").read_text().splitlines()) == 1


def test_too_much_memory_fails_the_order(place: Place) -> None:
    answer = place.post("odd", {"what": "hungry"})
    assert answer.status_code >= 400
    assert "memory" in answer.text


@pytest.mark.parametrize(
    ("inputs", "end", "body"),
    [
        (
            {"rows": 1, "pause": 0.2},
            "successful",
            {"table": {"value": "bnVtYmVyLG5hbWUNCjAsw6QwDQo=", "mediaType": "text/csv", "encoding": "base64"}},
        ),
        ({"pause": 0.2}, "failed", {"message": "Cannot survey without a number of rows", "status": "failed"}),
    ],
    ids=["success", "failure"],
)
def test_subscribers_are_notified_of_start_and_end(
    place: Place, inputs: dict[str, Any], end: str, body: dict[str, Any]
) -> None:
    with closing(Receiver(lambda _: 204)) as receiver:
        uris = {"successUri": "successful", "inProgressUri": "running", "failedUri": "failed"}
        subscriber = {name: f"{receiver.url}/{path}" for name, path in uris.items()}
        job = place.order("survey", inputs, subscriber=subscriber)
        assert place.over(job)["status"] == end
        eventually(lambda: len(receiver.taken) == 2, 30)
        assert sorted(path for path, _, _ in receiver.taken) == sorted(["/running", f"/{end}"])
        expected = {path.strip("/"): json.loads(content) for path, _, content in receiver.taken}
    assert (expected["running"]["jobID"], expected["running"]["status"]) == (job, "running")
    assert expected[end].items() >= body.items()


def test_progress_is_reported(place: Place) -> None:
    job = place.order("odd", {"what": "progress"})
    eventually(lambda: (found := place.job(job))["status"] != "accepted" and "half of it" in found["message"])
    assert place.over(job)["status"] == "successful"


def test_an_order_runs_again_after_the_worker_was_killed(place: Place) -> None:
    """It is the last test, because another worker has to start."""
    mark, once = str(place.folder / "orphaned"), str(place.folder / "orphan")
    job = place.order("survey", {"rows": 1, "pause": 3, "mark": mark})
    other = place.order("once", {"rows": 1, "pause": 30, "mark": once})
    child = psutil.Process(place.marked("orphaned"))
    place.marked("orphan")
    worker = next(each for each in child.parents() if each.parent() == psutil.Process(place.served.process.pid))
    worker.kill()
    eventually(lambda: not lives(child))
    assert place.over(job)["status"] == "successful"
    assert place.over(other)["status"] == "failed"
    assert len((place.folder / "orphan").read_text().splitlines()) == 1
