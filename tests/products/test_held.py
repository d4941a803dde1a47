"""Files in memory, and a configuration in a file in memory."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from products.catalogue import read_configuration, write_configuration
from products.held import descriptors_of, hold, release


def test_a_file_in_memory_is_read_here_and_by_a_child_process() -> None:
    path = hold("ä\n".encode())
    assert path.read_text() == path.read_text() == "ä\n"
    code = "import pathlib, sys; print(pathlib.Path(sys.argv[1]).read_text())"
    command = [sys.executable, "-c", code, str(path)]
    read = subprocess.run(command, pass_fds=descriptors_of(path), capture_output=True, text=True, check=True)
    assert read.stdout == "ä\n\n"
    release(path)
    with pytest.raises(FileNotFoundError):
        path.read_text()


def test_a_file_on_disk_is_not_copied_to_memory(tmp_path: Path) -> None:
    path = tmp_path / "7"
    path.touch()
    assert descriptors_of(path) == descriptors_of(None) == ()
    release(path)
    os.fstat(1)


def test_a_configuration_in_memory_is_the_one_that_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if a value now looks like a variable; its paths stay relative to the same folder."""
    monkeypatch.setenv("ODD", "${NO_SUCH_VARIABLE}#: {")
    (tmp_path / "there.csv").touch()
    path = tmp_path / "configuration.yml"
    path.write_text(
        "x-same: &same {begin: 2020-01-01, end: null}\n"
        "resources:\n"
        "  a:\n"
        "    extents: {temporal: *same, more: *same, answer: 'no', number: '1'}\n"
        "    title: Zażółć 🏞\n"
        "    providers:\n"
        "      - {name: plugins.cog.CogProvider, data: a.tif, query: '${ODD}'}\n"
        "      - {name: CSV, data: there.csv}\n"
        "      - {name: CSV, data: elsewhere.csv}\n"
    )
    document = read_configuration(path)
    held = hold(write_configuration(document))
    assert read_configuration(held) == document
    extents = document["resources"]["a"]["extents"]
    assert extents["temporal"] == {"begin": date(2020, 1, 1), "end": None}
    providers = document["resources"]["a"]["providers"]
    assert [each["data"] for each in providers] == [f"{tmp_path}/a.tif", f"{tmp_path}/there.csv", "elsewhere.csv"]
    assert providers[0]["query"] == "${NO_SUCH_VARIABLE}#: {"
    release(held)
