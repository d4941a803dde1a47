"""Files in memory, for a process and those that it passes them to.

A running server holds its configuration in them, as the files on the disk may be edited meanwhile and may have secrets.
"""

import os
from pathlib import Path

_FOLDER = Path("/proc/self/fd")


def hold(content: bytes) -> Path:
    """Return the path of a new file in memory, which forked processes read by the same path."""
    descriptor = os.memfd_create("held")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    return path_of(descriptor)


def path_of(descriptor: int) -> Path:
    """Return the path of a file in memory by its descriptor, which another process may have sent."""
    return _FOLDER / str(descriptor)


def is_held(path: Path) -> bool:
    """Return whether the path is that of a file in memory."""
    return path.parent == _FOLDER


def descriptors_of(path: Path | None) -> tuple[int, ...]:
    """Return the descriptors that a started program needs to read the path; none for a file on the disk."""
    return (int(path.name),) if path is not None and is_held(path) else ()


def release(path: Path | None) -> None:
    """Close a file in memory, which other processes keep; do nothing for a file on the disk."""
    for descriptor in descriptors_of(path):
        os.close(descriptor)
