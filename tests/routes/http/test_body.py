"""A body is JSON that can be stored and returned, or 400."""

import json
import time

import pytest

from routes.http.body import MAX_CONTAINERS, MAX_DEPTH, parse_object
from routes.http.problem import Problem


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"a": [1, 1.5, None, True, "x"]},
        {"inputs": {"a": "[[[[" * 1000}},
        {"a": 'q"[{\\'},
        {"a": ["[" * 70, '"' + "[" * 70, "\\", "{" * 70, '\\"' + "[" * 70, ""], "": "", "b": {"a": 1}},
        {"a": "\U0001f600 \\ud83d"},
    ],
)
def test_an_object_is_read(document: dict[str, object]) -> None:
    assert parse_object(json.dumps(document).encode()) == document
    assert parse_object(json.dumps(document, ensure_ascii=False).encode()) == document


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b"null",
        b'"inputs"',
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 400 + b"}",
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\\ud800"}',
        b'{"\\uDFFF": 1}',
        b'{"a": ' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"}",
        b'{"a":' * 100_000,
        b"[" * 1_000_000,
        b'{"a": "' + b"\\" * 999_999,
        b'{"a": "' + b'\\"' * 500_000,
        b'{"a": 1, "a": 1}',
        b'{"a": [{"b": 1, "c": {}, "b": 2}]}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"a": [' + b"[]," * MAX_CONTAINERS + b"1]}",
    ],
)
def test_other_json_is_refused_with_a_reason(body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        parse_object(body)
    assert refused.value.status == 400
    assert refused.value.detail.startswith("the body is not ")
    assert len(refused.value.detail) < 200


def test_ten_megabytes_of_coordinates_are_parsed_quickly() -> None:
    body = json.dumps({"a": [[[1.5, 2.5]] * 500_000]}).encode()
    begun = time.process_time()
    parse_object(body)
    assert time.process_time() - begun < 10
