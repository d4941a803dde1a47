"""Check values of callers against a plugin's JSON Schema, in bounded time."""

import json
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import regex
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from processes.base import FORMATS, is_qualified, is_reference
from processes.errors import InvalidInput
from processes.messages import allowed, shown

Errors = Iterator[ValidationError]

_SECONDS = 1.0
"""Seconds that the regular expressions of a schema may take for one value of an input."""


def is_valid(schema: Any) -> bool:
    """Return whether it is a JSON Schema; the answer is kept, as it takes milliseconds."""
    try:
        return _is_valid(json.dumps(schema, default=repr))
    except (RecursionError, ValueError):  # nested without an end
        return False


@lru_cache(maxsize=1000)
def _is_valid(schema: str) -> bool:
    try:
        Draft202012Validator.check_schema(json.loads(schema))
    except (SchemaError, RecursionError):
        return False
    return True


def check_value(name: str, described: Mapping[str, Any], value: Any) -> None:
    """Check the value of an input against its schema; one that is not valid allows everything. Raises InvalidInput.

    A schema that refers to another document allows everything too, as nothing is fetched.
    """
    schema = described["schema"]
    if not is_valid(schema) or _has_all(schema, {"unevaluatedProperties", "patternProperties"}):
        return
    validator = _Patterns(_SECONDS).validator(schema, format_checker=FORMATS, registry=EMPTY_REGISTRY)
    several = isinstance(value, list) and described["maxOccurs"] != 1
    try:
        if several and all(is_qualified(each) or is_reference(each) or validator.is_valid(each) for each in value):
            return
        error = next(validator.iter_errors(value), None)
    except Unresolvable:
        return
    except TimeoutError as slow:
        problem = f"input '{name}': {shown(value)} takes longer than {_SECONDS:g} s to compare with a pattern"
        raise InvalidInput(name, f"{problem}; allowed: {allowed(schema)} that matches the pattern at once") from slow
    if error is not None:
        path = name + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
        raise InvalidInput(name, f"input '{path}': {shown(error.instance)}; allowed: {allowed(error.schema)}")


def _has_all(schema: Any, names: set[str]) -> bool:
    """Return whether all of these keywords are somewhere in the schema.

    To find members that were not evaluated, jsonschema compares names with patterns by `re`.
    """
    left, found = [schema], set[str]()
    while left:
        each = left.pop()
        if isinstance(each, dict):
            found |= names & each.keys()
            left += each.values()
        elif isinstance(each, list):
            left += each
    return found == names


class _Patterns:
    """A validator whose regular expressions raise TimeoutError after so many seconds in all.

    Python's own `re` may take years for a text of fifty characters, while no other thread can run.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self.validator: Any = extend(  # type: ignore[no-untyped-call] # jsonschema has no types
            Draft202012Validator,
            {"pattern": self._text, "patternProperties": self._matching, "additionalProperties": self._others},
        )

    def _matches(self, pattern: str, text: str) -> bool:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return regex.search(pattern, text, timeout=left, concurrent=True) is not None

    def _text(self, _validator: Any, pattern: str, instance: Any, _schema: Any) -> Errors:
        if isinstance(instance, str) and not self._matches(pattern, instance):
            yield ValidationError(f"does not match {pattern!r}")

    def _matching(self, validator: Any, patterns: Any, instance: Any, _schema: Any) -> Errors:
        for pattern, schema in patterns.items() if isinstance(instance, dict) else ():
            for name in [each for each in instance if self._matches(pattern, each)]:
                yield from validator.descend(instance[name], schema, path=name, schema_path=pattern)

    def _others(self, validator: Any, schema: Any, instance: Any, parent: Any) -> Errors:
        known, patterns = parent.get("properties", {}), parent.get("patternProperties", {})
        for name in instance if isinstance(instance, dict) else ():
            if name not in known and not any(self._matches(pattern, name) for pattern in patterns):
                yield from validator.descend(instance[name], schema, path=name)
