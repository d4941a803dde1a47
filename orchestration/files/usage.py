"""The size of the results folder: measured by the worker, and stored in a file that every server reads."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR

_BLOCK = 512
_LENGTH = 64
"""Size of the file in bytes: overwritten in one call, so that it needs no new space and is never read half-written."""
_UNITS = ("bytes", "KiB", "MiB", "GiB")


def allocated(path: Path) -> int:
    """Return the allocated bytes at and below the path, each file once, holes not counted.

    A file with a hard link elsewhere is not counted, as it takes no extra space, such as the European raster.
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
    """Yield the status of every entry, and whether it is a folder; entries removed meanwhile are skipped."""
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
    """Store the size of the results folder; if that fails, the old value remains."""
    text = json.dumps({"used": used}).ljust(_LENGTH).encode()
    with suppress(OSError):
        descriptor = os.open(_note(results), os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, text, 0)
        finally:
            os.close(descriptor)


def known_usage(results: Path) -> int | None:
    """Return the stored size, or None."""
    try:
        return int(json.loads(_note(results).read_bytes())["used"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _note(results: Path) -> Path:
    return results.with_name("usage")


def readable_size(size: float) -> str:
    """Return a size in bytes for people, in units of powers of 1024."""
    for unit in _UNITS:
        if size < 1024:  # noqa: PLR2004  the step of the units
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"
