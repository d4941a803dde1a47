"""`landcast check` as an operator runs it, on real and on broken configurations."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from server.check import find_problems, flaws
from server.cli import main

CONFIGURATION = Path("pygeoapi-config.yml")


def check(configuration: Path, **environment: str) -> Result:
    """Run it in this process, which spares the seconds that a new one's imports take."""
    clean = {name: None for name in os.environ if name.startswith("LANDCAST_")}
    given = ["check", "--config", str(configuration)]
    done = CliRunner().invoke(main, given, env={**clean, "LANDCAST_AUTH_OPEN": "yes", **environment})
    assert isinstance(done.exception, SystemExit | None)
    return done


def check_as_an_operator(configuration: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LANDCAST_")}
    return subprocess.run(
        [sys.executable, "-m", "server.cli", "check", "--config", str(configuration)],
        env={**clean, "LANDCAST_AUTH_OPEN": "yes", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def configuration(tmp_path: Path) -> dict[str, object]:
    """Return the sample's configuration with absolute paths, to be broken."""
    text = CONFIGURATION.read_text().replace("data: sample/", f"data: {Path('sample').resolve()}/")
    document: dict[str, object] = yaml.safe_load(
        text.replace("data: products/", f"data: {Path('products').resolve()}/").replace(
            "${LANDCAST_STATE_DIR:-var}", str(tmp_path)
        )
    )
    return document


def test_the_sample_is_well(sample: Path) -> None:
    done = check_as_an_operator(CONFIGURATION, LANDCAST_STATE_DIR=str(sample))
    assert (done.returncode, done.stdout.strip()) == (0, "all is well"), done.stderr


def test_everything_wrong_is_named_at_once(tmp_path: Path, configuration: dict[str, object]) -> None:
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
    done = check_as_an_operator(path, LANDCAST_SERVER_WORKERS="-1", LANDCAST_FOO="bar")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
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


@pytest.mark.parametrize(
    ("place", "wrong", "problem"),
    [
        ("resources.parks.providers", 5, "resources.parks.providers: must be a list"),
        ("resources.parks.providers", {"type": "feature"}, "resources.parks.providers: must be a list"),
        ("resources.parks.providers", [None], "resources.parks.providers[0]: must be a mapping"),
        (
            "resources.parks.providers",
            [{"type": "feature", "name": "a.B"}],
            "resources.parks.providers[0].data: missing",
        ),
        (
            "resources.parks.providers",
            [{"type": "map", "name": "a.B", "data": "x"}],
            "resources.parks.providers[0].type: ",
        ),
        ("resources.parks.extents", "Europe", "resources.parks.extents: must be a mapping"),
        ("resources.parks.links", "https://example.org", "resources.parks.links: must be a list"),
        ("resources.echo.processor", None, "resources.echo.processor: missing"),
        ("resources.parks", None, "resources.parks.type: "),
        ("server", None, "server.languages: missing"),
        ("metadata", None, "metadata: missing"),
        ("products", [], "products: "),
    ],
)
def test_what_no_server_could_start_from_is_named(
    configuration: dict[str, object], place: str, wrong: object, problem: str
) -> None:
    *parents, last = place.split(".")
    broken: Any = configuration
    for parent in parents:
        broken = broken[parent]
    broken[last] = wrong
    assert [flaw for flaw in flaws(configuration) if flaw.startswith(problem)]


def test_the_sample_has_no_flaw(configuration: dict[str, object]) -> None:
    assert not list(flaws(configuration))


@pytest.mark.parametrize("name", ["..", ".x", "os.system", "plugins.nowhere.Provider"])
def test_a_plugin_that_is_none_is_named(tmp_path: Path, configuration: dict[str, Any], name: str) -> None:
    configuration["resources"]["parks"]["providers"][0]["name"] = name
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(configuration))
    assert any(problem.startswith("resources.parks.providers[0].") for problem in find_problems(path))


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "\0", "resources: {}", "resources: 7"])
def test_a_configuration_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yml"
    path.write_text(text)
    done = check(path)
    assert done.exit_code == 1
    assert done.stderr


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    done = check(tmp_path / "none.yml")
    assert done.exit_code == 1
    assert "none.yml" in done.stderr


def test_without_access_control_the_server_must_be_opened_on_purpose(sample: Path) -> None:
    done = check(CONFIGURATION, LANDCAST_AUTH_OPEN="no", LANDCAST_STATE_DIR=str(sample))
    assert done.exit_code == 1
    assert done.stderr.startswith("LANDCAST_AUTH_ISSUER: missing")


def test_a_wait_that_the_request_timeout_would_end_is_refused(sample: Path) -> None:
    done = check(
        CONFIGURATION,
        LANDCAST_STATE_DIR=str(sample),
        LANDCAST_JOBS_WAIT="60",
        LANDCAST_SERVER_REQUEST_TIMEOUT="60",
    )
    assert done.exit_code == 1
    assert done.stderr.startswith("LANDCAST_JOBS_WAIT: ")


def test_wrong_callbacks_and_mail_are_named_without_their_secrets(sample: Path) -> None:
    done = check(
        CONFIGURATION,
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
