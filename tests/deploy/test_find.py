"""What the set-up scripts find."""

import subprocess
import sys

import pytest


def found(python: str) -> subprocess.CompletedProcess[str]:
    script = f". deploy/find.sh; PYTHON={python} find_python"
    return subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=False)


def test_the_python_that_is_named_is_taken() -> None:
    assert found(sys.executable).stdout.strip() == sys.executable


@pytest.mark.parametrize("python", ["/nowhere/python3", "/bin/false"])
def test_a_python_that_is_named_and_does_not_do_is_refused_and_no_other_taken(python: str) -> None:
    done = found(python)
    assert (done.returncode, done.stderr) == (1, f"landcast: PYTHON={python} is not Python 3.12 or newer\n")
