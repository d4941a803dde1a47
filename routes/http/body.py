"""A request's body: bounded while it is read, and JSON that can be stored, returned and calculated with."""

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from itertools import accumulate
from typing import Any

import anyio
from anyio import CapacityLimiter
from starlette.requests import Request

from routes.http.problem import Problem

MAX_BODY = 10_000_000
"""Maximum bytes of the body of a request."""
SMALL_BODY = 10_000
"""Maximum bytes of a body with a token, a form or the name of a new API key: a token has at most 8,192."""
MAX_DEPTH = 64
"""Maximum levels of arrays and objects; the deepest GeoJSON of an execution has nine."""
MAX_CONTAINERS = 1_000_000
"""Maximum arrays and objects in one body: Python's JSON parser blocks all other threads while it creates them."""

_STRING = re.compile(rb'"[^"]*"?')
_STEPS = bytes(1 if sign in b"[{" else 255 for sign in range(256))
_NO_STRUCTURE = bytes(sign for sign in range(256) if sign not in b'[]{}"')
_PIECE = 65_536
_SURROGATE = re.compile(r"\\u[dD]")
_LONGEST_NUMBER = 300


async def read_body(request: Request, largest: int = MAX_BODY) -> bytes:
    """Return the body. Raises the 413 Problem as soon as more than `largest` bytes are announced or received."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > largest:
        raise too_large(largest)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > largest:
            raise too_large(largest)
        parts.append(part)
    return b"".join(parts)


def too_large(largest: int) -> Problem:
    """Return the 413 Problem."""
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {largest} bytes")


def media_type_of(request: Request) -> str:
    """Return the media type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json(request: Request, largest: int = MAX_BODY, also: Sequence[str] = ()) -> bytes:
    """Return the body. Raises the 413 Problem, and the 415 Problem if its type is neither JSON nor in `also`."""
    media_type = media_type_of(request)
    if media_type not in ("application/json", *also):
        allowed = ", ".join(("application/json", *also))
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Type: {media_type[:80]!r}; allowed: {allowed}",
            headers={"Accept-Post": allowed},
        )
    return await read_body(request, largest)


async def read_object(
    request: Request, *, limiter: CapacityLimiter, largest: int = SMALL_BODY, such_as: str
) -> dict[str, Any]:
    """Return the body as an object, read in a thread. Raises the Problems of `read_json` and `parse_object`."""
    body = await read_json(request, largest)
    return await anyio.to_thread.run_sync(partial(parse_object, body, such_as=such_as), limiter=limiter)


def parse_object(body: bytes, *, such_as: str = '{"inputs": {…}, …}') -> dict[str, Any]:
    """Return the body as an object. Raises the 400 Problem for invalid JSON, and for JSON that only Python accepts.

    The latter is NaN, infinite numbers, half of a surrogate pair, a repeated member, more than MAX_DEPTH levels or
    MAX_CONTAINERS. It takes time proportional to the body: call it in a thread.
    """
    try:
        document = _parse(body)
    except (ValueError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not a JSON object; allowed: {such_as}")
    return document


def _parse(body: bytes) -> Any:
    text = body.decode()
    _check_structure(body)
    document = json.loads(
        text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole, object_pairs_hook=_each_once
    )
    if _SURROGATE.search(text):
        json.dumps(document, ensure_ascii=False).encode()
    return document


def _check_structure(body: bytes) -> None:
    """Raise ValueError for more than MAX_DEPTH levels or MAX_CONTAINERS, without a Python loop over the bytes.

    Escapes are removed first (two backslashes, a backslash and a quote), so the remaining quotes begin and end strings.
    Adjacent quotes end a string and begin the next, and are removed together. Then all but brackets and quotes is
    removed, and then the content of strings.
    """
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = _STRING.sub(b"", unescaped.translate(None, _NO_STRUCTURE).replace(b'""', b""))
    if brackets.count(b"[") + brackets.count(b"{") > MAX_CONTAINERS:
        raise ValueError(f"more than {MAX_CONTAINERS} arrays and objects")
    steps = memoryview(brackets.translate(_STEPS)).cast("b")
    depth = 0
    for begin in range(0, len(steps), _PIECE):
        levels = list(accumulate(steps[begin : begin + _PIECE], initial=depth))
        if max(levels) > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels of arrays and objects")
        depth = levels[-1]


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object. Raises ValueError for a repeated member, as parsers differ in which one counts."""
    members = dict(pairs)
    if len(members) < len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the member {name[:80]!r} is repeated")
    return members


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
