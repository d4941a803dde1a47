"""What the folder of results holds: measured by the worker, noted where every server reads it cheaply."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR

_BLOCK = 512
_LENGTH = 64
"""Bytes of the note: written over in one go, so that it needs no more space and nobody reads half of it."""
_UNITS = ("bytes", "KiB", "MiB", "GiB")


def allocated(path: Path) -> int:
    """Return the bytes on disk of everything at or below the path, each file once, holes not counted.

    A file that has a name elsewhere too is not counted: it is there without us, as the European raster is.
    """
    total = 0
    names: Counter[tuple[int, int]] = Counter()
    shared: dict[tuple[int, int], os.stat_result] = {}
    for status, is_folder in _walk(path):
        if is_folder or status.st_nlink == 1:
            total += status.st_blocks * _BLOCK
        else:
            inode = (status.st_dev, status.st_ino)
            names[inode] += 1
            shared[inode] = status
    return total + sum(s.st_blocks * _BLOCK for inode, s in shared.items() if s.st_nlink == names[inode])


def _walk(path: Path) -> Iterator[tuple[os.stat_result, bool]]:
    """Yield the status of all that is there, and whether it is a folder; what goes meanwhile is left out."""
    found = [(str(path), _status(path))]
    while found:
        name, status = found.pop()
        if status is None:
            continue
        is_folder = S_ISDIR(status.st_mode)
        yield status, is_folder
        if is_folder:
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(name) as entries:
                found += [(entry.path, _status(entry.path)) for entry in entries]


def _status(path: str | Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def note_usage(results: Path, used: int) -> None:
    """Note how many bytes the folder of results holds; where that cannot be written the old note stays."""
    text = json.dumps({"used": used}).ljust(_LENGTH).encode()
    with suppress(OSError):
        descriptor = os.open(_note(results), os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, text, 0)
        finally:
            os.close(descriptor)


def known_usage(results: Path) -> int | None:
    """Return what was noted last, None before that."""
    try:
        return int(json.loads(_note(results).read_bytes())["used"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _note(results: Path) -> Path:
    return results.with_name("usage")


def in_words(size: float) -> str:
    """Return a number of bytes as people read it, in powers of 1024."""
    for unit in _UNITS:
        if size < 1024:  # noqa: PLR2004  the step of the units
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"
