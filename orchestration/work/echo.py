"""Return every input as the output of its name, after a pause."""

import json
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from orchestration.errors import WorkFailed
from orchestration.job import Manifest, Output
from orchestration.work import JobContext, Part, Piece, Work

if TYPE_CHECKING:
    from orchestration.net.fetch import Fetched

_DOCUMENTS = frozenset({"complexObjectInput", "geometryInput", "featureCollectionInput"})
_IMAGES = "imagesInput"
_LINK = frozenset({"href", "rel", "type", "hreflang", "title"})


def _plan(context: JobContext) -> Sequence[Part]:
    return [{"input": name, "value": value} for name, value in context.order.inputs.items()]


def _make(part: Part, context: JobContext) -> Piece:
    name, value = part["input"], part["value"]
    if name == "pause":
        _pause(float(value), context)
        return {}
    output = {"id": name.replace("Input", "Output")}
    if name == _IMAGES:
        images = value if isinstance(value, list) else [value]
        return output | {"value": [_image(image, context) for image in images]}
    if name in _DOCUMENTS and _is_reference(value):
        return output | {"value": _document(context.fetch(value["href"]))}
    return output | {"value": value}


def _pause(seconds: float, context: JobContext) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        context.report(1 - left / seconds, "pausing")
        time.sleep(min(left, 0.2))


def _is_reference(value: Any) -> bool:
    """Return whether it is a link (18-062r2, link.yaml), not an object with an `href` among other members."""
    return isinstance(value, Mapping) and isinstance(value.get("href"), str) and value.keys() <= _LINK


def _image(value: Any, context: JobContext) -> Any:
    if not _is_reference(value):
        return value
    image = context.fetch(value["href"])
    return {"value": b64encode(image.body).decode(), "encoding": "base64", "mediaType": image.media_type}


def _document(fetched: "Fetched") -> Any:
    """Return the fetched document: JSON as its value, other text as a string."""
    try:
        text = fetched.body.decode()
    except UnicodeDecodeError as error:
        raise WorkFailed(f"{fetched.url}: not text in UTF-8") from error
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return text


def _no_json(constant: str) -> NoReturn:
    raise ValueError(constant)


def _assemble(pieces: Sequence[Piece], _context: JobContext) -> Manifest:
    return tuple(Output(**piece) for piece in pieces if piece)


WORK = Work(_plan, _make, _assemble)
