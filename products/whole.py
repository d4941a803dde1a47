"""Files that appear under their name whole, or not at all."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
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
