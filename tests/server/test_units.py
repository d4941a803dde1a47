"""`landcast units`: every row is loaded or named, and orders over HTTP name their units."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orchestration.job import Order, OrderUnit, Output
from orchestration.store.jobs import StoredJobs
from orchestration.units import StoredUnits
from server.cli import main

CELL = "10kmE502N304"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(tmp_path))
    return tmp_path / "orders.sqlite"


def units(*arguments: object) -> Result:
    done = CliRunner().invoke(main, ["units", *map(str, arguments)])
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done


def load(folder: Path, text: str | bytes, *options: str) -> Result:
    file = folder / "units.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return units("load", file, "--service", "echo", *options)


def test_every_row_is_loaded_or_named(database: Path) -> None:
    text = (
        f'\ufeffID;State;Longitude;Latitude\r\n{CELL};;;\r\n\r\n"unit\n7";;1;2\r\nunit 8;success;1;2\r\n10kmE1;;;\r\n'
    )
    text += f"{CELL};failed;;\r\nunit 9;;1;91\r\nunit 10;;1;2;5\r\n"
    done = load(database.parent, text, "--task", "2021")
    assert (done.exit_code, done.stdout) == (2, "2 units: 2 new, 0 known; 5 rows refused\n")
    found = [line.partition("units.csv: ")[2].partition(";")[0] for line in done.stderr.splitlines()]
    assert [each.partition(":")[0] for each in found] == ["line 5", "line 7", "line 8", "line 9", "line 10"]
    assert "10kmE1" in found[1]
    assert "is in an earlier line" in found[2]
    assert "91" in found[3]
    assert units("count").stdout.splitlines() == [
        "SERVICE  TASK  STATE        UNITS",
        "echo     2021  not started  1",
        "echo     2021  success      1",
    ]


def test_a_file_may_be_loaded_again(database: Path) -> None:
    assert load(database.parent, f"id\n{CELL}\n10kmE502N305\n").exit_code == 0
    with closing(StoredJobs(database)) as store:
        store.add(Order("echo", {}, "iss|ann", unit=OrderUnit(CELL)), (Output("stringOutput", "x"),))
    again = load(database.parent, f"id\n{CELL}\n10kmE502N305\n10kmE502N306\n")
    assert (again.exit_code, again.stdout) == (0, "3 units: 1 new, 2 known; 0 rows refused\n")
    refused = units("ready", CELL, "10kmE502N305", "10kmE1N1", "--service", "echo")
    assert refused.exit_code == 2
    assert refused.stderr.splitlines() == ["10kmE502N305 is not started, not success", "10kmE1N1 is unknown"]
    with closing(StoredUnits(database)) as store:
        assert store.counts() == [("echo", "", "not started", 2), ("echo", "", "ready for delivery", 1)]


@pytest.mark.parametrize(
    "content", ["", "name\nx\n", "id,id\nx,x\n", "id,note\nx,y\n", b"id\n\xff\n", 'id\n"x" y\n', "id\n" + "x" * 200_000]
)
def test_a_file_that_is_no_table_of_units_is_refused(database: Path, content: str | bytes) -> None:
    refused = load(database.parent, content)
    assert (refused.exit_code, refused.stderr.startswith("Error: ")) == (1, True)
    assert units("count").stdout.splitlines() == ["SERVICE  TASK  STATE  UNITS"]


def test_units_belong_to_a_configured_process(database: Path) -> None:
    refused = load(database.parent, f"id\n{CELL}\n", "--service", "nothing")
    assert (refused.exit_code, "extract-product" in refused.stderr) == (2, True)
    assert load(database.parent, f"id\n{CELL}\n", "--task", " ").exit_code == 2


def test_an_order_names_its_unit(make_app: Callable[..., Starlette], tmp_path: Path) -> None:
    app = make_app()
    with TestClient(app, base_url="http://inside.invalid") as client:
        execution, wanted = "/processes/echo/execution", {"Prefer": "respond-async"}
        body = {"inputs": {}, "unit": {"id": CELL, "task": "2021"}}
        refused = client.post(execution, json=body, headers=wanted)
        assert (refused.status_code, CELL in refused.json()["detail"]) == (400, True)
        (tmp_path / "cells.csv").write_text(f"id\n{CELL}\n")
        state = {"LANDCAST_STATE_DIR": str(tmp_path / "state")}
        loading = ["units", "load", str(tmp_path / "cells.csv"), "--service", "echo", "--task", "2021"]
        assert CliRunner().invoke(main, loading, env=state).exit_code == 0
        job = client.post(execution, json=body, headers=wanted)
        assert job.status_code == 201
        again = client.get(f"/jobs/{job.json()['jobID']}/order?f=json").json()
        assert again["unit"] == {"id": CELL, "task": "2021"}
        for wrong in ("x", {"id": 7}, {"id": CELL, "more": "x"}):
            answer = client.post(execution, json={**body, "unit": wrong}, headers=wanted)
            assert (answer.status_code, answer.json()["parameter"]) == (400, "unit")
    with closing(StoredUnits(tmp_path / "state" / "orders.sqlite")) as store:
        assert store.counts() == [("echo", "2021", "received", 1)]
