"""Locks of a state folder: shared by servers and workers, exclusive for a restore."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RESTORING = ".restoring"
"""Folder in the state folder into which a restore unpacks."""
JOURNAL = "journal.json"
"""File in that folder while the old state is exchanged for the new one."""
_LOCK = "state.lock"
_WORK_LOCK = "work.lock"


class StateBusy(Exception):
    """Another process uses the state folder."""


class RestoreUnfinished(Exception):
    """A restore was interrupted while exchanging the state."""


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Block restores while this process and its forks run. Raises StateBusy, RestoreUnfinished."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / _LOCK, fcntl.LOCK_SH, f"{folder}: a restore is running; wait until it is done"):
        refuse_unfinished(folder)
        yield


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Block servers, workers, backups and restores. Raises StateBusy if one is running."""
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"{folder} is in use: stop the server, the worker, the backup or the other restore first"
    with _locked(folder / _LOCK, fcntl.LOCK_EX, busy), _locked(folder / _WORK_LOCK, fcntl.LOCK_EX, busy):
        yield


def refuse_unfinished(folder: Path) -> None:
    """Raise RestoreUnfinished if a restore was interrupted during the exchange."""
    if (folder / RESTORING / JOURNAL).exists():
        raise RestoreUnfinished(f"{folder}: a restore was interrupted; run the same `landcast restore` again")


def refuse_root(folder: Path) -> None:
    """Raise PermissionError if root would create files in a folder of another user, who could not change them."""
    if folder.exists() and os.geteuid() == 0 and (owner := folder.stat().st_uid) != 0:
        raise PermissionError(f"{folder} belongs to user {owner}: run this as that user, not as root")


@contextmanager
def _locked(path: Path, kind: int, refusal: str) -> Iterator[None]:
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateBusy(refusal) from error
        yield
