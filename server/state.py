"""Who may work on a state folder: servers and workers together, a restore alone."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RESTORING = ".restoring"
"""The folder, inside the state folder, that a restore unpacks into."""
JOURNAL = "journal.json"
"""It lies in there from the moment that the old state is touched until the new one is complete."""
_LOCK = "state.lock"
_WORK_LOCK = "work.lock"


class StateBusy(Exception):
    """Somebody else works on the state folder."""


class RestoreUnfinished(Exception):
    """A restore was interrupted while it exchanged the state."""


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep a restore out, also from the forks of this process. Raises StateBusy, RestoreUnfinished."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / _LOCK, fcntl.LOCK_SH, f"{folder}: a restore is going on; wait until it is done"):
        refuse_unfinished(folder)
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep servers, workers, backups and restores out. Raises StateBusy where one of them is there."""
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"{folder} is in use: stop the server, the worker, the backup or the other restore first"
    with _locked(folder / _LOCK, fcntl.LOCK_EX, busy), _locked(folder / _WORK_LOCK, fcntl.LOCK_EX, busy):
        yield


def refuse_unfinished(folder: Path) -> None:
    """Raise RestoreUnfinished where the state folder is half old and half new."""
    if (folder / RESTORING / JOURNAL).exists():
        raise RestoreUnfinished(f"{folder}: a restore was interrupted; give the same `landcast restore` again")


def refuse_root(folder: Path) -> None:
    """Raise PermissionError where root would leave files that the folder's own user cannot change."""
    if folder.exists() and os.geteuid() == 0 and (owner := folder.stat().st_uid) != 0:
        raise PermissionError(f"{folder} is of the user {owner}: run it as that user, not as root")


@contextmanager
def _locked(path: Path, kind: int, refusal: str) -> Iterator[None]:
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateBusy(refusal) from error
        yield
