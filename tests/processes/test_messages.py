"""Descriptions of schemas and values that fit on a line."""

from typing import Any

import pytest

from processes.messages import allowed, shown


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "a string"),
        ({"type": "string", "enum": ["a", "b"]}, '"a", "b"'),
        ({"type": "integer", "minimum": 0, "maximum": 60}, "a whole number from 0 to 60"),
        ({"type": "string", "maxLength": 5}, "a string of at most 5 characters"),
        ({"type": "string", "format": "byte"}, "base64"),
        ({"type": "array", "minItems": 2, "maxItems": 9, "items": {"type": "boolean"}},
         "an array of 2 to 9 items, each true or false"),
        ({"type": "object", "properties": {"uom": {"type": "string"}}}, "an object with uom (a string)"),
        ({"oneOf": [{"type": "string"}, {"title": "a box", "type": "object"}]}, "a string or a box"),
    ],
)  # fmt: skip
def test_the_allowed_values_of_a_schema_are_described(schema: dict[str, Any], expected: str) -> None:
    assert allowed(schema) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ("Größe", '"Größe"'),
        ([1, 2, 3, 4, 5, 6], "[1, 2, 3, 4, 5, 6]"),
        ([1, 2, 3, 4, 5, 6, 7], '[1, 2, 3, 4, 5, 6, "…"]'),
        ([[[[[[[[1]]]]]]]], '[[[[[["…"]]]]]]'),
        ("x" * 1000, '"' + "x" * 79 + "…"),
    ],
)
def test_a_value_is_abbreviated(value: Any, text: str) -> None:
    assert shown(value) == text
