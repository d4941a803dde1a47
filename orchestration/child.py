"""A process that does work: its environment, whom it ends with, what its code says; also for Airflow's environment."""

import ctypes
import os
import signal
import sqlite3
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path

FRUGAL = {"GDAL_CACHEMAX": "64", "GDAL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
"""Environment that keeps its memory small and leaves the cores to the other orders."""

CALLERS_FAULT = os.EX_DATAERR
"""The exit code of a step whose order cannot be done; its caller reads the reason, no operator has to act."""
ATTEMPT_OVER = os.EX_UNAVAILABLE
"""The code of a step that stopped, or did not begin, because its attempt is not the running one."""

_PR_SET_PDEATHSIG = 1
_FIRST_TO_GO = "500"


def temporary(folder: Path) -> dict[str, str]:
    """Return the environment that keeps temporary files, of libraries too, in the folder."""
    return dict.fromkeys(("TMPDIR", "SQLITE_TMPDIR", "CPL_TMPDIR"), str(folder))


def work_in(folder: Path) -> None:
    """Have this process keep its temporary files in the folder, whatever it has loaded before."""
    os.environ.update(temporary(folder))
    tempfile.tempdir = None
    with closing(sqlite3.connect(":memory:")) as connection:  # SQLite has read the environment when it was loaded
        connection.execute("pragma temp_store_directory = '{}'".format(str(folder).replace("'", "''")))


def die_with(parent: int) -> None:
    """End this process when its parent ends, also when that happened before we asked."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


def go_first() -> None:
    """Let the kernel end this process before others where memory is short."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
