"""Unpack an archive into an empty folder, and verify every file against the manifest."""

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj

from pydantic import ValidationError

from products.progress import Report
from products.whole import make_durable, private_file
from server.backup.contents import (
    ABOUT,
    ABOUT_JSON,
    DATABASE,
    MANIFEST,
    MANIFEST_JSON,
    About,
    ArchivedFile,
    NotRestorable,
    is_name,
    refuse_foreign,
)
from server.backup.take import ByteProgress, HashedReader, refuse_full
from sql.connect import SCHEMA_VERSION

_LONGEST_ABOUT = 100_000
_LONGEST_MANIFEST = 1 << 28
_BUFFER = 1 << 20


def read_about(archive: Path) -> About:
    """Return the archive's metadata. Raises NotRestorable, OSError."""
    with _members(archive) as (tar, members):
        return _about(tar, members)


def unpack(archive: Path, folder: Path, report: Report) -> About:
    """Write the files of the archive below the folder, durably. Raises NotRestorable, OSError.

    Each is a regular file at an allowed path, with the size and checksum of the manifest.
    """
    with _members(archive) as (tar, members):
        about = _about(tar, members)
        refuse_full(folder, about.size)
        meter = ByteProgress(report, about.size, "reading the backup")
        found: dict[str, tuple[int, str]] = {}
        for member in members:
            if member.name == MANIFEST:
                manifest = MANIFEST_JSON.validate_json(_text(tar, member, _LONGEST_MANIFEST))
                _compare(found, manifest)
                _refuse_more(members)
                _settle(manifest, folder)
                return about
            found[member.name] = _unpack_one(tar, member, folder, meter)
    raise NotRestorable(f"{archive}: is truncated")


@contextmanager
def _members(archive: Path) -> Iterator[tuple[tarfile.TarFile, Iterator[tarfile.TarInfo]]]:
    """Yield the tar and its members; any damage is raised as NotRestorable."""
    try:
        with tarfile.open(archive, "r:") as tar:
            yield tar, iter(tar)
    except NotRestorable as error:
        raise NotRestorable(f"{archive}: {error}") from error
    except ValidationError as error:
        raise NotRestorable(f"{archive}: is not a backup of this program, or is damaged") from error
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise NotRestorable(f"{archive}: is not a backup, or is damaged or truncated: {error}") from error


def _about(tar: tarfile.TarFile, members: Iterator[tarfile.TarInfo]) -> About:
    first = next(members, None)
    if first is None or first.name != ABOUT:
        raise NotRestorable("is not a backup of this program")
    about = ABOUT_JSON.validate_json(_text(tar, first, _LONGEST_ABOUT))
    refuse_foreign(about, SCHEMA_VERSION)
    return about


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo, longest: int) -> bytes:
    if member.size > longest:
        raise NotRestorable(f"{member.name} is too long")
    return _stream(tar, member).read()


def _stream(tar: tarfile.TarFile, member: tarfile.TarInfo) -> tarfile.ExFileObject:
    stream = tar.extractfile(member) if member.type == tarfile.REGTYPE and not member.issparse() else None
    if stream is None:
        raise NotRestorable(f"{member.name!r} is not a regular file")
    return stream  # type: ignore[return-value] # typeshed says IO[bytes]


def _unpack_one(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, meter: ByteProgress) -> tuple[int, str]:
    """Write one file; return its size and checksum."""
    if not is_name(member.name):
        raise NotRestorable(f"{member.name!r} does not belong in a backup")
    tarfile.data_filter(member, str(folder))
    measured = HashedReader(_stream(tar, member), meter)
    path = folder / member.name
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with private_file(path) as target:
            copyfileobj(measured, target, _BUFFER)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise NotRestorable(f"{member.name!r} occurs twice") from error
    return measured.size, measured.sha256


def _compare(found: dict[str, tuple[int, str]], manifest: tuple[ArchivedFile, ...]) -> None:
    listed = {entry.name: entry for entry in manifest}
    for name in found.keys() ^ listed.keys():
        raise NotRestorable(f"{name!r} is missing in the archive or in its manifest")
    for name, entry in listed.items():
        if found[name] != (entry.size, entry.sha256):
            raise NotRestorable(f"{name!r} is damaged: its size or checksum differs from the manifest")
    if DATABASE not in found:
        raise NotRestorable(f"{DATABASE} is missing")


def _refuse_more(members: Iterator[tarfile.TarInfo]) -> None:
    if next(members, None) is not None:
        raise NotRestorable("has data after its end")


def _settle(manifest: tuple[ArchivedFile, ...], folder: Path) -> None:
    """Restore the modification times, which records of prebuilt files compare, and sync everything to disk."""
    for entry in manifest:
        path = folder / entry.name
        os.utime(path, ns=(entry.modified, entry.modified))
        make_durable(path)
    for parent in {parent for entry in manifest for parent in (folder / entry.name).parents}:
        if parent.is_relative_to(folder):
            make_durable(parent)
