"""A full disk: how it differs from other failures, and how much space is left."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from orchestration.errors import NoSpaceLeft, OrchestrationError
from products.errors import ProductError

RESERVE = 1 << 20
"""Bytes below which a disk counts as full: the database needs some itself."""
NO_SPACE = os.EX_TEMPFAIL
"""The code that a work's process ends with where the disk was full: nothing could be written to say so."""

_CODES = frozenset({errno.ENOSPC, errno.EDQUOT})
_MESSAGES = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "disk is full")


def is_full(error: BaseException) -> bool:
    """Say whether a full disk is behind the error, whoever wrote to it and whatever was raised from that since."""
    return any(_says_full(each) for each in _behind(error))


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _says_full(error: BaseException) -> bool:
    """Our own errors may quote a caller; those of GDAL have only a message."""
    if isinstance(error, NoSpaceLeft):
        return True
    if isinstance(error, OSError):
        return error.errno in _CODES or (error.errno is None and _by_message(error))
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return not isinstance(error, ProductError | OrchestrationError) and _by_message(error)


def _by_message(error: BaseException) -> bool:
    return any(message in str(error) for message in _MESSAGES)


def free_bytes(folder: Path) -> int:
    """Return what an ordinary user may still write on the disk of the folder, or of the nearest that is there."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    disk = os.statvfs(nearest)
    return disk.f_bavail * disk.f_frsize
