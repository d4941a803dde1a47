"""One command as a whole process: seconds, peak memory."""

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Run:
    """What one finished process took: wall seconds, peak resident memory in MB, seconds of the processor for itself.

    `cpu` are all seconds of the processor, those of the system too.
    """

    seconds: float
    megabytes: float
    user: float
    cpu: float


def run(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Run:
    """Run the command to its end and return what it took. Raises CalledProcessError."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Run(seconds, _megabytes(usage), usage.ru_utime, usage.ru_utime + usage.ru_stime)


def _megabytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


def clean_environment(state: Path, port: int) -> dict[str, str]:
    """Return what a server of its own needs."""
    return {
        "LANDCAST_AUTH_OPEN": "yes",
        "LANDCAST_STATE_DIR": str(state),
        "LANDCAST_SERVER_BIND": f"127.0.0.1:{port}",
    }


def serve(state: Path, port: int, log: TextIO) -> subprocess.Popen[str]:
    """Start `landcast serve` on the port."""
    return subprocess.Popen(
        [".venv/bin/python", "-m", "server.cli", "serve"],
        env={**os.environ, **clean_environment(state, port)},
        stderr=log,
        text=True,
    )
