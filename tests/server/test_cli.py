"""The program's commands as people mistype them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

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
def test_an_ordinary_mistake_is_told_in_one_line(
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
