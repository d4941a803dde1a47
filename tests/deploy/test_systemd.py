"""The units, as far as systemd can verify them without running them."""

import re
import subprocess
from pathlib import Path

import pytest

from server.environment import read_settings
from tests.airflow import COMPONENTS, HOME

PATHS = {path.name: path for path in Path("deploy").rglob("landcast*.*") if path.suffix in {".service", ".timer"}}
UNITS = sorted(PATHS)
SERVICES = [name for name in UNITS if name.endswith(".service")]
OURS = [name for name in SERVICES if "airflow" not in name]
_WORKER = ["celery", "worker", "--queues", "${LANDCAST_AIRFLOW_QUEUES}"]
OF_AIRFLOW = [name for name in SERVICES if "airflow" in name]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return a folder with the units, changed to the program of this checkout, by a path without a space."""
    (tmp_path / "checkout").symlink_to(Path.cwd())
    airflow = f"{HOME}/bin/airflow"
    for name in UNITS:
        text = PATHS[name].read_text().replace("/opt/landcast/.venv-airflow/bin/airflow", airflow)
        (tmp_path / name).write_text(text.replace("/opt/landcast", f"{tmp_path}/checkout"))
    return tmp_path


def analysed(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_there_are_seven_units() -> None:
    assert UNITS == [
        "landcast-airflow-api-server.service",
        "landcast-airflow-dag-processor.service",
        "landcast-airflow-scheduler.service",
        "landcast-airflow-worker.service",
        "landcast-backup.service",
        "landcast-backup.timer",
        "landcast.service",
    ]


def test_systemd_accepts_the_units(units: Path) -> None:
    done = analysed("verify", *(units / name for name in UNITS))
    ours = [line for line in done.stderr.splitlines() if "landcast" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(units: Path, name: str) -> None:
    done = analysed("security", "--offline=true", "--threshold=15", units / name)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", OURS)
def test_commands_and_settings_of_a_service_exist(name: str) -> None:
    text = Path("deploy", name).read_text()
    commands = re.findall(r"^Exec\w+=.*bin/landcast (\w+)(.*)$", text, re.MULTILINE)
    assert commands
    for command, option in commands:
        help_ = subprocess.run([".venv/bin/landcast", command, "--help"], capture_output=True, text=True, check=True)
        assert "--config" not in option or "--config" in help_.stdout
    assert "Environment=LANDCAST_STATE_DIR=/var/lib/landcast\n" in text


@pytest.mark.parametrize("name", OF_AIRFLOW)
def test_a_process_of_airflow_ends_with_its_children(name: str) -> None:
    text = PATHS[name].read_text()
    component = name.removeprefix("landcast-airflow-").removesuffix(".service")
    (command,) = re.findall(r"^ExecStart=/opt/landcast/.venv-airflow/bin/airflow (.+)$", text, re.MULTILINE)
    expected = [component, *COMPONENTS[component]] if component in COMPONENTS else _WORKER
    assert command.split() == expected
    assert "KillMode=control-group\n" in text
    assert "Restart=always\nRestartSec=2\n" in text
    assert "EnvironmentFile=/etc/landcast/airflow.env\n" in text


def test_the_settings_of_the_example_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line for line in Path("deploy/landcast.env").read_text().splitlines() if not line.startswith("#")]
    for line in lines:
        monkeypatch.setenv(*line.split("=", 1))
    settings = read_settings()
    assert settings.server.public_url == "https://maps.example.org/land"
    assert settings.auth.open


def test_the_server_is_watched() -> None:
    """tests/server/test_supervise.py shows the heartbeats, and that none is sent while it hangs."""
    lines = PATHS["landcast.service"].read_text().splitlines()
    assert {"Type=notify", "NotifyAccess=main", "WatchdogSec=60", "Restart=on-failure", "KillMode=mixed"} <= set(lines)
