"""`landcast airflow` with a stand-in for Airflow."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from server.cli import main
from tests.orchestration.played_airflow import PlayedAirflow, playing_airflow

KEY = "k" * 40
WEB = "clc_prod_a_service=http://user:p%40ss@a.example.org:5001"
MAIL = "smtp_default=smtp://mail.example.org/?from_email=a%40example.org&timeout=5"


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedAirflow]:
    with playing_airflow() as made:
        for name, value in {
            "URL": made.url,
            "USERNAME": "landcast",
            "PASSWORD": "pass",
            "KEY": KEY,
            "OPERATOR": "landcast",
            "OPERATOR_PASSWORD": "pass",
        }.items():
            monkeypatch.setenv(f"LANDCAST_AIRFLOW_{name}", value)
        yield made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["airflow", *arguments])


def test_named_dags_are_unpaused_and_paused(played: PlayedAirflow) -> None:
    played.dags = {"echo": True, "other": True}
    assert run("unpause", "echo").stdout == "echo: runs\n"
    assert played.dags == {"echo": False, "other": True}
    assert run("pause", "echo").stdout == "echo: paused\n"
    assert played.dags["echo"]


def test_a_missing_dag_is_named_and_the_others_are_changed(played: PlayedAirflow) -> None:
    played.dags = {"echo": True}
    done = run("unpause", "absent", "echo")
    assert (done.exit_code, done.stdout) == (1, "echo: runs\n")
    assert "Airflow has no DAG absent" in done.stderr


def test_connections_are_made_and_replaced(played: PlayedAirflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCAST_AIRFLOW_CONNECTIONS", f"{WEB}\n\n{MAIL}\n")
    assert run("connections").stdout == "clc_prod_a_service: made\nsmtp_default: made\n"
    found = {name: {k: v for k, v in body.items() if v is not None} for name, body in played.connections.items()}
    assert found == {
        "clc_prod_a_service": {
            "connection_id": "clc_prod_a_service",
            "conn_type": "http",
            "schema": "http",
            "host": "a.example.org",
            "port": 5001,
            "login": "user",
            "password": "p@ss",
        },
        "smtp_default": {
            "connection_id": "smtp_default",
            "conn_type": "smtp",
            "host": "mail.example.org",
            "extra": '{"from_email": "a@example.org", "timeout": "5"}',
        },
    }
    assert run("connections").stdout.splitlines()[0] == "clc_prod_a_service: replaced"


@pytest.mark.parametrize(
    "wrong",
    [
        "no_address",
        "a b=http://secret@host",
        "a=http://u:secret@host:port",
        "a=http://u:secret@",
        "a=x://s@h a=x://s@h",
    ],
)
def test_an_invalid_connection_is_named_by_its_line_without_secrets(
    played: PlayedAirflow, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("LANDCAST_AIRFLOW_CONNECTIONS", wrong)
    done = run("connections")
    assert done.exit_code == 1
    assert "LANDCAST_AIRFLOW_CONNECTIONS: entry" in done.stderr
    assert "secret" not in done.output
    assert not played.connections


def test_a_refusal_of_airflow_is_reported_in_one_line(played: PlayedAirflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCAST_AIRFLOW_PASSWORD", "wrong")
    done = run("unpause", "echo")
    assert (done.exit_code, done.stderr) == (1, "Error: Airflow refuses the login: 401 Invalid credentials\n")
    monkeypatch.delenv("LANDCAST_AIRFLOW_OPERATOR")
    assert "LANDCAST_AIRFLOW_OPERATOR: missing" in run("connections").stderr
    monkeypatch.delenv("LANDCAST_AIRFLOW_URL")
    assert "LANDCAST_AIRFLOW_URL: missing" in run("pause", "echo").stderr
    assert not played.connections
