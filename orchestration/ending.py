"""The last act of a try: its result or its failure as one file, complete or not there."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestration import manifest
from orchestration.runners import Done, Failed
from products.whole import make_durable

_DONE = "manifest.json"
_FAILED = "failure.json"
_PLACES = ("*", "*/*")
_LEVELS = 4
"""The try's folder, the attempt's, the job's and that of all results: the names in them are made durable."""


def write_ending(folder: Path, ending: Done | Failed, *, names_durable: bool = True) -> None:
    """Write the ending durably; nobody reads half of it. Raises ValueError where a value is not JSON.

    Where the names on the way to it need not be durable it may be lost with the power, whole: who makes the attempt
    again then saves most of the time that a small result takes.
    """
    levels = _LEVELS if names_durable else 0
    if isinstance(ending, Done):
        _write(folder / _DONE, manifest.encode(ending.manifest), levels=levels)
    else:
        _write(folder / _FAILED, json.dumps(asdict(ending)), levels=levels)


def read_ending(folder: Path) -> Done | Failed | None:
    """Return how the try in the folder ended, None while or where it did not; what cannot be read is a failure."""
    try:
        return _read_ending(folder)
    except (ValueError, TypeError, AttributeError) as error:
        return Failed("The work's result cannot be read.", f"{folder}: {error!r}")


def find_ending(folder: Path) -> Done | Failed | None:
    """Return how the attempt in the folder ended, whichever of its tries wrote it, in whatever folder of the try.

    A result wins over a failure, as a later try may have made what an earlier one could not.
    """
    endings = [found for place in _places(folder) if (found := read_ending(place))]
    return next((each for each in endings if isinstance(each, Done)), endings[0] if endings else None)


def _places(folder: Path) -> list[Path]:
    """Return the folders that an ending may lie in, those of the last try first."""
    found = [path for pattern in _PLACES for path in folder.glob(pattern) if path.is_dir()]
    return [folder, *sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)]


def _read_ending(folder: Path) -> Done | Failed | None:
    if (text := _read(folder / _DONE)) is not None:
        return Done(manifest.decode(text))
    if (text := _read(folder / _FAILED)) is not None:
        return Failed(**{name: _printable(value) for name, value in json.loads(text).items()})
    return None


def _write(path: Path, text: str, *, levels: int) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    make_durable(draft)
    draft.replace(path)
    for folder in path.parents[:levels]:
        make_durable(folder)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _printable(text: Any) -> str:
    return str(text).encode(errors="replace").decode()
