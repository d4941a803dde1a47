"""Kills sessions of processes, like systemd a control group; as a program, when its standard input ends."""

import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil


def kill_session(leader: int) -> None:
    """Kill the leader of a session and all processes in it, also those whose parent has ended."""
    while found := [process for process in psutil.process_iter() if _is_of(process.pid, leader) and lives(process)]:
        kill_each(found)
        psutil.wait_procs(found, timeout=0.1)


def kill_each(processes: Iterable[psutil.Process]) -> None:
    """Kill processes, any of which may have ended."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def lives(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_sessions(folder: Path) -> None:
    """Kill the sessions that the folder's files `….pid` name."""
    for path in folder.glob("*.pid"):
        kill_session(int(path.read_text()))
        path.unlink()


def _is_of(process: int, leader: int) -> bool:
    with suppress(ProcessLookupError):
        return os.getsid(process) == leader
    return False


if __name__ == "__main__":
    sys.stdin.read()
    kill_sessions(Path(sys.argv[1]))
