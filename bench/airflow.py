"""Airflow with our settings: POST to successful, orders taken a second, memory when idle: the test, for longer."""

import os
import subprocess
import sys

_ORDERS = "20"
_TEST = "tests/orchestration/test_airflow_pace.py"


def measure() -> None:
    """Print what the test prints, with a PostgreSQL that writes to the disk."""
    command = [sys.executable, "-m", "pytest", _TEST, "-q", "-s"]
    subprocess.run(command, env={**os.environ, "TEST_PACE_ORDERS": _ORDERS, "TEST_POSTGRES_DURABLE": "yes"}, check=True)
