"""A prebuilt file is complete once its record lies beside it."""

import json
from dataclasses import asdict
from pathlib import Path

from orchestration.job import ResultFile
from products.whole import whole_file

PREBUILT_FOLDER = "house"
"""The folder of the prebuilt files below that of results; no job's id can be its name."""


def write_record(path: Path, file: ResultFile) -> None:
    """Say durably that the file at the path is complete, and how old it is."""
    with whole_file(record_of(path)) as part:
        part.write_text(json.dumps({**asdict(file), "modified": path.stat().st_mtime_ns}))


def recorded_file(path: Path) -> ResultFile | None:
    """Return the complete file at the path, None where it is not there or was changed since."""
    try:
        record = json.loads(record_of(path).read_text())
        status = path.stat()
        unchanged = (status.st_size, status.st_mtime_ns) == (record["size"], record.pop("modified"))
        return ResultFile(**record) if unchanged else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def record_of(path: Path) -> Path:
    """Return where the record of the file at the path lies."""
    return path.with_name(f"{path.name}.json")
