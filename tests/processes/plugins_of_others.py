"""Process plugins as third parties write them, after pygeoapi's documentation, and some with faults."""

import csv
import ctypes
import io
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

from pygeoapi.process.base import BaseProcessor, ProcessorExecuteError

from processes.base import Processor
from processes.echo import Echo

SURVEY: dict[str, Any] = {
    "title": {"en": "Survey", "fr": "Relevé"},
    "inputs": {
        "rows": {"title": "Rows", "schema": {"type": "integer", "minimum": 0}},
        "pause": {"title": "Pause", "schema": {"type": "number"}, "minOccurs": 0},
        "mark": {"schema": {"type": "text"}},
        "near": {"schema": {"$ref": "http://schemas.example.org/never/fetched.yaml"}, "maxOccurs": "unbounded"},
    },
    "outputs": {"table": {"schema": {"type": "string", "contentMediaType": "text/csv"}}},
}


class Survey(BaseProcessor):
    """Make a table, after a pause; with few metadata, as in pygeoapi's documentation."""

    def __init__(self, processor_def: dict[str, Any]) -> None:
        super().__init__(processor_def, SURVEY)
        self._job = ""

    def set_job_id(self, job_id: str) -> None:
        """Store it."""
        self._job = job_id

    def execute(self, data: dict[str, Any]) -> tuple[str, Any]:  # type: ignore[override] # as is documented
        """Return a CSV; record the try in a file that the caller names, for the test."""
        if "mark" in data:
            with Path(data["mark"]).open("a") as file:
                file.write(f"{os.getpid()} {self._job}\n")
        time.sleep(data.get("pause", 0))
        if "rows" not in data:
            raise ProcessorExecuteError("Cannot survey without\na number of rows")
        out = io.StringIO()
        csv.writer(out).writerows([["number", "name"], *([number, f"ä{number}"] for number in range(data["rows"]))])
        return "text/csv", out.getvalue().encode()


class Odd(BaseProcessor):
    """Return a value or fail, depending on the input `what`."""

    def __init__(self, processor_def: dict[str, Any]) -> None:
        outputs = {"one": {"title": "One"}, "two": {"schema": {"contentMediaType": "image/png"}}}
        super().__init__(processor_def, {"title": "Odd", "outputs": outputs, "inputs": None})
        self.supports_outputs = True

    def report_progress(self, percent: float, message: str = "") -> None:
        """Landcast replaces this function."""

    def execute(self, data: dict[str, Any], outputs: Any = None) -> tuple[Any, Any]:
        """Do what the inputs ask."""
        return getattr(self, f"_{data['what']}")(data, outputs)  # type: ignore[no-any-return] # whatever it is

    def _value(self, data: dict[str, Any], _outputs: Any) -> tuple[Any, Any]:
        return data.get("media_type", "application/json"), data["value"]

    def _given(self, data: dict[str, Any], outputs: Any) -> tuple[str, Any]:
        return "application/json", {"data": data, "outputs": outputs}

    def _both(self, _data: dict[str, Any], _outputs: Any) -> tuple[str, Any]:
        return "application/json", {"one": float("nan"), "two": b"\x89PNG"}

    def _large(self, _data: dict[str, Any], _outputs: Any) -> tuple[str, Any]:
        return "application/geo+json", {"features": ["ü" * 1000] * 2000}

    def _progress(self, _data: dict[str, Any], _outputs: Any) -> tuple[str, Any]:
        tell = Thread(target=self.report_progress, args=(50, "half\x00 of it"))
        tell.start()
        tell.join()
        time.sleep(3)
        return "text/plain", "done"

    def _secret(self, _data: dict[str, Any], _outputs: Any) -> tuple[str, Any]:
        raise ZeroDivisionError("hidden detail")

    def _leave(self, _data: dict[str, Any], _outputs: Any) -> tuple[str, Any]:
        sys.exit(0)

    def _three(self, _data: dict[str, Any], _outputs: Any) -> Any:
        return "text/plain"

    def _hungry(self, _data: dict[str, Any], _outputs: Any) -> tuple[str, Any]:
        return "text/plain", str(len(bytearray(3 * 1024**3)))

    def _sized(self, data: dict[str, Any], _outputs: Any) -> tuple[str, Any]:
        return "text/plain", str(len(bytearray(data["bytes"])))

    def _holding(self, _data: dict[str, Any], _outputs: Any) -> tuple[str, Any]:
        """Block the interpreter, like a slow extension or regular expression."""
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        ctypes.PyDLL(None).sleep(600)
        return "text/plain", "never"

    def _slow(self, _data: dict[str, Any], _outputs: Any) -> tuple[str, Any]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(120)
        return "text/plain", "never"


class Undescribed(BaseProcessor):
    """Has invalid metadata."""

    def __init__(self, processor_def: dict[str, Any]) -> None:
        super().__init__(processor_def, None)  # type: ignore[arg-type] # which is what is wrong


class Raising(BaseProcessor):
    """Raises when it is created."""

    def __init__(self, processor_def: dict[str, Any]) -> None:
        super().__init__(processor_def, {})
        raise KeyError("no key")


class Short(Processor):
    """Is a subclass of ours, with an input without a schema."""

    work = "orchestration.work.echo"
    description: ClassVar[Mapping[str, Any]] = {**Echo.description, "inputs": {"a": {"title": "A"}}}


class Shorter(Processor):
    """Has no version."""

    description: ClassVar[Mapping[str, Any]] = {"id": "shorter", "inputs": {}, "jobControlOptions": []}


class Workless(Echo):
    """Names a work that does not exist."""

    work = "no.such.work"


class Leaving(BaseProcessor):
    """Ends the process that creates it."""

    def __init__(self, processor_def: dict[str, Any]) -> None:
        del processor_def
        sys.exit("bye")


class NoProcessor:
    """Is not a processor."""
