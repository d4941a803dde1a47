"""No odd geometry ends the process that reads it, or is anything but taken or clearly refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_CASES = int(os.environ.get("TEST_ODD_AREAS", "20000"))


@pytest.mark.long
def test_odd_areas_are_taken_or_clearly_refused() -> None:
    """In a process of its own, which a signal may end; `TEST_ODD_AREAS` says how many."""
    command = [sys.executable, "-X", "faulthandler", "-m", "bench.odd_areas", str(_CASES), "20261129"]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-5000:]
