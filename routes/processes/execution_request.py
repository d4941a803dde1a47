"""The body of an execution (18-062r2, execute.yaml), read and checked."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from auth.identity import ANONYMOUS, Identity
from orchestration.job import Order
from processes.base import Processor
from processes.errors import InvalidInput
from processes.inputs import check_handed_over
from processes.words import shown
from products.catalogue import Catalogue
from routes.http.body import parse_object
from routes.http.problem import INVALID_PARAMETER, Problem
from routes.processes.subscribers import callbacks_of

_MEMBERS = ("inputs", "outputs", "response", "subscriber")
_RESPONSES = ("raw", "document")
_MODES = ("value", "reference")
_KEY = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class Execution:
    """The body of an execution as JSON. Raises the 400 Problem where it is none."""

    body: bytes
    document: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "document", parse_object(self.body))

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The inputs by name, not checked, those that are qualified (`{"value": …}`) by their value."""
        inputs = _member(self.document, "inputs")
        return {
            name: value["value"] if isinstance(value, dict) and "value" in value else value
            for name, value in inputs.items()
        }


def read_order(
    execution: Execution, processor: Processor, *, catalogue: Catalogue, identity: Identity, key: str | None
) -> Order:
    """Return the order that an execution asks for, checked down to the area. Raises the 400 Problem; BrokenSource."""
    document, body = execution.document, execution.body
    _check_members(document)
    outputs = _member(document, "outputs")
    _check_outputs(processor, outputs)
    notices = callbacks_of(document)
    process = str(processor.metadata["id"])
    return Order(
        process=process,
        inputs=_inputs(processor, _member(document, "inputs"), catalogue),
        owner=identity.owner,
        outputs=outputs or None,
        response=document.get("response", "raw"),
        email=identity.email,
        idempotency_key=_checked_key(key, identity),
        request_hash=hashlib.sha256(process.encode() + b"\n" + body).hexdigest(),
        notices=notices,
    )


def _inputs(processor: Processor, inputs: Mapping[str, Any], catalogue: Catalogue) -> Mapping[str, Any]:
    try:
        checked = processor.check(inputs, catalogue)
        if processor.hands_over:
            check_handed_over(checked)
    except InvalidInput as error:
        raise Problem(HTTPStatus.BAD_REQUEST, error.message, type_=INVALID_PARAMETER, input=error.input) from error
    return checked


def _refused(name: str, value: object, allowed: str) -> Problem:
    return Problem(
        HTTPStatus.BAD_REQUEST, f"{name}: {shown(value)}; allowed: {allowed}", type_=INVALID_PARAMETER, parameter=name
    )


def _check_members(document: Mapping[str, Any]) -> None:
    unknown = next((name for name in document if name not in _MEMBERS), None)
    if unknown is not None:
        raise _refused(shown(unknown), document[unknown], f"the members {', '.join(_MEMBERS)}")
    if document.get("response", "raw") not in _RESPONSES:
        raise _refused("response", document["response"], " or ".join(_RESPONSES))


def _member(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise _refused(name, value, f"an object of {name} by their id")
    return value


def _check_outputs(processor: Processor, outputs: Mapping[str, Any]) -> None:
    described = processor.metadata["outputs"]
    for name, output in outputs.items():
        if name not in described:
            raise _refused(f"outputs.{shown(name)}", output, ", ".join(described))
        if not isinstance(output, dict) or not output.keys() <= {"transmissionMode", "format"}:
            raise _refused(f"outputs.{name}", output, "an object with transmissionMode, format")
        if output.get("transmissionMode", "value") not in _MODES:
            raise _refused(f"outputs.{name}.transmissionMode", output["transmissionMode"], " or ".join(_MODES))
        _check_format(name, described[name]["schema"], output.get("format", {}))


def _check_format(name: str, schema: Mapping[str, Any], asked: Any) -> None:
    formats = formats_of(schema)
    if not isinstance(asked, dict) or not any(_is_of(asked, each) for each in formats):
        raise _refused(f"outputs.{name}.format", asked, " or ".join(map(shown, formats)))


def _is_of(asked: Mapping[str, Any], there_is: Mapping[str, str]) -> bool:
    return all(there_is.get(member) == value for member, value in asked.items())


def _checked_key(key: str | None, identity: Identity) -> str | None:
    """Return the key; callers who are not known share one owner, whose keys would lead to each other's jobs."""
    if key is not None and identity.method == ANONYMOUS.method:
        raise _refused("Idempotency-Key", key, "none without a login")
    if key is not None and not _KEY.fullmatch(key):
        raise _refused("Idempotency-Key", key, "1 to 255 visible ASCII characters")
    return key


def formats_of(schema: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
    """Return the formats that the schema of an output describes, its default first: media type, encoding of a file."""
    formats = []
    alternatives = schema.get("oneOf")
    for alternative in alternatives if isinstance(alternatives, list) else [schema]:
        said = alternative.get("contentMediaType") if isinstance(alternative, Mapping) else None
        described = {"mediaType": said if isinstance(said, str) else "application/json"}
        if isinstance(alternative, Mapping) and alternative.get("format") == "binary":
            described["encoding"] = "base64"
        if described not in formats:
            formats.append(described)
    return formats
