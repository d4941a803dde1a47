"""The Ansible role that ships logs: linted, and played against this machine with folders of the test."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.test_containers import TOOLS

pytestmark = pytest.mark.full
PLAYBOOK = Path("deploy/ansible/logs.yml")
LOKI = "https://ann:secret@loki.example.org/loki/api/v1/push"


def tool(name: str, folder: Path, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of Ansible with its own folders, without the terminal and the network."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    given = {
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
        "PATH": f"{TOOLS}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
    }
    command = [str(TOOLS / name), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=clean | given, capture_output=True, text=True, check=False, timeout=600)


def play(folder: Path, **values: str) -> tuple[int, int, str]:
    """Play without what needs Grafana's packages and systemd; return how many failed and changed, and the output."""
    variables = {
        "landcast_logs_configuration": str(folder / "alloy" / "config.alloy"),
        "landcast_logs_environment": str(folder / "environment"),
        "ansible_become": False,
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        **values,
    }
    options = ("--connection", "local", "--inventory", "localhost,", "--skip-tags", "install,service")
    done = tool("ansible-playbook", folder, *options, "--extra-vars", json.dumps(variables), PLAYBOOK)
    output = done.stdout + done.stderr
    recap = re.search(r"changed=(\d+) +unreachable=0 +failed=(\d+)", output)
    assert recap, output
    return int(recap[2]), int(recap[1]), output


def test_the_linter_has_no_findings(tmp_path: Path) -> None:
    folder = shutil.copytree(PLAYBOOK.parent, tmp_path / "linted")  # in the checkout it reads all files
    done = tool("ansible-lint", tmp_path, "--offline", "--profile", "production", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_second_play_changes_nothing_and_another_address_one_file(tmp_path: Path) -> None:
    failed, changed, output = play(tmp_path, landcast_logs_loki=LOKI, landcast_logs_queue="clc_prod")
    assert (failed, changed) == (0, 3), output
    assert "secret" not in output
    written = tmp_path / "environment"
    assert written.stat().st_mode & 0o777 == 0o600
    assert {f'LOKI_URL="{LOKI}"', 'PROJECT="landcast"', 'QUEUE="clc_prod"'} <= set(written.read_text().splitlines())
    assert (tmp_path / "alloy/config.alloy").read_text() == Path("deploy/logs/alloy.alloy").read_text()
    failed, changed, output = play(tmp_path, landcast_logs_loki=LOKI, landcast_logs_queue="clc_prod")
    assert (failed, changed) == (0, 0), output
    other = "http://loki:3100/loki/api/v1/push"
    failed, changed, output = play(tmp_path, landcast_logs_loki=other, landcast_logs_queue="clc_prod")
    assert (failed, changed) == (0, 1), output


def test_without_an_address_nothing_is_written(tmp_path: Path) -> None:
    failed, changed, output = play(tmp_path)
    assert (failed, changed) == (1, 0)
    assert "Set landcast_logs_loki" in output
    assert not (tmp_path / "environment").exists()
