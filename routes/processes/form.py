"""The form of a process's page: its fields from the inputs' schemas, and the execution that a sent form asks for."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from starlette.requests import Request

from processes.messages import allowed
from routes.accounts.person import session_of
from routes.http.form import CSRF, check_csrf, parse_form
from routes.http.problem import INVALID_PARAMETER, Problem

_MOST_FIELDS = 200
_AREAS = frozenset({"wkt", "geojson-geometry", "ogc-bbox"})
_SIDES = 4


@dataclass(frozen=True, slots=True)
class Field:
    """An input as a field: `kind` is choice, flag, number, text, area, or json for anything else."""

    name: str
    kind: str
    title: str
    description: str
    required: bool
    default: str
    allowed: str
    choices: Mapping[str, Any] = field(default_factory=dict)
    """The values of a choice by how they are written."""
    value: str = ""
    """What the field is filled in with."""


def fields_of(inputs: Mapping[str, Any], given: Mapping[str, Any] = MappingProxyType({})) -> list[Field]:
    """Return the fields of a form for the inputs of a process's description, filled in with the values given."""
    fields = (_field(name, described) for name, described in inputs.items())
    return [replace(each, value=_text(given[each.name])) if each.name in given else each for each in fields]


def _field(name: str, described: Mapping[str, Any]) -> Field:
    schema = described["schema"]
    kind = _kind(schema, several=described.get("maxOccurs", 1) != 1)
    default = schema.get("default")
    return Field(
        name,
        kind,
        described["title"],
        described.get("description", ""),
        required=default is None and described.get("minOccurs", 1) > 0,
        default="" if default is None else default if isinstance(default, str) else json.dumps(default),
        allowed=allowed(schema),
        choices={_text(each): each for each in schema["enum"]} if kind == "choice" else {},
    )


def _kind(schema: Mapping[str, Any], *, several: bool) -> str:
    alternatives = schema.get("oneOf")
    if several:
        return "json"
    if isinstance(alternatives, list) and any(
        isinstance(one, dict) and one.get("format") in _AREAS for one in alternatives
    ):
        return "area"
    if isinstance(schema.get("enum"), list):
        return "choice"
    kinds = {"boolean": "flag", "integer": "number", "number": "number", "string": "text"}
    return kinds.get(str(schema.get("type")), "json")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def execution_of(request: Request, body: bytes, inputs: Mapping[str, Any]) -> bytes:
    """Return the body of the execution, as JSON, that a form asks for; an empty field leaves its input out.

    Call it in a thread. Raises Problem 400; 403 where the form is not of this session, or of another site.
    """
    known = {each.name: each for each in fields_of(inputs)}
    given = parse_form(body, {CSRF, *known}, _MOST_FIELDS)
    check_sender(request, given.pop(CSRF, ""))
    return json.dumps({"inputs": dict(_values(given, known))}).encode()


def check_sender(request: Request, token: str) -> None:
    """Raise the 403 Problem for a form that is not of this session, or that another site makes a browser send."""
    if (session := session_of(request)) is not None:
        check_csrf(session, token)
    if request.headers.get("sec-fetch-site") not in (None, "same-origin", "none"):
        raise Problem(HTTPStatus.FORBIDDEN, "this form is of another site; use the page of this server")


def _values(given: Mapping[str, str], known: Mapping[str, Field]) -> Iterator[tuple[str, Any]]:
    for name, text in given.items():
        if text.strip():
            yield name, _value(known[name], text)


def _value(of: Field, text: str) -> Any:
    if of.kind == "text":
        return text
    if of.kind == "area":
        return _area(of, text.strip())
    if of.kind == "choice":
        if text not in of.choices:
            raise _refused(of.name, f"{text[:80]!r}; allowed: {of.allowed}")
        return of.choices[text]
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(of.name, f"{text[:80]!r}; allowed: {of.allowed}") from error


def _area(of: Field, text: str) -> Any:
    """Return GeoJSON as it is, four numbers as a box, else a text, which is WKT."""
    if text.startswith("{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _refused(of.name, f"this is not JSON; allowed: {of.allowed}") from error
    sides = text.replace(",", " ").split(None, _SIDES)
    try:
        return {"bbox": [float(side) for side in sides]} if len(sides) == _SIDES else text
    except ValueError:
        return text


def _refused(name: str, reason: str) -> Problem:
    detail = f"field {name[:80]!r}: {reason}"
    return Problem(HTTPStatus.BAD_REQUEST, detail, type_=INVALID_PARAMETER, input=name[:80])
