"""The work of pygeoapi's process plugins: calls `execute` as pygeoapi does and stores what it returns."""

import json
import mimetypes
import os
import re
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Lock, Timer
from typing import Any

from pygeoapi.process.base import BaseProcessor, ProcessorExecuteError
from pygeoapi.util import json_serial

from orchestration.child import CALLERS_FAULT
from orchestration.ending import ending_late, write_ending
from orchestration.errors import AttemptOver, WorkFailed
from orchestration.files.document import MAX_INLINE
from orchestration.job import Manifest, Output, decode_manifest, encode_manifest
from orchestration.runners import Failed
from orchestration.work import JobContext, Part, Piece, Work, result_file
from plugins.loading import plugin_class
from products.catalogue import read_configuration
from products.progress import Report

HOOK = "report_progress"
"""The attribute of a plugin that is replaced by a function that reports progress; vanilla pygeoapi ignores it."""
_JSON = "application/json"
_WORD = r"[\w!#$&^.+-]{1,100}"
_MEDIA_TYPE = re.compile(rf'{_WORD}/{_WORD}( ?; ?{_WORD}=("[\w .:+/-]*"|{_WORD})){{0,5}}', re.ASCII)
_LONGEST = 1000
_MOMENT = 0.7
"""Seconds after which the latest progress is reported again."""
_LATE = 1.1
"""The multiple of its time after which a plugin is ended that holds the interpreter, so that no thread can run."""


class PluginFault(Exception):
    """A plugin did what pygeoapi's interface does not allow; the message is for the log."""


def _plan(_context: JobContext) -> Sequence[Part]:
    return [{}]


def _make(_part: Part, context: JobContext) -> Piece:
    with _bounded(context):
        processor = _loaded(context)
        media_type, payload = _returned(processor, context)
        declared = processor.metadata.get("outputs") or {}
        return {"outputs": encode_manifest(_stored(media_type, payload, declared, context))}


def _assemble(pieces: Sequence[Piece], _context: JobContext) -> Manifest:
    (piece,) = pieces
    return decode_manifest(piece["outputs"])


def _loaded(context: JobContext) -> BaseProcessor:
    """Return a new instance of the plugin, as pygeoapi's managers make one for each execution."""
    entry = read_configuration(context.configuration)["resources"][context.order.process]
    definition = dict(entry["processor"])
    processor: BaseProcessor = plugin_class("process", definition["name"])(definition)
    processor.allow_internal_requests = entry.get("allow_internal_requests", False)
    processor.set_job_id(context.job_id)
    if hasattr(processor, HOOK):
        setattr(processor, HOOK, _PluginProgress(context.report))
    return processor


class _PluginProgress:
    """Reports the progress of a plugin, from any of its threads.

    The latest progress is reported once more after a moment, as a report that follows another too soon is dropped.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._lock = Lock()
        self._news = (0.0, "")
        self._timer: Timer | None = None

    def __call__(self, percent: float, message: str = "") -> None:
        """Report it. Raises AttemptOver if the order was dismissed."""
        fraction = min(float(percent), 100.0) / 100 if float(percent) > 0 else 0.0
        with self._lock:
            self._news = (fraction, _in_a_line(message)[:200])
            if self._timer is None:
                self._timer = Timer(_MOMENT, self._again)
                self._timer.daemon = True
                self._timer.start()
            self._report(*self._news)

    def _again(self) -> None:
        with self._lock, suppress(AttemptOver):
            self._timer = None
            self._report(*self._news)


def _returned(processor: BaseProcessor, context: JobContext) -> tuple[str, Any]:
    """Return the media type and the result of the plugin. Raises WorkFailed with its reason, or its error."""
    order = context.order
    more = {"outputs": None if order.outputs is None else dict(order.outputs)} if processor.supports_outputs else {}
    try:
        returned = processor.execute(dict(order.inputs), **more)
    except ProcessorExecuteError as error:
        raise WorkFailed(_reason(error)) from error
    except SystemExit as error:
        raise PluginFault(f"{processor.name} ended its process ({error.code})") from error
    match returned:
        case [None | str() as media_type, payload]:
            return _checked(media_type), payload
        case _:
            raise PluginFault(f"{processor.name} returned {type(returned).__name__}, not a media type and a result")


def _reason(error: ProcessorExecuteError) -> str:
    said = error.user_msg or next((each for each in error.args if each), error.default_msg)
    return _in_a_line(said)[:_LONGEST]


def _in_a_line(text: object) -> str:
    said = " ".join(str(text).encode(errors="replace").decode().split())
    return "".join(each for each in said if each.isprintable())


def _checked(media_type: str | None) -> str:
    """Return the media type if it is fit for a header. Raises WorkFailed: a caller's input may be in it."""
    if media_type is None:
        return _JSON
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise WorkFailed(f"The result has no media type, such as {_JSON}, but {_in_a_line(media_type)[:80]}.")
    return media_type


def _stored(media_type: str, payload: Any, declared: Mapping[str, Any], context: JobContext) -> Manifest:
    """Return the outputs: for `document` an object of declared outputs is split, otherwise there is one output."""
    order = context.order
    if order.response == "document" and isinstance(payload, dict) and payload and payload.keys() <= declared.keys():
        return tuple(_output(name, value, _type_of(declared[name], value), context) for name, value in payload.items())
    return (_output(next(iter(order.outputs or declared), "result"), payload, media_type, context),)


def _type_of(described: Any, value: Any) -> str:
    """Return the media type that the description gives to text or bytes; any other value is JSON."""
    if not isinstance(value, str | bytes | bytearray | memoryview):
        return _JSON
    schema = described.get("schema") if isinstance(described, Mapping) else None
    said = schema.get("contentMediaType") if isinstance(schema, Mapping) else None
    usual = "text/plain" if isinstance(value, str) else "application/octet-stream"
    return said if isinstance(said, str) and _MEDIA_TYPE.fullmatch(said) else usual


def _output(name: str, value: Any, media_type: str, context: JobContext) -> Output:
    """Store a small value as a value, bytes and large values as a file."""
    is_json = media_type.partition(";")[0].strip().endswith("json")
    value = _as_text(value, is_json=is_json)
    if isinstance(value, bytes):
        return _file(name, value, media_type, context)
    content = value.encode(errors="replace") if isinstance(value, str) and not is_json else _as_json(value)
    if len(content) > MAX_INLINE:
        return _file(name, content, media_type, context)
    plain = isinstance(value, str) and not is_json
    return Output(name, content.decode() if plain else json.loads(content, parse_constant=_no_number), media_type)


def _as_text(value: Any, *, is_json: bool) -> Any:
    """Return bytes that are text as text, as pygeoapi does; other bytes unchanged."""
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    if isinstance(value, bytes) and (is_json or (len(value) <= MAX_INLINE and value.isascii())):
        return value.decode(errors="replace")
    return value


def _as_json(value: Any) -> bytes:
    """Return the value as JSON, as pygeoapi writes it; NaN and infinity, which JSON does not have, are null."""
    text = json.dumps(value, default=json_serial, ensure_ascii=False)
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(json.loads(text, parse_constant=_no_number), ensure_ascii=False)
    return text.encode(errors="replace")


def _no_number(_constant: str) -> None:
    return None


def _file(name: str, content: bytes, media_type: str, context: JobContext) -> Output:
    suffix = mimetypes.guess_extension(media_type.partition(";")[0].strip()) or ".bin"
    safe = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip(".")[:80] or "result"
    path = context.folder / f"{safe}_{context.job_id}{suffix}"
    path.write_bytes(content)
    return Output(name, None, media_type, result_file(path, context, media_type=media_type))


@contextmanager
def _bounded(context: JobContext) -> Iterator[None]:
    """Limit memory and time to those of the process's row.

    A thread fails the order when its time is over; if no thread can run, the process is ended a little later.
    """
    row = context.process
    if row.memory is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = row.memory if hard == resource.RLIM_INFINITY else min(row.memory, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    if row.seconds is None:
        yield
        return
    reason = f"The work took more than {row.seconds:g} s, which is all that it is given."
    late = Failed(reason, fault=WorkFailed.__name__)
    timer = Timer(row.seconds, _give_up, (context, late))
    timer.daemon = True
    timer.start()
    try:
        with ending_late(context.folder, row.seconds * _LATE + 1, late):
            yield
    finally:
        timer.cancel()


def _give_up(context: JobContext, late: Failed) -> None:
    write_ending(context.folder, late)
    os._exit(CALLERS_FAULT)


WORK = Work(_plan, _make, _assemble)
