"""The ending of a try: its result or failure in one file that is written atomically."""

import faulthandler
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from orchestration.job import decode_manifest, encode_manifest
from orchestration.runners import Done, Failed
from products.whole import make_durable

_DONE = "manifest.json"
_FAILED = "failure.json"
_LATE, _TRACE = "late.json", "late.trace"
_LONGEST_TRACE = 20_000
_PLACES = ("*", "*/*")
_LEVELS = 4
"""The try's folder, the attempt's, the job's and that of all results: the names in them are made durable."""


def write_ending(folder: Path, ending: Done | Failed, *, durable: bool = True) -> None:
    """Write the ending atomically. Raises ValueError if a value is not JSON.

    One that is not `durable` outlives every process, but may be lost with the power, as nobody has waited for the disk:
    it is for an attempt that is made again then.
    """
    if isinstance(ending, Done):
        _write(folder / _DONE, encode_manifest(ending.manifest), durable=durable)
    else:
        _write(folder / _FAILED, json.dumps(asdict(ending)), durable=durable)


def read_ending(folder: Path) -> Done | Failed | None:
    """Return how the try in the folder ended, None while or where it did not; what cannot be read is a failure.

    A file that is empty or not whole was left by a loss of power, before the disk had it: no ending.
    """
    try:
        return _read_ending(folder)
    except (JSONDecodeError, UnicodeDecodeError):
        return None
    except (ValueError, TypeError, AttributeError) as error:
        return Failed("The work's result cannot be read.", f"{folder}: {error!r}")


@contextmanager
def ending_late(folder: Path, seconds: float, ending: Failed) -> Iterator[None]:
    """End this process after so many seconds inside, with an ending for its folder, also where no thread can run.

    The C library's thread of faulthandler ends it, which needs no interpreter: it can write where every thread is, and
    nothing else, so what that means is written before.
    """
    (folder / _LATE).write_text(json.dumps(asdict(ending)))
    with (folder / _TRACE).open("w") as trace:
        faulthandler.dump_traceback_later(seconds, exit=True, file=trace)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    (folder / _TRACE).unlink()
    (folder / _LATE).unlink()


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
        return Done(decode_manifest(text))
    if (text := _read(folder / _FAILED)) is not None:
        return _failed(text)
    if trace := _read(folder / _TRACE):
        return replace(_failed(_read(folder / _LATE) or "{}"), detail=_printable(trace[:_LONGEST_TRACE]))
    return None


def _failed(text: str) -> Failed:
    return Failed(**{name: _printable(value) for name, value in json.loads(text).items()})


def _write(path: Path, text: str, *, durable: bool) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    if durable:
        make_durable(draft)
    draft.replace(path)
    for folder in path.parents[: _LEVELS if durable else 0]:
        make_durable(folder)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _printable(text: Any) -> str:
    return str(text).replace("\0", "?").encode(errors="replace").decode()
