"""Our process manager in vanilla pygeoapi: its executions are orders, executed by a real `landcast work`."""

import base64
import copy
import io
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
import yaml
from pygeoapi.process.base import JobNotFoundError, JobResultNotFoundError
from pygeoapi.process.manager.base import get_manager
from pygeoapi.util import JobStatus
from starlette.testclient import TestClient

from orchestration.heartbeat import heartbeat_age
from orchestration.job import Order
from orchestration.store.jobs import StoredJobs
from plugins.manager import OrderRefused, WorkerMissing
from processes.estimate_product import EstimateProduct
from products.catalogue import read_configuration
from server.app import create_app
from server.settings import CONCERNS, Settings
from tests.databases import BOTH, DatabaseOf
from tests.orchestration.receivers import Receiver
from tests.plugins.vanilla import ROOT, serve_vanilla

pytestmark = pytest.mark.long

AREA = {"bbox": [19.75, 50.18, 19.80, 50.22]}
PATIENCE = 60
OURS = ("echo", "extract-product", "area-statistics", "estimate-product", "apply-model")


class Running(NamedTuple):
    """Vanilla pygeoapi and our server, with the orders of one worker."""

    vanilla: httpx2.Client
    ours: TestClient
    state: Path

    def job(self, job_id: str, *, until: str = "successful") -> dict[str, Any]:
        """Return the job once it has that status."""
        end = time.monotonic() + PATIENCE
        while (job := self.vanilla.get(f"/jobs/{job_id}?f=json").json())["status"] != until:
            assert time.monotonic() < end, job
            time.sleep(0.1)
        return dict(job)

    def delete(self, job_id: str) -> int | None:
        """Delete the job; the Starlette adapter of 0.24 fails if the handler's answer has no headers, as here."""
        with suppress(httpx2.TransportError):
            return httpx2.delete(
                f"{str(self.vanilla.base_url).rstrip('/')}/jobs/{job_id}", timeout=PATIENCE
            ).status_code
        return None

    def order(self, process: str, *, prefer: str | None = None, **body: Any) -> httpx2.Response:
        headers = {"Prefer": prefer} if prefer else {}
        return self.vanilla.post(f"/processes/{process}/execution", json=body, headers=headers)


def configured(folder: Path) -> Path:
    """Write the configuration of the worker: one product, the raster alone."""
    document = read_configuration(ROOT / "pygeoapi-config.yml")
    del document["products"]["clcplus-2023"]["vector"]
    kept = {"clcplus-raster", *OURS} - {"apply-model"}
    document["resources"] = {name: entry for name, entry in document["resources"].items() if name in kept}
    path = folder / "landcast.yml"
    path.write_text(yaml.safe_dump(document))
    return path


def for_vanilla(configuration: Path, connection: Path, **manager: Any) -> dict[str, Any]:
    document = read_configuration(ROOT / "pygeoapi-config.yml")
    resources = {name: document["resources"][name] for name in OURS}
    resources["hello-world"] = {"type": "process", "processor": {"name": "HelloWorld"}}
    given = {"name": "plugins.manager.Manager", "connection": str(connection), "configuration": str(configuration)}
    server = {**document["server"], "manager": {**given, **manager}}
    return {"server": server, "metadata": document["metadata"], "resources": resources}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("vanilla orders")
    configuration, state = configured(folder), folder / "state"
    environment = {
        **os.environ,
        "LANDCAST_STATE_DIR": str(state),
        "LANDCAST_AUTH_OPEN": "yes",
        "LANDCAST_JOBS_FETCH_PRIVATE": "yes",
    }
    command = [sys.executable, "-m", "server.cli", "work", "--config", str(configuration)]
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    chosen: dict[str, Any] = {
        "server": {"url": "https://maps.example.org"}, "state": {"dir": state}, "auth": {"open": True},
    }  # fmt: skip
    values: Any = {name: kind(**chosen.get(name, {})) for name, kind in kinds.items()}
    document = copy.deepcopy(read_configuration(configuration))
    with (
        (folder / "worker.log").open("wb") as log,
        subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log) as worker,
    ):
        try:
            end = time.monotonic() + PATIENCE
            while heartbeat_age(state) is None:
                assert time.monotonic() < end, (folder / "worker.log").read_text()
                time.sleep(0.1)
            with (
                TestClient(create_app(document, Settings(**values))) as ours,
                serve_vanilla(folder, for_vanilla(configuration, state)) as vanilla,
            ):
                yield Running(vanilla, ours, state)
        finally:
            worker.terminate()
            worker.wait(timeout=30)


def test_echo_is_executed_synchronously(running: Running) -> None:
    answer = running.order("echo", inputs={"stringInput": "żółw <b>", "numberInput": 3})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"stringOutput": "żółw &lt;b&gt;", "numberOutput": 3}
    ours = running.ours.post("/processes/echo/execution", json={"inputs": {"numberInput": 3}}).json()
    assert ours == running.order("echo", inputs={"numberInput": 3}).json() == 3
    job = running.vanilla.get(f"{answer.headers['Location']}?f=json").json()
    assert (job["status"], job["processID"], job["progress"]) == ("successful", "echo", 100)
    assert job["started"] <= job["finished"]


def test_only_requested_outputs_are_returned(running: Running) -> None:
    inputs = {"stringInput": "a", "numberInput": 3}
    assert running.order("echo", inputs=inputs, outputs={"stringOutput": {}}).json() == "a"
    both = running.order("echo", inputs=inputs, response="document").json()
    assert both == {"stringOutput": "a", "numberOutput": 3}


def test_a_product_has_the_bytes_that_the_worker_made(running: Running) -> None:
    answer = running.order("extract-product", prefer="respond-async", inputs={"product": "Raster", "aoi": AREA})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Preference-Applied"] == "respond-async"
    job_id = answer.json()["jobID"]
    assert running.job(job_id)["links"][0]["type"] == "application/zip"
    found = running.vanilla.get(f"/jobs/{job_id}/results?f=json")
    assert (found.status_code, found.headers["Content-Type"]) == (200, "application/zip")
    [made] = (running.state / "results" / job_id).rglob("*.zip")
    assert found.content == made.read_bytes()
    ours = running.ours.post(
        "/processes/extract-product/execution", json={"inputs": {"product": "Raster", "aoi": AREA}}
    )
    our_id = ours.json()["jobID"]
    end = time.monotonic() + PATIENCE
    while running.ours.get(f"/jobs/{our_id}").json()["status"] != "successful":
        assert time.monotonic() < end
        time.sleep(0.1)
    delivered = running.ours.get(f"/jobs/{our_id}/results").content
    assert rasters_of(delivered) == rasters_of(found.content) != {}
    document = running.order("extract-product", inputs={"product": "Raster", "aoi": AREA}, response="document")
    running.job(document.json()["jobID"])
    result = running.vanilla.get(f"/jobs/{document.json()['jobID']}/results?f=json").json()["result"]
    assert rasters_of(base64.b64decode(result["value"])) == rasters_of(found.content)


def rasters_of(archive: bytes) -> dict[str, bytes]:
    """Return the GeoTIFFs of a package, whose names have the job's id in them."""
    with zipfile.ZipFile(io.BytesIO(archive)) as package:
        return {Path(name).suffix: package.read(name) for name in package.namelist() if name.endswith(".tif")}


def test_a_csv_result_has_the_same_bytes(running: Running) -> None:
    body: dict[str, Any] = {"inputs": {"aoi": AREA}, "outputs": {"statistics": {"format": {"mediaType": "text/csv"}}}}
    vanilla = running.order("area-statistics", **body)
    ours = running.ours.post("/processes/area-statistics/execution", json=body)
    assert vanilla.status_code == ours.status_code == 200, vanilla.text
    assert vanilla.content == ours.content
    assert vanilla.headers["Content-Type"] == "text/csv"


def test_a_job_is_dismissed_and_then_deleted(running: Running) -> None:
    job_id = running.order("echo", prefer="respond-async", inputs={"pause": 60}).json()["jobID"]
    running.job(job_id, until="running")
    assert running.vanilla.get(f"/jobs/{job_id}/results?f=json").json()["code"] == "ResultNotReady"
    running.delete(job_id)
    assert running.job(job_id, until="dismissed")["message"]
    assert running.vanilla.get(f"/jobs/{job_id}/results?f=json").status_code == 500  # vanilla's, for no result
    running.delete(job_id)
    assert running.vanilla.get(f"/jobs/{job_id}?f=json").status_code == 404
    assert running.delete(job_id) == 404


def test_jobs_accepted_elsewhere_are_hidden(running: Running) -> None:
    answer = running.ours.post("/processes/echo/execution", json={"inputs": {"numberInput": 1}})
    theirs = answer.headers["Link"].partition("/jobs/")[2].partition(">")[0]
    mine = running.order("echo", prefer="respond-async", inputs={"numberInput": 1}).json()["jobID"]
    assert theirs
    listed = running.vanilla.get("/jobs?f=json&limit=1000").json()["jobs"]
    ids = {job["jobID"] for job in listed}
    assert mine in ids
    assert theirs not in ids
    for path in (f"/jobs/{theirs}", f"/jobs/{theirs}/results"):
        assert running.vanilla.get(f"{path}?f=json").status_code == 404
    assert running.delete(theirs) == 404
    assert running.ours.get(f"/jobs/{theirs}").status_code == 200


def test_the_list_has_pages(running: Running) -> None:
    for _ in range(3):
        running.order("echo", inputs={"numberInput": 1})
    first = running.vanilla.get("/jobs?f=json&limit=2").json()
    second = running.vanilla.get("/jobs?f=json&limit=2&offset=2").json()
    assert [len(page["jobs"]) for page in (first, second)] == [2, 2]
    assert not {job["jobID"] for job in first["jobs"]} & {job["jobID"] for job in second["jobs"]}
    assert all(job["started"] for job in first["jobs"])
    assert running.vanilla.get("/jobs?f=html").status_code == 200


def test_callbacks_are_called(running: Running) -> None:
    receiver = Receiver(lambda _: 200)
    try:
        subscriber = {"successUri": f"{receiver.url}/done", "failedUri": f"{receiver.url}/failed"}
        assert running.order("echo", inputs={"numberInput": 7}, subscriber=subscriber).status_code == 200
        end = time.monotonic() + PATIENCE
        while not receiver.taken:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert [path for path, _, _ in receiver.taken] == ["/done"]
    finally:
        receiver.close()


@pytest.mark.parametrize(
    ("process", "body", "said"),
    [
        ("echo", {"inputs": {"numberInput": "x"}}, "numberInput"),
        ("echo", {"inputs": {"none": 1}}, "none"),
        ("echo", {"inputs": ["a"]}, "inputs"),
        ("echo", {"inputs": {}, "outputs": {"none": {}}}, "outputs"),
        ("echo", {"inputs": {}, "outputs": {"stringOutput": {"transmissionMode": "reference"}}}, "transmissionMode"),
        ("echo", {"inputs": {}, "outputs": "all"}, "outputs"),
        ("echo", {"inputs": {}, "response": "other"}, "response"),
        ("echo", {"inputs": {}, "subscriber": {"successUri": "file:///etc/passwd"}}, "subscriber"),
        ("extract-product", {"inputs": {"product": "Raster", "aoi": {"bbox": [0, 0, 1, 1]}}}, "aoi"),
        ("extract-product", {"inputs": {"product": "Raster"}}, "aoi"),
        ("extract-product", {"inputs": {"product": "Raster", "aoi": AREA, "year": 1999}}, "year"),
        ("extract-product", {"inputs": {"product": "Raster", "aoi": AREA, "send_mail": True}}, "send_mail"),
        ("apply-model", {"inputs": {}}, "Airflow"),
    ],
    ids=str,
)
def test_invalid_requests_are_refused(running: Running, process: str, body: dict[str, Any], said: str) -> None:
    before = running.vanilla.get("/jobs?f=json&limit=1000").json()["jobs"]
    answer = running.order(process, **body)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["description"]
    assert len(running.vanilla.get("/jobs?f=json&limit=1000").json()["jobs"]) == len(before)


def test_a_failure_has_its_reason(running: Running) -> None:
    answer = running.order("echo", inputs={"complexObjectInput": {"href": "http://127.0.0.1:1/none"}})
    assert answer.status_code == 400
    assert "127.0.0.1" in answer.json()["description"]


def test_processes_are_described(running: Running) -> None:
    listed = running.vanilla.get("/processes?f=json&limit=100").json()["processes"]
    assert {process["id"] for process in listed} == {*OURS, "hello-world"}
    for process in OURS:
        assert running.vanilla.get(f"/processes/{process}?f=html").status_code == 200


def test_changes_by_a_handler_affect_only_one_description() -> None:
    """`describe_processes` adds async-execute to the list that it is given."""
    options = EstimateProduct({"name": "x"}).metadata["jobControlOptions"]
    options.append("async-execute")
    assert EstimateProduct({"name": "x"}).metadata["jobControlOptions"] == ["sync-execute"]


def manager(connection: Path | str | None, **configuration: Any) -> Any:
    resources = {"echo": {"type": "process", "processor": {"name": "processes.echo.Echo"}}}
    given = {"name": "plugins.manager.Manager", "connection": connection and str(connection), **configuration}
    return get_manager({"server": {"manager": given}, "resources": resources})


def test_creating_the_manager_opens_nothing(tmp_path: Path) -> None:
    made = manager(tmp_path / "none")
    assert made.supports_subscribing
    assert made.get_jobs() == {"jobs": [], "numberMatched": 0}
    for odd in ("x", "", "a\0b", "../orders"):
        with pytest.raises(JobNotFoundError):
            made.get_job(odd)
    assert list(tmp_path.iterdir()) == []
    assert manager("postgresql://nobody@127.0.0.1:1/none").is_async


def test_without_a_worker_an_execution_fails_at_once(tmp_path: Path) -> None:
    for connection, age in ((None, None), (tmp_path, None), (tmp_path, 60)):
        if age:
            (tmp_path / "heartbeat").touch()
            os.utime(tmp_path / "heartbeat", (time.time() - age,) * 2)
        with pytest.raises(WorkerMissing) as missing:
            manager(connection).execute_process("echo", {})
        assert missing.value.http_status_code == 503
        assert "worker" in missing.value.message
    assert not (tmp_path / "orders.sqlite").exists()


def test_the_orders_of_a_database_need_the_folder_of_the_worker() -> None:
    with pytest.raises(WorkerMissing, match="output_dir"):
        manager("postgresql://nobody@127.0.0.1:1/none").execute_process("echo", {})


@pytest.mark.parametrize("database_of", BOTH, indirect=True)
def test_the_functions_of_base_manager_work_on_jobs(database_of: DatabaseOf, tmp_path: Path) -> None:
    """The functions of BaseManager that no handler calls, on orders without a worker."""
    with_file = database_of.text.endswith("orders.sqlite")
    made = manager(Path(database_of.text).parent) if with_file else manager(database_of.text, output_dir=str(tmp_path))
    foreign = StoredJobs(database_of())
    first = made.add_job({"process_id": "echo", "parameters": {"numberInput": 1}})
    second = made.add_job({"process_id": "echo", "identifier": "ignored"})
    foreign.add(Order("echo", {}, "somebody"))
    assert [job["identifier"] for job in made.get_jobs()["jobs"]] == [second, first]
    assert made.get_jobs(limit=1, offset=1)["jobs"][0]["identifier"] == first
    assert made.get_jobs(limit=1)["numberMatched"] == 2
    assert made.get_job(first)["started"] == made.get_job(first)["created"]
    assert made.update_job(first, {"status": "running", "message": "x"})
    assert made.get_job(first)["status"] == "running"
    assert made.update_job(first, {"status": "failed", "message": "no luck"})
    assert (made.get_job(first)["status"], made.get_job(first)["message"]) == ("failed", "no luck")
    assert not made.update_job(first, {"status": "running"})
    assert [job["identifier"] for job in made.get_jobs(status=JobStatus.failed)["jobs"]] == [first]
    with pytest.raises(JobResultNotFoundError):
        made.get_job_result(first)
    assert made.update_job(second, {"status": "dismissed"})
    assert made.get_job(second)["status"] == "dismissed"
    with pytest.raises(OrderRefused):
        made.add_job({"process_id": "echo", "parameters": {"numberInput": "x"}})
    other = foreign.add(Order("echo", {}, "somebody"))[0].id
    for function in (made.get_job, made.delete_job, made.get_job_result):
        with pytest.raises(JobNotFoundError):
            function(other)
    foreign.close()
    made._store.close()


def test_a_synchronous_execution_has_a_time_limit(tmp_path: Path) -> None:
    (tmp_path / "heartbeat").touch()
    with pytest.raises(Exception, match="continues as job") as late:
        manager(tmp_path, wait=0.2).execute_process("echo", {})
    assert getattr(late.value, "http_status_code", None) == 504
    assert len(manager(tmp_path).get_jobs()["jobs"]) == 1


@pytest.mark.parametrize("name", ["Dummy", "TinyDB"])
def test_our_processes_work_under_other_managers(tmp_path: Path, name: str) -> None:
    """They run synchronously, in the process of the handler."""
    landcast = configured(tmp_path)
    resources: dict[str, Any] = {
        "echo": {"type": "process", "processor": {"name": "processes.echo.Echo"}},
        "extract-product": {
            "type": "process",
            "processor": {"name": "processes.extract_product.ExtractProduct", "configuration": str(landcast)},
        },
        "poor": {"type": "process", "processor": {"name": "processes.extract_product.ExtractProduct"}},
    }
    expected = {"name": name, "connection": str(tmp_path / "jobs.json"), "output_dir": str(tmp_path)}
    made: Any = get_manager({"server": {"manager": expected}, "resources": resources})
    _, kind, value, status, _ = made.execute_process("echo", {"stringInput": "a"})
    assert (kind, value, status) == ("application/json", {"stringOutput": "a"}, JobStatus.successful) or value == "a"
    processor = made.get_processor("extract-product")
    kind, archive = processor.execute({"product": "Raster", "aoi": AREA})
    assert kind == "application/zip"
    assert rasters_of(archive).keys() == {".tif"}
    _, _, outputs, status, _ = made.execute_process("echo", {"numberInput": "x"})
    assert status is JobStatus.failed
    assert "numberInput" in outputs["description"]
    with pytest.raises(Exception, match="send_mail"):
        processor.execute({"product": "Raster", "aoi": AREA, "send_mail": True})
    with pytest.raises(Exception, match="configuration"):
        made.get_processor("poor").execute({"product": "Raster", "aoi": AREA})
