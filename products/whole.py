"""Files that appear under their name whole, or not at all; and a cache of what was read in a file."""

import math
import os
import re
import secrets
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, wraps
from pathlib import Path
from typing import IO, cast

from products.errors import BrokenSource
from products.remote import is_remote, remote_state
from products.sources import files_of, is_one_file, rasters_in

_RETRY_SECONDS = 10
"""Seconds in which a file that could not be read is not tried again while it stays the same."""
_PLAIN = re.compile(r"/.*(?<!\.gti)\.(tiff?|gpkg)", re.DOTALL)
"""What is one file by its name, so that a request enters no further module."""
_DRAFT = re.compile(r"\..+\.[0-9a-f]{8}\.part([-.].+)?")


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a path beside the target to write to; on leaving it is fsynced and renamed, on an error removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        make_durable(part)
        part.replace(target)
        make_durable(target.parent)
    finally:
        part.unlink(missing_ok=True)


def is_draft(name: str) -> bool:
    """Say whether a file's name is one that `whole_file` writes to, or that SQLite or GDAL keep beside such a one."""
    return _DRAFT.fullmatch(name) is not None


def make_durable(path: Path) -> None:
    """Return once the file, or the names in the folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link(source: Path, target: Path) -> None:
    """Make the target another name of the source: a hard link, a symbolic one where the file system has no other."""
    source = source.resolve()
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        target.symlink_to(source)


def private_file(path: Path) -> IO[bytes]:
    """Open a new file that its owner alone may read. Raises FileExistsError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


@dataclass(slots=True)
class _Cached[T]:
    """What reading a file gave: a value, or an error with the moment until which it is raised again."""

    value: T | None = None
    fault: str | None = None
    until: float = 0.0


def cached_by_file[*Ts, T](
    *, most: int, beside: Sequence[str] = ("-wal",)
) -> Callable[[Callable[[Path, *Ts], T]], Callable[[Path, *Ts], T]]:
    """Cache what a function reads in a file, by the file's `version_of` and the hashable arguments, for `most` files.

    BrokenSource is raised again, too, but after ten seconds the file is read anew: the reason may lie elsewhere. No
    other error is cached.
    """

    def keep(read: Callable[[Path, *Ts], T]) -> Callable[[Path, *Ts], T]:
        @lru_cache(most)
        def cached(path: str, version: Hashable, args: tuple[*Ts]) -> _Cached[T]:
            del path, version, args
            return _Cached()

        @wraps(read)
        def known(path: Path, *args: *Ts) -> T:
            entry = cached(str(path), version_of(path, beside), args)
            if entry.until < time.monotonic():
                try:
                    _refuse_pipes(path)
                    entry.value, entry.fault = read(path, *args), None
                    entry.until = math.inf
                except BrokenSource as error:
                    entry.fault, entry.until = str(error), time.monotonic() + _RETRY_SECONDS
                    raise
            if entry.fault is not None:
                raise BrokenSource(entry.fault)
            return cast("T", entry.value)

        return known

    return keep


def _refuse_pipes(path: Path) -> None:
    """Raise BrokenSource if the path is neither a file nor a folder of rasters: opening a pipe may block for ever."""
    if path.exists() and not path.is_file() and not rasters_in(path):
        raise BrokenSource(f"{path.name} is not a file")


Version = tuple[tuple[int, ...], ...]


def version_of(path: str | os.PathLike[str], beside: Sequence[str] = ("-wal",)) -> Version:
    """Return what differs where a file or one beside it does: number, time written, size; nothing if missing.

    A further name of the file, as an order of the whole product makes, is no other version. Beside a database SQLite
    keeps its write-ahead log, a server nothing. A raster of several files differs where one of them does.
    """
    name = os.fspath(path)
    is_plain = _PLAIN.fullmatch(name)
    if not is_plain and is_remote(name):
        return (remote_state(name),)
    own = tuple(_version(f"{name}{ending}") for ending in ("", *beside))
    if is_plain or is_one_file(name) or not own[0]:
        return own
    return *own, *map(_version, files_of(name, own[0]))


def _version(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path costs as much again
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
