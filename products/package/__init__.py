"""What is delivered: the members of a package, and the archive itself."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

from products.progress import Report
from products.whole import whole_file

_CHUNK = 1 << 20
_COMPRESSED = frozenset({".tif"})


def pack(members: Sequence[Path], target: Path, *, report: Report) -> None:
    """Write the files, in their order and without folders, into a ZIP that appears whole and on disk.

    A GeoTIFF is compressed already and stored as it is. The same files with the same times give the same bytes.
    """
    total = sum(member.stat().st_size for member in members) or 1
    done = 0
    with whole_file(target) as part, zipfile.ZipFile(part, "w") as archive:
        for member in members:
            with member.open("rb") as source, archive.open(_entry(member), "w", force_zip64=True) as entry:
                while chunk := source.read(_CHUNK):
                    entry.write(chunk)
                    done += len(chunk)
                    report(done / total, f"Packing {member.name}")


def _entry(member: Path) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo.from_file(member, member.name)
    entry.compress_type = zipfile.ZIP_STORED if member.suffix in _COMPRESSED else zipfile.ZIP_DEFLATED
    return entry
