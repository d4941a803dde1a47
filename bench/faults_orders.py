"""200 orders while server, worker, Airflow's scheduler and API, and PostgreSQL are killed: the test, larger."""

import os
import subprocess
import sys

_ORDERS = "200"
_TEST = "tests/orchestration/test_faults_orders.py"


def measure() -> None:
    """Print what the test prints: seconds, how often each ended, attempts, orders that were not taken at first."""
    command = [sys.executable, "-m", "pytest", _TEST, "-q", "-s"]
    subprocess.run(command, env={**os.environ, "TEST_FAULTS_ORDERS": _ORDERS}, check=True)
