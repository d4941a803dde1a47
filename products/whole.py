"""Files that appear under their name whole, or not at all; and what is known of a file while it stays the same."""

import os
import re
import secrets
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from pathlib import Path
from typing import IO

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


def known_by_file[*Ts, T](*, most: int) -> Callable[[Callable[[Path, *Ts], T]], Callable[[Path, *Ts], T]]:
    """Let a function that reads a file, and its hashable arguments, answer again what it found, of `most` files.

    A file is the same while its number, time and size are, and those of the write-ahead log that SQLite keeps beside.
    Errors are not kept.
    """

    def keep(read: Callable[[Path, *Ts], T]) -> Callable[[Path, *Ts], T]:
        @lru_cache(most)
        def kept(path: Path, version: Hashable, args: tuple[*Ts]) -> T:
            del version
            return read(path, *args)

        @wraps(read)
        def known(path: Path, *args: *Ts) -> T:
            return kept(path, (_version(path), _version(Path(f"{path}-wal"))), args)

        return known

    return keep


def _version(path: Path) -> tuple[int, ...]:
    """Return what differs where the file does, nothing for one that there is not."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
