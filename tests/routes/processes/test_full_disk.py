"""The server on a full disk: a small file system that the test mounts."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of 4 MB."""
    assert os.geteuid() == 0, "a small disk can be mounted by root only: run this test as root, as CI does"
    folder = tmp_path / "small disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_orders_are_503_on_a_full_disk_and_accepted_again_later(
    make_app: Callable[..., Starlette], small_disk: Path
) -> None:
    headers = {"Prefer": "respond-async"}
    body = {"inputs": {"stringInput": "x" * 100_000}}
    with TestClient(make_app(state={"dir": small_disk})) as client:
        first = client.post("/processes/echo/execution", json=body, headers=headers)
        assert first.status_code == 201
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        refused = client.post("/processes/echo/execution", json=body, headers=headers)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "5"
        assert "full" in refused.json()["detail"]
        assert client.get(f"/jobs/{first.json()['jobID']}").json()["status"] == "accepted"
        health = client.get("/health/ready")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert health.json()["checks"]["results"]["status"] == "full"
        ballast.unlink()
        assert client.post("/processes/echo/execution", json=body, headers=headers).status_code == 201
        assert client.get("/jobs").json()["numberMatched"] == 2
