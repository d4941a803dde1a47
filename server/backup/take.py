"""Take a backup: a consistent copy of the orders, then the files that they name, in a tar written atomically."""

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from orchestration.store.database import unavailable
from products.progress import Report
from products.whole import private_file, whole_file
from server.backup.contents import (
    ABOUT,
    ABOUT_JSON,
    DATABASE,
    FORMAT,
    MANIFEST,
    MANIFEST_JSON,
    STORE,
    About,
    ArchivedFile,
    Parts,
)
from server.backup.members import StatePaths, members_of
from server.state import in_use
from sql.connect import SCHEMA_VERSION, copy_database
from sql.move import save
from sql.pool import PostgresPool

_MODE = 0o600
_OVERHEAD = 2048
"""Approximate bytes that tar and manifest add for a file."""


@dataclass(frozen=True, slots=True)
class BackupTaken:
    """A backup: its number of files, their size, and how many files that the orders name no longer existed."""

    files: int
    size: int
    gone: int


@dataclass(slots=True)
class ByteProgress:
    """Reports progress by bytes; the actual total may differ from the expected one."""

    report: Report
    expected: int
    message: str
    _done: int = field(default=0, init=False)

    def count(self, more: int) -> None:
        """Report that this many more bytes are done."""
        self._done += more
        self.report(min(1.0, self._done / max(1, self.expected)), self.message)


class HashedReader:
    """A readable stream that computes the SHA-256 and size of the data read."""

    def __init__(self, stream: IO[bytes], meter: ByteProgress) -> None:
        self._stream = stream
        self._meter = meter
        self._digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        chunk = self._stream.read(size)
        self._digest.update(chunk)
        self.size += len(chunk)
        self._meter.count(len(chunk))
        return chunk

    @property
    def sha256(self) -> str:
        """The SHA-256 of the data read, in hexadecimal."""
        return self._digest.hexdigest()


def take_backup(
    paths: StatePaths, target: Path, parts: Parts, report: Report, database: PostgresPool | None = None
) -> BackupTaken:
    """Write a backup while servers and workers run; the orders are in the state folder or in the `database`.

    In the backup they are a SQLite database in both cases. Raises OSError, StoreUnavailable, StateBusy.
    """
    if target.exists():
        raise FileExistsError(f"{target}: exists already")
    if database is None and not (paths.state / DATABASE).exists():
        raise FileNotFoundError(
            f"{paths.state / DATABASE} does not exist: no orders yet, or a wrong LANDCAST_STATE_DIR"
        )
    folder = target.absolute().parent
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder; create it first, writable by the user that runs this")
    with in_use(paths.state), TemporaryDirectory(dir=folder, prefix=f".{target.name}.") as draft:
        snapshot = Path(draft) / DATABASE
        with unavailable():
            _take_orders(paths, snapshot, database)
        members = members_of(paths, snapshot, parts)
        size = sum(path.stat().st_size for path in members.values() if path.is_file())
        refuse_full(folder, size + _OVERHEAD * len(members))
        about = About(FORMAT, version("landcast"), STORE, SCHEMA_VERSION, datetime.now(UTC), size)
        with whole_file(target.absolute()) as part, private_file(part) as stream:
            entries = _write(stream, about, members, report)
    return BackupTaken(len(entries), sum(entry.size for entry in entries), len(members) - len(entries))


def _take_orders(paths: StatePaths, snapshot: Path, database: PostgresPool | None) -> None:
    """Copy a consistent snapshot of the orders."""
    if database is None:
        copy_database(paths.state / DATABASE, snapshot)
        return
    database.prepare()
    with database.reading() as connection:
        save(connection, snapshot)


def refuse_full(folder: Path, size: int) -> None:
    """Raise OSError if the folder's disk has less free space than `size` bytes."""
    if (free := shutil.disk_usage(folder).free) < size:
        raise OSError(f"{folder}: needs {size:,} bytes, {free:,} are free")


def _write(stream: IO[bytes], about: About, members: Mapping[str, Path], report: Report) -> tuple[ArchivedFile, ...]:
    meter = ByteProgress(report, about.size, "writing the backup")
    with tarfile.open(fileobj=stream, mode="w:", format=tarfile.PAX_FORMAT) as tar:
        _add_text(tar, ABOUT, ABOUT_JSON.dump_json(about))
        entries = tuple(_added(tar, members, meter))
        _add_text(tar, MANIFEST, MANIFEST_JSON.dump_json(entries))
    return entries


def _add_text(tar: tarfile.TarFile, name: str, text: bytes) -> None:
    tar.addfile(_info(name, len(text)), io.BytesIO(text))


def _added(tar: tarfile.TarFile, members: Mapping[str, Path], meter: ByteProgress) -> Iterator[ArchivedFile]:
    """Add the files, except those removed meanwhile, such as expired results."""
    for name, path in members.items():
        try:
            file = path.open("rb")
        except FileNotFoundError:
            continue
        with file:
            status = os.fstat(file.fileno())
            measured = HashedReader(file, meter)
            tar.addfile(_info(name, status.st_size), measured)
            yield ArchivedFile(name, status.st_size, measured.sha256, status.st_mtime_ns)


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, _MODE
    return info
