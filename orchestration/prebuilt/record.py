"""Records of prebuilt files: a file is complete once its record exists beside it."""

import json
from dataclasses import asdict
from pathlib import Path

from orchestration.job import ResultFile
from products.whole import whole_file

PREBUILT_FOLDER = "house"
"""The folder of prebuilt files in the results folder; the name differs from any job id."""


def write_record(path: Path, file: ResultFile) -> None:
    """Record durably that the file is complete, with its modification time."""
    with whole_file(record_of(path)) as part:
        part.write_text(json.dumps({**asdict(file), "modified": path.stat().st_mtime_ns}))


def recorded_file(path: Path) -> ResultFile | None:
    """Return the complete file at the path, or None if it is missing or was changed since."""
    try:
        record = json.loads(record_of(path).read_text())
        status = path.stat()
        unchanged = (status.st_size, status.st_mtime_ns) == (record["size"], record.pop("modified"))
        return ResultFile(**record) if unchanged else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def record_of(path: Path) -> Path:
    """Return the path of a file's record."""
    return path.with_name(f"{path.name}.json")
