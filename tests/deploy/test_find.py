"""The programs that the set-up scripts find."""

import shlex
import subprocess
import sys

import pytest


def found(python: str) -> subprocess.CompletedProcess[str]:
    script = f". deploy/find.sh; PYTHON={shlex.quote(python)} find_python"
    return subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=False)


def test_the_named_python_is_used() -> None:
    assert found(sys.executable).stdout.strip() == sys.executable


@pytest.mark.parametrize("python", ["/nowhere/python3", "/bin/false"])
def test_an_unsuitable_named_python_is_refused(python: str) -> None:
    done = found(python)
    assert (done.returncode, done.stderr) == (1, f"landcast: PYTHON={python} is not Python 3.12 or newer\n")
