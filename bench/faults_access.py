"""Keycloak killed, started again and its keys changed during a minute of 50 requests a second: the test, for longer."""

import os
import subprocess
import sys

_SECONDS = "60"
_TEST = "tests/server/test_faults.py"


def measure() -> None:
    """Print what the test prints: requests, wrong answers, the slowest, how often 503."""
    command = [sys.executable, "-m", "pytest", _TEST, "-q", "-s"]
    subprocess.run(command, env={**os.environ, "TEST_FAULTS_SECONDS": _SECONDS}, check=True)
