"""Orders from start to downloaded file: a real server, a real worker, the real sample."""

import base64
import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.server.served import serving

ROOT = Path(__file__).parents[3]
PARKS = json.loads((ROOT / "sample" / "parks.geojson").read_text())["features"]
OJCOW = next(park["geometry"] for park in PARKS if park["properties"]["cdda_id"] == 859)


@pytest.fixture(scope="module")
def server(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """Return a client of a real server with its worker."""
    with serving(sample, tmp_path_factory.mktemp("server") / "server.log") as client:
        yield client


def order(server: httpx2.Client, process: str, inputs: dict[str, Any], **headers: str) -> httpx2.Response:
    return server.post(f"/processes/{process}/execution", json={"inputs": inputs}, headers=headers)


def finished(server: httpx2.Client, location: str) -> dict[str, Any]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        job: dict[str, Any] = server.get(location).raise_for_status().json()
        if job["status"] not in {"accepted", "running"}:
            return job
        time.sleep(0.1)
    pytest.fail(f"not finished in a minute: {job}")


@pytest.mark.parametrize("product", ["Raster", "Vector"])
def test_a_park_is_ordered_and_fetched_in_two_pieces(server: httpx2.Client, product: str) -> None:
    ordered = order(server, "extract-product", {"product": product, "aoi": {"value": OJCOW}})
    assert ordered.status_code == 201, ordered.text
    job = finished(server, ordered.headers["location"])
    assert (job["status"], job["progress"]) == ("successful", 100), job
    results = next(link["href"] for link in job["links"] if link["rel"].endswith("/results"))
    link = server.get(results, params={"f": "json"}).json()["result"]
    first = server.get(link["href"], headers={"Range": f"bytes=0-{link['length'] // 2}"})
    rest = server.get(
        link["href"],
        headers={"Range": f"bytes={link['length'] // 2 + 1}-", "If-Range": first.headers["etag"]},
    )
    content = first.content + rest.content
    assert (first.status_code, rest.status_code) == (206, 206)
    assert hashlib.sha256(content).hexdigest() == link["sha256"]
    assert first.headers["repr-digest"] == f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"
    assert server.get(results).content == content
    name = f"{product}_{job['jobID']}"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert {member.partition(".")[0] for member in archive.namelist()} == {name}
    assert link["title"] == f"{name}.zip"


def test_echo_answers_at_once(server: httpx2.Client) -> None:
    inputs = {"stringInput": "Größe <&>", "boundingBoxInput": {"bbox": [1, 2, 3, 4]}, "mixedInput": {"a": [1, None]}}
    body = {"inputs": inputs, "response": "document"}
    answer = server.post("/processes/echo/execution", json=body).raise_for_status()
    assert answer.json() == {
        "stringOutput": "Größe <&>",
        "boundingBoxOutput": {"bbox": [1, 2, 3, 4]},
        "mixedOutput": {"value": {"a": [1, None]}, "mediaType": "application/json"},
    }
    assert server.get(answer.links["monitor"]["url"]).json()["status"] == "successful"


def test_a_reference_to_this_machine_fails_with_its_reason(server: httpx2.Client) -> None:
    """Attack: make the server fetch an address that only it can reach."""
    answer = order(server, "echo", {"complexObjectInput": {"href": f"{server.base_url}health/ready"}})
    assert answer.status_code == 400
    assert "127.0.0.1" in answer.json()["detail"]


def test_running_work_is_dismissed(server: httpx2.Client) -> None:
    location = order(server, "echo", {"pause": 60}, Prefer="respond-async").headers["location"]
    until = time.monotonic() + 60
    while server.get(location).json()["status"] != "running" and time.monotonic() < until:
        time.sleep(0.05)
    assert server.delete(location).json()["status"] == "dismissed"
    assert server.get(f"{location}/results").status_code == 410
    assert finished(server, location)["status"] == "dismissed"


def test_an_oversized_body_is_413(server: httpx2.Client) -> None:
    assert order(server, "echo", {"stringInput": "x" * 10_000_001}).status_code == 413
