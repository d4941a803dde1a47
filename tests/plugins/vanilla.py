"""Vanilla pygeoapi: its own Starlette application in a separate process, with our configuration."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
_SERVE = """
import sys, types
sys.modules["uvicorn"] = types.ModuleType("uvicorn")  # only the command that it has for developers needs it
from gunicorn.app.wsgiapp import run
run()
"""
_START = 60


@contextmanager
def serve_vanilla(folder: Path, configuration: Mapping[str, Any], **environment: str) -> Iterator[httpx2.Client]:
    """Serve the configuration with pygeoapi alone; yield a client of it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = {
        **configuration["server"],
        "bind": {"host": "127.0.0.1", "port": port},
        "url": url,
        "mimetype": "application/json; charset=UTF-8",
        "map": {"url": "https://tile.example.org/{z}/{x}/{y}.png", "attribution": "none"},
    }
    path, log = folder / "vanilla.yml", folder / "vanilla.log"
    path.write_text(yaml.safe_dump({**configuration, "logging": {"level": "ERROR"}, "server": server}))
    variables = {"PYGEOAPI_CONFIG": str(path), "PYGEOAPI_OPENAPI": str(folder / "vanilla-openapi.json"), **environment}
    environ = {**os.environ, **variables}
    made = subprocess.run(
        [Path(sys.executable).with_name("pygeoapi"), "openapi", "generate", path, "-f", "json"],
        env=environ, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    (folder / "vanilla-openapi.json").write_text(made.stdout)
    options = ["--worker-class", "asgi", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    command = [sys.executable, "-c", _SERVE, *options, "pygeoapi.starlette_app:APP"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=output, stderr=output)
    try:
        # gunicorn closes an idle connection after two seconds, perhaps just when the next request is sent
        with httpx2.Client(base_url=url, timeout=60, limits=httpx2.Limits(max_keepalive_connections=0)) as client:
            _wait_for(client, process, log)
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(client: httpx2.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START
    while time.monotonic() < until and process.poll() is None:
        try:
            assert client.get("/conformance?f=json").status_code == 200
        except httpx2.TransportError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(log.read_text())


def described(response: httpx2.Response) -> str:
    """Return an answer as text for a failed comparison."""
    return f"{response.status_code} {json.dumps(response.text[:500])}"
