"""The program's commands with typical mistakes."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from products.progress import Report
from server.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["openapi", "--config", "nowhere.yml"], "nowhere.yml"),
        (["openapi"], "LANDCAST_AUTH_POLICY: missing"),
        (["sample", "--source", "docs"], "No such file"),
        (["product", "polygonize", "README.md", "made.gpkg", "--year", "2023"], "README.md"),
    ],
)
def test_an_ordinary_mistake_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], said: str
) -> None:
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("LANDCAST_AUTH_OPEN", raising=False)
    monkeypatch.setattr("server.logs.start_logging", lambda **_: None)  # the log of the tests stays theirs
    done = CliRunner().invoke(main, [argument.replace("made", f"{tmp_path}/made") for argument in arguments])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["serve", "check", "work", "sample", "product", "openapi"])
def test_every_command_explains_itself(command: str) -> None:
    done = CliRunner().invoke(main, [command, "--help"])
    assert done.exit_code == 0
    assert "Usage: " in done.stdout


def test_making_the_sample_reports_progress_without_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Like `make run` in a log: standard error has a line for each tenth, at once; standard output only the files."""

    def make(_source: Path, target: Path, *, report: Report) -> list[Path]:
        for done in range(201):
            report(done / 200, f"{done} polygons")
        return [target / "parks.gpkg"]

    monkeypatch.setenv("LANDCAST_STATE_DIR", str(tmp_path))
    monkeypatch.setattr("products.vector.sample.make_sample", make)
    done = CliRunner().invoke(main, ["sample"])
    expected = [f"making the sample: {tenth * 10} %, {tenth * 20} polygons" for tenth in range(11)]
    assert done.stderr.splitlines() == expected
    assert done.stdout == f"{tmp_path}/sample/parks.gpkg\n"
