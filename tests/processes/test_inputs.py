"""Inputs of an execution match the description, or are refused by name with their value and the allowed ones."""

from typing import Any

import pytest

from processes.base import check_inputs
from processes.errors import InvalidInput

DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "word": {"schema": {"type": "string", "enum": ["one", "two"]}},
    "count": {"minOccurs": 0, "schema": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3}},
    "date": {"minOccurs": 0, "schema": {"type": "string", "format": "date-time"}},
    "shape": {
        "minOccurs": 0,
        "schema": {"oneOf": [{"type": "string", "title": "WKT"}, {"type": "object", "title": "GeoJSON"}]},
        "valuePassing": ["byValue", "byReference"],
    },
    "images": {"minOccurs": 0, "maxOccurs": 3, "schema": {"type": "string", "format": "byte"}},
    "measure": {
        "minOccurs": 0,
        "schema": {
            "type": "object",
            "required": ["amount"],
            "properties": {"amount": {"type": "number"}, "parts": {"type": "array", "items": {"type": "integer"}}},
            "additionalProperties": False,
        },
    },
}
LINK = {"href": "https://example.org/shape.json", "type": "application/geo+json"}
IMAGE = {"value": "aGk=", "mediaType": "image/png", "encoding": "base64"}


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({}, {"count": 3}),
        ({"count": 9}, {"count": 9}),
        ({"count": {"value": 4}}, {"count": 4}),
        ({"shape": "POINT (1 2)"}, {"count": 3, "shape": "POINT (1 2)"}),
        ({"shape": {"value": {"a": 1}, "mediaType": "application/json"}}, {"count": 3, "shape": {"a": 1}}),
        ({"shape": {"a": 1}}, {"count": 3, "shape": {"a": 1}}),
        ({"shape": LINK}, {"count": 3, "shape": LINK}),
        ({"date": "2026-11-23T12:00:00Z"}, {"count": 3, "date": "2026-11-23T12:00:00Z"}),
        ({"images": "aGk="}, {"count": 3, "images": ["aGk="]}),
        ({"images": [IMAGE, "aGk="]}, {"count": 3, "images": [IMAGE, "aGk="]}),
        (
            {"images": {"value": "aGk=", "format": {"mediaType": "image/png", "encoding": "base64"}}},
            {"count": 3, "images": [IMAGE]},
        ),
        ({"count": {"value": 4, "format": {}}}, {"count": 4}),
        ({"shape": {"href": LINK["href"], "format": {"mediaType": LINK["type"]}}}, {"count": 3, "shape": LINK}),
        ({"shape": {"href": LINK["href"], "format": {}}}, {"count": 3, "shape": {"href": LINK["href"]}}),
        ({"measure": {"amount": 1.5, "parts": [1]}}, {"count": 3, "measure": {"amount": 1.5, "parts": [1]}}),
    ],
)
def test_valid_inputs_are_stored_with_their_defaults(given: dict[str, Any], stored: dict[str, Any]) -> None:
    assert check_inputs(DESCRIPTIONS, {"word": "one", **given}) == {"word": "one", **stored}


@pytest.mark.parametrize(
    ("inputs", "name", "expected"),
    [
        ({}, "word", 'input \'word\' is missing; allowed: "one", "two"'),
        ({"word": "three"}, "word", 'input \'word\': "three"; allowed: "one", "two"'),
        ({"word": {"value": "one", "mediaType": 5}}, "word", "input 'word.mediaType': 5; allowed: a string"),
        ({"word": {"value": "one", "format": 5}}, "word", "input 'word.format': 5; allowed: mediaType, encoding"),
        ({"word": {"value": "one", "format": {"mimeType": "a/b"}}}, "word", "input 'word.format'"),
        (
            {"word": {"value": "one", "format": {"mediaType": 5}}},
            "word",
            "input 'word.mediaType': 5; allowed: a string",
        ),
        ({"word": "one", "shape": {"href": LINK["href"], "format": {"mediaType": 5}}}, "shape", "an http or https"),
        ({"word": None}, "word", 'input \'word\': null; allowed: "one", "two"'),
        ({"word": "one", "wrod": 1}, "wrod", 'input "wrod" is unknown; allowed: word, count, date'),
        ({"word": "one", "count": 10}, "count", "input 'count': 10; allowed: a whole number from 1 to 9"),
        ({"word": "one", "count": True}, "count", "input 'count': true; allowed: a whole number"),
        ({"word": "one", "count": {"value": "4"}}, "count", "input 'count': \"4\"; allowed: a whole number"),
        ({"word": "one", "date": "yesterday"}, "date", "input 'date': \"yesterday\"; allowed: a date and time"),
        ({"word": "one", "date": "2026-11-23T12:00:00"}, "date", "allowed: a date and time"),
        ({"word": "one", "shape": 7}, "shape", "input 'shape': 7; allowed: WKT or GeoJSON"),
        ({"word": "one", "shape": {"href": "ftp://example.org/x"}}, "shape", "an http or https address"),
        ({"word": "one", "shape": {"href": "http://[x"}}, "shape", "an http or https address"),
        ({"word": "one", "shape": {"href": 5}}, "shape", "an http or https address"),
        ({"word": LINK}, "word", "is a reference; allowed: a value"),
        ({"word": "one", "images": []}, "images", "input 'images' occurs 0 times; allowed: 1 to 3"),
        ({"word": "one", "images": ["aGk="] * 4}, "images", "input 'images' occurs 4 times; allowed: 1 to 3"),
        ({"word": "one", "images": ["aGk=", "not base64"]}, "images[1]", "input 'images[1]': \"not base64\""),
        ({"word": "one", "measure": {}}, "measure", "input 'measure': {}; allowed: an object with amount (a number)"),
        ({"word": "one", "measure": {"amount": "x"}}, "measure", "input 'measure.amount': \"x\"; allowed: a number"),
        (
            {"word": "one", "measure": {"amount": 1, "parts": [1, "b"]}},
            "measure",
            "input 'measure.parts[1]': \"b\"; allowed: a whole number",
        ),
        ({"word": "one", "measure": {"amount": 1, "more": 1}}, "measure", "input 'measure'"),
    ],
)
def test_an_invalid_input_is_named_with_its_value_and_the_allowed_ones(
    inputs: dict[str, Any], name: str, expected: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_inputs(DESCRIPTIONS, inputs)
    assert refused.value.input == name
    assert expected in refused.value.message
    assert refused.value.http_status_code == 400


def test_a_huge_value_is_abbreviated() -> None:
    huge = {"value": [["x" * 1000] * 100] * 100}
    with pytest.raises(InvalidInput) as refused:
        check_inputs(DESCRIPTIONS, {"word": huge})
    assert len(refused.value.message) < 300
