"""Tiles on disk, for all server processes of a machine: a file for each key; the least recently used are removed.

A key contains everything that a tile depends on, so a file is never outdated, only unused. There is no lock: a file is
written under another name and renamed, and a process that finds it missing or damaged draws the tile. Files that a
killed process leaves are removed like unused ones.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from threading import get_ident

_FOLDERS = 256
_CHECK = 16
"""Bytes before the content that show whether the file is complete and belongs to this key."""
_BLOCK = 4_096
"""The unit of disk space: the bytes that a file occupies are a multiple of it."""
_FILL = 0.9
"""The part of a folder's share that remains after a removal."""
_OFTEN = 8
"""Number of times that a process measures a folder while it fills its share once."""
_TOUCH = 3_600
"""Seconds after which a use is recorded again."""
_PAUSE = 60
"""Seconds without writing after a failed write."""
_NEW = ".new"
_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class TileCache:
    """A folder of tiles of at most `most` bytes, about an eighth more for each process that fills it at the same time.

    `hits` and `misses` are those of this process.
    """

    folder: Path
    most: int
    hits: int = 0
    misses: int = 0
    _written: dict[str, int] = field(default_factory=dict)
    """Bytes that this process has written to a folder since it measured it; a new folder is measured first."""
    _paused_until: float = 0.0

    def get(self, key: str) -> bytes | None:
        """Return a tile, None if it is missing or incomplete."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                content, used = file.read(), os.fstat(file.fileno()).st_mtime
        except OSError:
            self.misses += 1
            return None
        if content[:_CHECK] != _check(key, content[_CHECK:]):
            path.unlink(missing_ok=True)
            self.misses += 1
            return None
        self.hits += 1
        if time.time() - used > _TOUCH:
            with suppress(OSError):
                os.utime(path)
        return content[_CHECK:]

    def holds(self, key: str) -> bool:
        """Return whether there is a file for a tile, without reading it."""
        return self._path(key).exists()

    def put(self, key: str, content: bytes) -> bool:
        """Store a tile; return whether it could be written. A full or failing disk is logged once a minute."""
        if time.monotonic() < self._paused_until:
            return False
        path = self._path(key)
        new = path.with_name(f"{key}.{os.getpid()}.{get_ident()}{_NEW}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                file.write(_check(key, content))
                file.write(content)
            new.replace(path)
        except OSError as error:
            self._paused_until = time.monotonic() + _PAUSE
            _LOGGER.warning("no tile is stored for %d s: %s", _PAUSE, error.strerror)
            with suppress(OSError):
                new.unlink(missing_ok=True)
            return False
        self._bound(path.parent, _size(_CHECK + len(content)))
        return True

    def clear(self) -> int:
        """Remove all tiles, and return how many there were."""
        count = 0
        for folder in self._folders():
            for entry in _files(folder):
                count += _remove(entry) and not entry.name.endswith(_NEW)
        return count

    @property
    def bytes(self) -> int:
        """The disk space of all tiles in bytes."""
        files = (each for folder in self._folders() for each in _files(folder))
        return sum(_size(found.st_size) for each in files if (found := _stat(each)))

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def _folders(self) -> Iterator[Path]:
        for number in range(_FOLDERS):
            yield self.folder / f"{number:02x}"

    def _bound(self, folder: Path, written: int) -> None:
        """Remove the least recently used files of a folder that exceeds its share."""
        share = self.most // _FOLDERS
        known = self._written.get(folder.name)
        self._written[folder.name] = 0 if known is None else known + written
        if known is not None and known + written < share / _OFTEN:
            return
        self._written[folder.name] = 0
        found = sorted(
            ((stat.st_mtime, _size(stat.st_size), entry) for entry in _files(folder) if (stat := _stat(entry))),
            key=lambda each: each[0],
        )
        total = sum(size for _, size, _ in found)
        if total <= share:
            return
        for _, size, entry in found:
            if total <= share * _FILL:
                break
            if _remove(entry):
                total -= size


def _check(key: str, content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECK, key=key.encode()).digest()


def _size(length: int) -> int:
    return -(-length // _BLOCK) * _BLOCK


def _files(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [each for each in entries if each.is_file(follow_symlinks=False)]
    except OSError:
        return []


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None


def _remove(entry: os.DirEntry[str]) -> bool:
    """Remove a file, which another process may have removed."""
    try:
        os.unlink(entry.path)  # noqa: PTH108 - an entry's path is text
    except OSError:
        return False
    return True
