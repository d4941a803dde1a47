"""The version of the program."""

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

import server.build
from server.cli import main


def test_the_version_names_the_commit() -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    done = CliRunner().invoke(main, ["--version"])
    assert done.exit_code == 0
    assert re.fullmatch(rf"landcast, version \d+\.\d+\.\d+, commit {head}\+?\n", done.output)


def test_without_a_repository_the_commit_is_the_recorded_one_or_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.build, "_ROOT", tmp_path)
    monkeypatch.setattr(server.build, "_NOTED", tmp_path / "COMMIT")
    assert server.build.commit() == "unknown"
    (tmp_path / "COMMIT").write_text("abc123\n")
    assert server.build.commit() == "abc123"
