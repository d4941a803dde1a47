"""The lock of a folder: one process works in it, others wait; it ends with the process that holds it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from products.progress import Report

_LOOK = 0.2
"""Seconds between two looks whether the other is done."""


@contextmanager
def wait_for(path: Path, report: Report, message: str) -> Iterator[None]:
    """Hold the lock at the path, whose folder is made where it is not there; while another does, report the message."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            _wait(lock, report, message)
            if _is_at(lock, path):
                yield
                return


def try_all(stack: ExitStack, *paths: Path) -> bool:
    """Hold the locks at the paths until the end of the stack; say whether nobody else held one."""
    try:
        for path in paths:
            fcntl.flock(stack.enter_context(path.open("w")), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(lock: TextIO, report: Report, message: str) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(0, message)
            time.sleep(_LOOK)
        else:
            return


def _is_at(lock: TextIO, path: Path) -> bool:
    """Say whether the lock is still the one at the path, which may have been swept meanwhile."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False
