"""Programs generated from the OpenAPI document: a client that reads and orders, and schemathesis."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.served import Served, end

pytestmark = pytest.mark.full

_CONFIGURATION = """
post_hooks: []
content_type_overrides:
  image/png: application/octet-stream
  application/vnd.mapbox-vector-tile: application/octet-stream
  "image/tiff; application=geotiff; profile=cloud-optimized": application/octet-stream
"""
_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
_PROGRAM = """
import json, sys, time
from made import Client
from made.api.clcplus_raster import get_coverage_clcplus_raster, get_map_clcplus_raster
from made.api.jobs import get_job, get_jobs, get_results
from made.api.parks import get_item_parks, get_items_parks
from made.api.processes import execute_echo, get_processes
from made.api.server import get_collections
from made.models import (
    ExecuteEchoBody,
    Feature,
    GetJobsStatusItem,
    Job,
    JobStatus,
    Problem,
)

BOX = [19.4, 49.5, 19.7, 49.7]
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
client = Client(sys.argv[1], raise_on_unexpected_status=True, timeout=60)
said = {"collections": [each.id for each in get_collections.sync(client=client).collections]}
said["processes"] = sorted(each.id for each in get_processes.sync(client=client, limit=3).processes)
page = get_items_parks.sync(client=client, limit=2)
said["items"] = [type(each) is Feature for each in page.features]
said["item"] = get_item_parks.sync(str(page.features[0].id), client=client).properties.to_dict() != {}
inside = get_items_parks.sync(client=client, bbox=BOX, sortby=["country", "-name"], properties=["name", "country"])
said["lists"] = [each.properties.to_dict() for each in inside.features]
kinds = {"coverage": get_coverage_clcplus_raster, "map": get_map_clcplus_raster}
for name, operation in kinds.items():
    answer = operation.sync_detailed(client=client, bbox=BOX, crs=CRS84, width=40)
    said[name] = [answer.status_code, answer.headers["content-bbox"]]
unknown = get_item_parks.sync("no-such-park", client=client)
said["unknown"] = [type(unknown) is Problem, unknown.status]

text = ExecuteEchoBody.from_dict({"inputs": {"stringInput": "hello"}})
said["waited for"] = execute_echo.sync(client=client, body=text)
number = ExecuteEchoBody.from_dict({"inputs": {"numberInput": 1.5}, "outputs": {"numberOutput": {}}})
said["any value"] = execute_echo.sync(client=client, body=number)
refused = execute_echo.sync(client=client, body=ExecuteEchoBody.from_dict({"inputs": {"numberInput": "much"}}))
said["refused"] = [type(refused) is Problem, refused.status]

job = execute_echo.sync(client=client, body=text, prefer="respond-async")
said["accepted"] = [type(job) is Job, job.process_id]
while job.status in (JobStatus.ACCEPTED, JobStatus.RUNNING):
    time.sleep(0.2)
    job = get_job.sync(job.job_id, client=client)
said["result"] = get_results.sync(job.job_id, client=client)
statuses = [GetJobsStatusItem.RUNNING, GetJobsStatusItem.SUCCESSFUL]
done = get_jobs.sync(client=client, status=statuses, process_id=["echo", "extract-product"], limit=1)
said["jobs"] = [each.job_id == job.job_id for each in done.jobs]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def served(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("generated")
    (folder / "state").mkdir()
    (folder / "state" / "sample").symlink_to(sample / "sample")
    started = Served(folder / "state", folder / "log", LANDCAST_SERVER_WORKERS="1")
    try:
        started.ready(120)
        yield started
    finally:
        end(started)


@pytest.fixture(scope="module")
def made(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the package `made`, which openapi-python-client generates without a warning."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(json.dumps(served.get("/openapi")))
    (folder / "configuration.yml").write_text(_CONFIGURATION)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"),
            *("--path", str(folder / "openapi.json"), "--config", str(folder / "configuration.yml")),
            *("--output-path", str(folder / "made")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout
    return folder


def test_a_client_generated_from_openapi_reads_and_orders(served: Served, made: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, served.url],
        capture_output=True,
        text=True,
        check=False,
        cwd=made,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "collections": ["clcplus-raster", "clcplus-vector", "parks", "nations"],
        "processes": ["estimate-product", "extract-product", "national-product"],
        "items": [True, True],
        "item": True,
        "lists": [{"country": "PL", "name": "Babiogórski National Park"}],
        "coverage": [200, "19.4,49.5,19.7,49.7"],
        "map": [200, "19.4,49.5,19.7,49.7"],
        "unknown": [True, 404],
        "waited for": "hello",
        "any value": 1.5,
        "refused": [True, 400],
        "accepted": [True, "echo"],
        "result": "hello",
        "jobs": [True],
    }


def _schemathesis(served: Served, *arguments: str) -> None:
    """Send the same described requests each time; every answer must be declared."""
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{served.url}/openapi"),
            *("--checks", ",".join(_CHECKS), "--request-timeout", "120"),
            *("--seed", "1", "--generation-deterministic", "--suppress-health-check", "all", "--no-shrink"),
            *("--continue-on-failure", "--warnings", "off", "--no-color"),
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=served.log.parent,
    )
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr
    assert "No issues found" in done.stdout


def test_no_answer_is_undeclared(served: Served) -> None:
    """Orders that take minutes are left out."""
    left_out = "/(extract|national|european)-product/execution$"
    _schemathesis(served, "--phases", "fuzzing", "--max-examples", "3", "--exclude-path-regex", left_out)


def test_no_answer_is_undeclared_in_many_tries(served: Served) -> None:
    _schemathesis(served, "--phases", "examples,coverage,fuzzing", "--max-examples", "20")
