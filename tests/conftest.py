"""The application on the real sample, in its own state folder."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest
import rasterio
from pydantic_settings import BaseSettings
from starlette.applications import Starlette
from starlette.testclient import TestClient

from products.catalogue import read_configuration
from products.progress import unheard
from products.vector.sample import make_sample
from server.app import create_app
from server.settings import CONCERNS, Settings
from server.supervise import listen
from tests.airflow import Airflow, start_airflow
from tests.auth.issuers import FakeIssuer
from tests.auth.keycloak import Keycloak, start_keycloak
from tests.databases import DatabaseOf, given_database
from tests.postgres import Postgres, start_postgres
from tests.rabbitmq import RabbitMQ, start_rabbitmq

pytest_plugins = ["tests.parallel", "tests.watching"]

ROOT = Path(__file__).parents[1]
_SERVE = """
import sys
from pathlib import Path
from server.environment import read_settings
from server.logs import start_logging
from server.web import serve_web
start_logging(level="INFO", form="json")
serve_web(read_settings(), Path(sys.argv[2]), socket=int(sys.argv[1]))
"""
URL = "https://maps.example.org/land"

MakeApp = Callable[..., Starlette]
StartServer = Callable[..., str]


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state folder with the sample's products; the first test process makes them, the others copy them."""
    state = tmp_path_factory.mktemp("sample state")
    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made sample"
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_sample(ROOT / "sample", made, report=unheard)
    shutil.copytree(made, state / "sample")
    return state


@pytest.fixture(scope="session")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keycloak]:
    """Return a real Keycloak with the committed realm, shared by all tests; add users with unique names to it."""
    with start_keycloak(tmp_path_factory.mktemp("keycloak")) as running:
        yield running


@pytest.fixture(scope="session")
def airflow(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """Return a real Airflow with our DAGs and settings, shared by all tests; its state folder has the sample."""
    with start_airflow(tmp_path_factory.mktemp("airflow")) as running:
        shutil.copytree(sample / "sample", running.state / "sample")
        yield running


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """Return a real RabbitMQ, shared by all tests; use a separate virtual host or unique names in it."""
    with start_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return a real PostgreSQL, shared by all tests; create a separate database in it."""
    with start_postgres() as running:
        yield running


@pytest.fixture
def database_of(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseOf]:
    """Return the database of orders, keys and sessions: a file of SQLite, or the parameter of the test."""
    with given_database(request, tmp_path / "the state" / "orders.sqlite") as database:
        yield database


@pytest.fixture(scope="session")
def two_years(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the sample around the park of Ojców, as two years: the later one has no needle leaved trees."""
    folder = tmp_path_factory.mktemp("years")
    with rasterio.open(ROOT / "sample" / "clcplus_2023_parks.tif") as source:
        window = source.window(5_010_000, 3_040_000, 5_040_000, 3_070_000).round()
        earlier, profile = source.read(1, window=window), {"crs": source.crs, "nodata": 255, "count": 1}
        profile["transform"] = source.window_transform(window)
    later = earlier.copy()
    later[later == 2] = 6
    later[::3, ::3][earlier[::3, ::3] == 3] = 1
    height, width = earlier.shape
    for year, pixels in ((2019, earlier), (2021, later)):
        size = {"width": width, "height": height, "dtype": "uint8", "overview_resampling": "mode"}
        with rasterio.open(folder / f"{year}.tif", "w", driver="COG", **size, **profile) as target:
            target.write(pixels, 1)
    return folder / "2019.tif", folder / "2021.tif"


@pytest.fixture
def configuration(sample: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the committed configuration, on the sample."""
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(sample))
    return deepcopy(_committed(_variables()))


@pytest.fixture
def make_app(configuration: dict[str, Any], tmp_path: Path) -> MakeApp:
    """Return a factory; each keyword is a settings class with its values, such as `server={"requests": 1}`."""

    def make(given: dict[str, Any] | None = None, **settings: dict[str, Any]) -> Starlette:
        return application(given or configuration, **{"state": {"dir": tmp_path / "state"}, **settings})

    return make


def application(configuration: dict[str, Any], **settings: dict[str, Any]) -> Starlette:
    """Return the application with these settings by class, `state` included; without `auth` it is open."""
    chosen: dict[str, dict[str, Any]] = {"server": {"url": URL}, "auth": {"open": True}}
    for concern, changed in settings.items():
        chosen[concern] = {**chosen.get(concern, {}), **changed}
    variables = _variables()
    values: dict[str, Any] = {}
    for kind in CONCERNS:
        name = kind.__name__.removesuffix("Settings").lower()
        values[name] = kind(**chosen[name]) if name in chosen else _of_environment(kind, variables)
    return create_app(configuration, Settings(**values))


type Variables = frozenset[tuple[str, str]]


def _variables() -> Variables:
    """Return the variables that configure the server; cached settings are valid while these are unchanged."""
    return frozenset(item for item in os.environ.items() if item[0].startswith("LANDCAST_"))


@cache
def _committed(_: Variables) -> dict[str, Any]:
    return read_configuration(ROOT / "pygeoapi-config.yml")


@cache
def _of_environment(kind: type[BaseSettings], _: Variables) -> BaseSettings:
    return kind()


@pytest.fixture
def client(make_app: MakeApp) -> Iterator[TestClient]:
    """Return a client of the application; it follows no redirect and uses another host than the public one."""
    app = make_app()
    with TestClient(app, base_url="http://inside.invalid", follow_redirects=False, headers={"accept": "*/*"}) as made:
        yield made


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    """Return an issuer of tokens over HTTP."""
    made = FakeIssuer()
    yield made
    made.close()


@pytest.fixture
def live_server(sample: Path, tmp_path: Path) -> Iterator[StartServer]:
    """Return a function that starts a real server with these environment variables and returns its address."""
    with ExitStack() as running:

        def start(**environment: str) -> str:
            return running.enter_context(serving(sample, tmp_path / "server.log", **environment))

        yield start


@contextmanager
def serving(state: Path, log: Path, *, configuration: str = "pygeoapi-config.yml", **environment: str) -> Iterator[str]:
    """Run a real server, open unless the environment says otherwise, and return its address."""
    socket = listen("127.0.0.1:0")
    url = f"http://127.0.0.1:{socket.getsockname()[1]}"
    chosen = {
        "LANDCAST_SERVER_URL": url,
        "LANDCAST_SERVER_WORKERS": "1",
        "LANDCAST_STATE_DIR": str(state),
        "LANDCAST_AUTH_OPEN": "yes",
        **environment,
    }
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(socket.fileno()), configuration],
            cwd=ROOT,
            env={**os.environ, **chosen},
            pass_fds=[socket.fileno()],
            stdout=stream,
            stderr=stream,
        )
    socket.close()
    try:
        _wait(url, process, log)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx2.get(f"{url}/health/live", timeout=60)
        except httpx2.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the server did not start: {log.read_text()}")
