"""No unusual geometry ends the process that reads it, causes a 5xx, or has a wrong area."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_CASES = int(os.environ.get("TEST_ODD_AREAS", "20000"))


@pytest.mark.long
def test_odd_areas_are_accepted_or_clearly_refused(sample: Path) -> None:
    """In a separate process, as a signal may end it; `TEST_ODD_AREAS` is their number."""
    command = [sys.executable, "-W", "ignore", "-X", "faulthandler", "-m", "bench.odd_areas", str(_CASES), "20261129"]
    environment = {**os.environ, "LANDCAST_STATE_DIR": str(sample)}
    root = Path(__file__).parents[2]
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-5000:]
    assert f"{_CASES:,} odd areas" in ended.stdout
