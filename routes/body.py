"""A request's body as JSON that can be kept, answered and computed with."""

import json
import math
import re
from http import HTTPStatus
from itertools import accumulate
from typing import Any

from starlette.requests import Request

from routes.problem import Problem

MAX_DEPTH = 64
"""Arrays and objects inside each other; the deepest GeoJSON of an execution takes nine."""

_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"|([\[{])|[\]}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD]")
_LONGEST_NUMBER = 300


async def read_json(request: Request) -> bytes:
    """Return the body; raises the 415 Problem where its Content-Type is not JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Type: {media_type[:80]!r}; allowed: application/json",
            headers={"Accept-Post": "application/json"},
        )
    return await request.body()


def parse_object(body: bytes, *, such_as: str = '{"inputs": {…}, …}') -> dict[str, Any]:
    """Return the body as an object. Raises the 400 Problem where it is no JSON, or JSON that only Python reads.

    That is: NaN, infinite numbers, half of a surrogate pair, and more than MAX_DEPTH levels.
    """
    try:
        document = _parse(body.decode())
    except (ValueError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not a JSON object; allowed: {such_as}")
    return document


def _parse(text: str) -> Any:
    if _depth(text) > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels of arrays and objects")
    document = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    if _SURROGATE.search(text):
        json.dumps(document, ensure_ascii=False).encode()
    return document


def _depth(text: str) -> int:
    steps = (1 if found[1] else -1 for found in _BRACKETS.finditer(text) if not found[0].startswith('"'))
    return max(accumulate(steps), default=0)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _whole(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"{text[:20]}… is too large a number")
    return int(text)
