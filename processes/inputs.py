"""The inputs of an execution, checked against the description of its process (18-062r2, 7.11.2.4)."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker

from processes.errors import InvalidInput
from processes.words import allowed, shown

FORMATS = FormatChecker(())
_MOST_HANDED_OVER = 200_000
_QUALIFIED = frozenset({"value", "mediaType", "encoding", "schema", "format"})
_LINK = frozenset({"href", "rel", "type", "hreflang", "title", "format"})
_QUALIFIERS = ("mediaType", "encoding", "schema")

Descriptions = Mapping[str, Mapping[str, Any]]


def check_inputs(descriptions: Descriptions, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs with defaults filled in and qualified values (`{"value": …}`) replaced by their value.

    A binary value (`format: byte`) keeps its media type, a reference stays one, and an input that may occur more
    than once is an array. Raises InvalidInput, which names the input, the value and what is allowed.
    """
    for name in inputs:
        if name not in descriptions:
            raise InvalidInput(name, f"input {shown(name)} is unknown; allowed: {', '.join(descriptions)}")
    return dict(_checked(descriptions, inputs))


def check_handed_over(inputs: Mapping[str, Any]) -> None:
    """Refuse inputs that Airflow cannot take with a run, which its tasks and pages read whole. Raises InvalidInput."""
    for name, value in inputs.items():
        if "\\u0000" in json.dumps({name: value}):
            raise InvalidInput(name, f"input {shown(name)}: a text in it has a NUL; allowed: texts without")
    if (size := len(json.dumps(inputs))) > _MOST_HANDED_OVER:
        largest = max(inputs, key=lambda each: len(json.dumps(inputs[each])))
        told = f"the inputs are {size:,} bytes as JSON; allowed: at most {_MOST_HANDED_OVER:,}"
        raise InvalidInput(largest, told)


def _checked(descriptions: Descriptions, inputs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, description in descriptions.items():
        if name in inputs:
            yield name, _occurrences(name, description, inputs[name])
        elif "default" in description["schema"]:
            yield name, description["schema"]["default"]
        elif description.get("minOccurs", 1):
            raise InvalidInput(name, f"input '{name}' is missing; allowed: {allowed(description['schema'])}")


def _occurrences(name: str, description: Mapping[str, Any], value: Any) -> Any:
    """Check one value, or each of an array where the input may occur more than once."""
    most = description.get("maxOccurs", 1)
    if most == 1:
        return _value(name, description, value)
    values = value if isinstance(value, list) else [value]
    least = max(1, description.get("minOccurs", 1))
    if not least <= len(values) <= most:
        raise InvalidInput(name, f"input '{name}' occurs {len(values)} times; allowed: {least} to {most}")
    return [_value(f"{name}[{index}]", description, item) for index, item in enumerate(values)]


def _value(name: str, description: Mapping[str, Any], value: Any) -> Any:
    schema = description["schema"]
    if is_reference(value):
        return _reference(name, description, value)
    if not is_qualified(value):
        _validate(name, schema, value)
        return value
    qualified = _unfolded(name, value)
    _check_qualifiers(name, qualified)
    _validate(name, schema, qualified["value"])
    return qualified if schema.get("format") == "byte" else qualified["value"]


def is_qualified(value: Any) -> bool:
    """Say whether it is a value with its media type, encoding or schema."""
    return isinstance(value, dict) and "value" in value and value.keys() <= _QUALIFIED


def _unfolded(name: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a value or link with the members of its `format`, where drafts of the standard had them, beside it."""
    if "format" not in value:
        return value
    format_ = value["format"]
    if not isinstance(format_, dict) or not format_.keys() <= set(_QUALIFIERS):
        raise InvalidInput(name, f"input '{name}.format': {shown(format_)}; allowed: {', '.join(_QUALIFIERS)}")
    return {**format_, **{member: given for member, given in value.items() if member != "format"}}


def _check_qualifiers(name: str, value: Mapping[str, Any]) -> None:
    for member in ("mediaType", "encoding"):
        if not isinstance(value.get(member, ""), str):
            raise InvalidInput(name, f"input '{name}.{member}': {shown(value[member])}; allowed: a string")


def is_reference(value: Any) -> bool:
    """Say whether it is a link to a value."""
    return isinstance(value, dict) and "href" in value and value.keys() <= _LINK


def _reference(name: str, description: Mapping[str, Any], link: Mapping[str, Any]) -> Mapping[str, Any]:
    if "byReference" not in description.get("valuePassing", ()):
        raise InvalidInput(name, f"input '{name}': {shown(link)} is a reference; allowed: a value, in the request")
    unfolded = {"type" if each == "mediaType" else each: given for each, given in _unfolded(name, link).items()}
    link = {member: given for member, given in unfolded.items() if member in _LINK}
    if not all(isinstance(member, str) for member in link.values()) or not _is_address(link["href"]):
        raise InvalidInput(name, f"input '{name}': {shown(link)}; allowed: {{'href': an http or https address}}")
    return link


def _is_address(href: str) -> bool:
    try:
        parts = urlsplit(href)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _validate(name: str, schema: Mapping[str, Any], value: Any) -> None:
    error = next(Draft202012Validator(schema, format_checker=FORMATS).iter_errors(value), None)
    if error is None:
        return
    path = name + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    raise InvalidInput(name, f"input '{path}': {shown(error.instance)}; allowed: {allowed(dict(error.schema))}")


@FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or bool(date.fromisoformat(value))


@FORMATS.checks("byte", raises=binascii.Error)
def _is_base64(value: object) -> bool:
    return not isinstance(value, str) or base64.b64decode(value, validate=True) is not None
