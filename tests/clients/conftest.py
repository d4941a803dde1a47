"""A real server with authentication: users of Keycloak, and the operator's API keys."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner

from server.cli import main
from tests.auth.keycloak import Keycloak
from tests.server.served import Served, end

POLICY = """
grants:
  everybody-knows-of-the-raster:
    who: public
    may: discover
    collections: clcplus-raster
  the-known-read:
    who: {role: user}
    may: [read-items, read-coverage, read-map, download]
    collections: "*"
  the-known-order:
    who: {role: user}
    may: [execute, read-own-jobs]
    processes: [echo, estimate-product, extract-product]
"""
_TELLING = re.compile(r"GDAL_|CPL_|LANDCAST_|.*_proxy", re.IGNORECASE)
FILE = "/collections/clcplus-raster/files/clcplus_2023_parks.tif"


@dataclass(frozen=True, slots=True)
class Guarded:
    """The server's address and log, a key of a user, and that user's issuer."""

    url: str
    log: Path
    key: str
    keycloak: Keycloak

    @property
    def key_id(self) -> str:
        return self.key.split("_")[1]

    @property
    def secret(self) -> str:
        return self.key.split("_")[2]

    def token(self) -> str:
        return self.keycloak.token("quinn")


@pytest.fixture(scope="session")
def guarded(sample: Path, keycloak: Keycloak, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Return a running server that refuses callers without credentials."""
    folder = tmp_path_factory.mktemp("guarded")
    state = folder / "state"
    state.mkdir()
    (state / "sample").symlink_to(sample / "sample")
    (folder / "policy.yml").write_text(POLICY)
    owner = f"{keycloak.issuer}|{keycloak.add_user('quinn', 'user')}"
    wanted = ["--owner", owner, "--name", "QGIS", "--role", "user", "--scope", "order"]
    made = CliRunner().invoke(main, ["keys", "create", *wanted], env={"LANDCAST_STATE_DIR": str(state)})
    assert made.exit_code == 0, made.stderr
    environment = {
        "LANDCAST_AUTH_OPEN": "no",
        "LANDCAST_AUTH_ISSUER": keycloak.issuer,
        "LANDCAST_AUTH_POLICY": str(folder / "policy.yml"),
        "LANDCAST_SERVER_WORKERS": "1",
    }
    served = Served(state, folder / "log", **environment)
    try:
        served.ready()
        yield Guarded(served.url, served.log, made.stdout.strip(), keycloak)
    finally:
        end(served)


def run(*command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, with these environment variables and none that names a server.

    GDAL's cache of `OGCAPI:` is not reused, because it would affect the next program.
    """
    ours = {name: value for name, value in os.environ.items() if _TELLING.match(name) is None}
    with TemporaryDirectory() as cache:
        kept = {"QT_QPA_PLATFORM": "offscreen", "GDAL_DEFAULT_WMS_CACHE_PATH": cache}
        clean = {**ours, **kept, **environment}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=clean)


def run_python(program: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a program with the Python of our environment."""
    return run(sys.executable, "-c", program, *arguments, **environment)
