"""`landcast check` as an operator runs it, on real and on broken configurations."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from starlette.testclient import TestClient

from orchestration.job import Order
from orchestration.store.jobs import StoredJobs
from server.check import find_problems
from server.cli import main
from tests.conftest import MakeApp
from tests.odd.rasters import gdal_cog
from tests.postgres import Postgres

CONFIGURATION = Path("pygeoapi-config.yml")


def check(configuration: Path, **environment: str) -> Result:
    """Run it in this process."""
    clean = {name: None for name in os.environ if name.startswith("LANDCAST_")}
    given = ["check", "--config", str(configuration)]
    done = CliRunner().invoke(main, given, env={**clean, "LANDCAST_AUTH_OPEN": "yes", **environment})
    assert isinstance(done.exception, SystemExit | None)
    return done


@pytest.fixture
def configuration(tmp_path: Path) -> dict[str, object]:
    """Return the sample's configuration with absolute paths, for tests to damage."""
    text = CONFIGURATION.read_text().replace("data: sample/", f"data: {Path('sample').resolve()}/")
    document: dict[str, object] = yaml.safe_load(
        text.replace("data: products/", f"data: {Path('products').resolve()}/").replace(
            "${LANDCAST_STATE_DIR:-var}", str(tmp_path)
        )
    )
    return document


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a configuration without the 147,770 polygons, whose spatial index is read completely each time."""
    document = yaml.safe_load(CONFIGURATION.read_text())
    del document["resources"]["clcplus-vector"], document["products"]["clcplus-2023"]["vector"]
    for resource in document["resources"].values():
        for provider in resource.get("providers", ()):
            provider["data"] = (
                provider["data"] if provider["data"].startswith("$") else str(Path(provider["data"]).resolve())
            )
    path = tmp_path_factory.mktemp("small") / "config.yml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_sample_passes_the_check(sample: Path) -> None:
    """This test runs it as a program; the others save the start of a process."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LANDCAST_")}
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", "check", "--config", str(CONFIGURATION)],
        env={**clean, "LANDCAST_AUTH_OPEN": "yes", "LANDCAST_STATE_DIR": str(sample)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "all is well"), done.stderr


def test_all_mistakes_are_named_at_once(tmp_path: Path, configuration: dict[str, object]) -> None:
    resources = configuration["resources"]
    assert isinstance(resources, dict)
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0 no raster")
    resources["clcplus-raster"]["providers"][0]["data"] = str(broken)
    resources["parks"]["providers"][0]["name"] = "plugins.nowhere.Provider"
    resources["nations"]["title"] = ""
    resources["echo"]["processor"]["name"] = "processes.echo.Ecco"
    resources["odd"] = {"type": "oddity"}
    resources["a b"] = resources["echo"]
    configuration["metadata"]["contact"] = {}  # type: ignore[index]
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(configuration))
    done = check(path, LANDCAST_SERVER_WORKERS="-1", LANDCAST_FOO="bar")
    assert (done.exit_code, done.stdout) == (1, "")
    for place in (
        "LANDCAST_FOO: ",
        "LANDCAST_SERVER_WORKERS: ",
        "metadata.contact.name: missing",
        "resources.clcplus-raster.providers[0].data: ",
        "resources.clcplus-vector.providers[0].data: no such file",
        "resources.parks.providers[0].name: ",
        "resources.nations.title: missing",
        "resources.echo.processor.name: ",
        "resources.odd.type: ",
        "resources.a b: ",
    ):
        assert any(line.startswith(place) for line in done.stderr.splitlines()), (place, done.stderr)


@pytest.mark.parametrize("name", ["..", ".x", "os.system", "plugins.nowhere.Provider"])
def test_an_invalid_plugin_is_named(tmp_path: Path, configuration: dict[str, Any], name: str) -> None:
    configuration["resources"]["parks"]["providers"][0]["name"] = name
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(configuration))
    problems = find_problems(path)
    assert any(problem.startswith("resources.parks.providers[0].") for problem in problems)


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "\0", "resources: {}", "resources: 7"])
def test_an_invalid_configuration_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yml"
    path.write_text(text)
    done = check(path)
    assert done.exit_code == 1
    assert done.stderr


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    done = check(tmp_path / "none.yml")
    assert done.exit_code == 1
    assert "none.yml" in done.stderr


def test_a_server_without_access_control_must_be_opened_explicitly(sample: Path, small: Path) -> None:
    done = check(small, LANDCAST_AUTH_OPEN="no", LANDCAST_STATE_DIR=str(sample))
    assert done.exit_code == 1
    assert done.stderr.startswith("LANDCAST_AUTH_ISSUER: missing")


def test_a_wait_that_the_request_timeout_would_end_is_refused(sample: Path, small: Path) -> None:
    done = check(
        small,
        LANDCAST_STATE_DIR=str(sample),
        LANDCAST_JOBS_WAIT="60",
        LANDCAST_SERVER_REQUEST_TIMEOUT="60",
    )
    assert done.exit_code == 1
    assert done.stderr.startswith("LANDCAST_JOBS_WAIT: ")


def test_invalid_callback_and_mail_settings_are_named_without_secrets(sample: Path, small: Path) -> None:
    done = check(
        small,
        LANDCAST_STATE_DIR=str(sample),
        LANDCAST_CALLBACKS_TRIES="many",
        LANDCAST_CALLBACKS_KEY="hidden",
        LANDCAST_MAIL_URL="smtp://me:hidden@example.org/path",
        LANDCAST_MAIL_TO="nobody",
    )
    assert done.exit_code == 1
    for name in ("CALLBACKS_TRIES", "CALLBACKS_KEY", "MAIL_URL", "MAIL_TO"):
        assert f"LANDCAST_{name}: " in done.stderr
    assert "hidden" not in done.stderr


def _orders(state: Path, *, results: bool = True, jobs: int = 1) -> Path:
    with closing(StoredJobs(state / "orders.sqlite")) as store:
        for _ in range(jobs):
            store.add(Order("echo", {}, "iss|ann"))
    if results:
        made = state / "results" / "0b9a" / "1" / "1" / "result.tif"
        made.parent.mkdir(parents=True)
        made.write_bytes(b"raster")
    return state / "orders.sqlite"


def _damaged(path: Path) -> None:
    """Overwrite one page in the middle."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 4096)


def _is_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _sql(script: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)

    return run


@pytest.mark.parametrize(
    ("change", "said", "serve"),
    [
        (
            lambda path: path.write_bytes(b"no database" * 1000),
            "database; `landcast restore --force` brings back",
            True,
        ),
        (lambda path: path.write_bytes(path.read_bytes()[:4096]), "malformed", True),
        (_damaged, "", False),
        (lambda path: path.write_bytes(b""), "has no order, but there is a result", True),
        (lambda path: path.unlink(), "has no order, but there is a result", True),
        (_sql("delete from jobs"), "has no order, but there is a result", False),
        (_is_folder, "is no file", True),
        (_sql("pragma user_version = 99"), "the schema has version 99, this program knows", True),
        (_sql("drop table jobs"), "no such table: jobs", True),
        (_sql("pragma user_version = 0"), "is a database of another program", True),
    ],
)
def test_unusable_orders_are_named_and_not_changed(
    tmp_path: Path, sample: Path, small: Path, change: Callable[[Path], object], *, said: str, serve: bool
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "sample").symlink_to(sample / "sample")
    path = _orders(state)
    change(path)
    before = path.read_bytes() if path.is_file() else None
    done = check(small, LANDCAST_STATE_DIR=str(state))
    assert done.exit_code == 1
    assert [line for line in done.stderr.splitlines() if str(path) in line and said in line], done.stderr
    for command in ("serve", "work") if serve else ():
        environment = {"LANDCAST_AUTH_OPEN": "yes", "LANDCAST_STATE_DIR": str(state)}
        refused = CliRunner().invoke(main, [command, "--config", str(small)], env=environment)
        assert (refused.exit_code, said in refused.stderr) == (1, True), refused.output
        assert isinstance(refused.exception, SystemExit)
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize("jobs", [0, 2])
def test_orders_without_results_pass_the_check(tmp_path: Path, sample: Path, small: Path, jobs: int) -> None:
    (tmp_path / "sample").symlink_to(sample / "sample")
    _orders(tmp_path, results=False, jobs=jobs)
    (tmp_path / "results" / "house").mkdir(parents=True)
    (tmp_path / "results" / "house" / "AL_2462.tif").write_bytes(b"made once")
    done = check(small, LANDCAST_STATE_DIR=str(tmp_path))
    assert (done.exit_code, done.stdout.strip()) == (0, "all is well"), done.stderr


def test_an_empty_database_with_existing_results_is_named(tmp_path: Path, small: Path, postgres: Postgres) -> None:
    made = tmp_path / "results" / "0b9a" / "1" / "1" / "result.tif"
    made.parent.mkdir(parents=True)
    made.write_bytes(b"raster")
    url = postgres.migrated()
    done = check(small, LANDCAST_STATE_DIR=str(tmp_path), LANDCAST_DATABASE_URL=url)
    assert "LANDCAST_DATABASE_URL: has no order, but there is a result: " in done.stderr
    postgres.run(url, "drop table jobs cascade")
    done = check(small, LANDCAST_STATE_DIR=str(tmp_path), LANDCAST_DATABASE_URL=url)
    assert "LANDCAST_DATABASE_URL: PostgreSQL failed (SQLSTATE 42P01)" in done.stderr


OWN_CLASSES = [
    {"value": 0, "name": "Clouds", "colour": "#ffffff"},
    {"value": 7, "name": "Heath", "colour": "#804000"},
]


@pytest.mark.parametrize(
    ("nodata", "classes", "lost"),
    [
        (255, None, None),
        (None, None, None),
        (0, None, None),
        (3, None, "3 is no data, so no pixel has the class 'Woody broadleaved deciduous trees'"),
        (254, None, "254 is no data, so no pixel has the class 'Outside area'"),
        (0, OWN_CLASSES, "0 is no data, so no pixel has the class 'Clouds'"),
        (3, OWN_CLASSES, None),
    ],
)
def test_a_class_equal_to_the_no_data_value_of_a_file_is_named(
    *,
    tmp_path: Path,
    configuration: dict[str, Any],
    make_app: MakeApp,
    caplog: pytest.LogCaptureFixture,
    nodata: float | None,
    classes: list[dict[str, Any]] | None,
    lost: str | None,
) -> None:
    path = gdal_cog(tmp_path / "served.tif", np.full((600, 600), 7, np.uint8), nodata=nodata)
    configuration["resources"]["clcplus-raster"]["providers"][0]["data"] = str(path)
    if classes:
        configuration["products"]["clcplus-2023"]["classes"] = classes
    (tmp_path / "config.yml").write_text(yaml.safe_dump(configuration))
    expected = [line for line in check(tmp_path / "config.yml").stderr.splitlines() if "no data" in line]
    with TestClient(make_app(configuration)) as client:
        assert client.get("/collections/clcplus-raster").status_code == 200
    logged = [record.getMessage() for record in caplog.records if "no data" in record.getMessage()]
    if lost is None:
        assert expected == logged == []
    else:
        [line], [message] = expected, logged
        assert f"resources.clcplus-raster.providers[0]: served.tif says that {lost}" in line
        assert f"--nodata {nodata})" in line
        assert message.startswith(f"collection clcplus-raster: served.tif says that {lost}")


@pytest.mark.parametrize(("value", "said"), [(0, ""), (1, "styles: few: 1 is no class; there are 0, 7")])
def test_a_style_is_checked_with_the_classes_of_its_product(
    tmp_path: Path, configuration: dict[str, Any], value: int, said: str
) -> None:
    path = gdal_cog(tmp_path / "served.tif", np.full((600, 600), 3, np.uint8))
    provider = configuration["resources"]["clcplus-raster"]["providers"][0]
    provider |= {"data": str(path), "styles": [{"id": "few", "hide": [value]}]}
    configuration["products"]["clcplus-2023"]["classes"] = OWN_CLASSES
    (tmp_path / "config.yml").write_text(yaml.safe_dump(configuration))
    expected = [line for line in check(tmp_path / "config.yml").stderr.splitlines() if "few" in line]
    assert [said in line for line in expected] == ([True] if said else [])
