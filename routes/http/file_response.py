"""A file with range and conditional requests (RFC 9110, sections 13 and 14)."""

import hashlib
import os
import re
import stat
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from secrets import token_hex
from urllib.parse import quote

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from routes.http.preconditions import Validators, check_preconditions, range_applies
from routes.http.problem import NOT_FOUND, Problem

_CHUNK = 256 * 1024


class RangeNotSatisfiable(Exception):
    """No requested range overlaps the file."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size: int
    media_type: str


Range = tuple[int, int]
"""The first byte, and the one after the last."""


def send_file(
    request: Request,
    path: Path,
    *,
    media_type: str,
    filename: str | None = None,
    sha256: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with the file or its requested ranges; HEAD with the headers alone.

    `sha256` in hexadecimal, if known, is the ETag and the Repr-Digest (RFC 9530); otherwise the ETag is made from the
    file's inode, size and time. Raises Problem: 404 if the file does not exist, 412, 416.
    """
    status = _stat(path)
    validators = Validators(_etag(status, sha256), int(status.st_mtime))
    file = _File(path, status.st_size, media_type)
    described = {
        "Accept-Ranges": "bytes",
        "ETag": validators.etag,
        "Last-Modified": formatdate(validators.modified, usegmt=True),
        **({"Content-Disposition": _disposition(filename)} if filename else {}),
        **({"Repr-Digest": f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode()}:"} if sha256 else {}),
        **(headers or {}),
    }
    if check_preconditions(request, validators) is HTTPStatus.NOT_MODIFIED:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=described)
    ranges = _wanted(request, file, validators)
    if ranges is None:
        return _answer(request, file, [(0, file.size)], described)
    if len(ranges) == 1:
        [(start, end)] = ranges
        described["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        return _answer(request, file, ranges, described, HTTPStatus.PARTIAL_CONTENT)
    return _multipart(file, ranges, described)


def is_whole(response: Response) -> bool:
    """Return whether an answer of `send_file` has all bytes of the file."""
    first, _, size = response.headers.get("content-range", "").partition("/")
    everything = response.status_code == HTTPStatus.PARTIAL_CONTENT and first == f"bytes 0-{int(size or 0) - 1}"
    return response.status_code == HTTPStatus.OK or everything


def _stat(path: Path) -> os.stat_result:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such file", type_=NOT_FOUND) from error
    if not stat.S_ISREG(status.st_mode):
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such file", type_=NOT_FOUND)
    return status


def _etag(status: os.stat_result, sha256: str | None) -> str:
    if sha256:
        return f'"{sha256}"'
    made_of = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
    return f'"{hashlib.sha256(made_of.encode()).hexdigest()[:32]}"'


def _disposition(filename: str) -> str:
    if filename.isascii() and filename.isprintable() and not set(filename) & set('"\\%'):
        return f'attachment; filename="{filename}"'
    return f"attachment; filename*=UTF-8''{quote(filename, safe='')}"


def _wanted(request: Request, file: _File, validators: Validators) -> list[Range] | None:
    if not range_applies(request, validators):
        return None
    try:
        return parse_ranges(request.headers["range"], file.size)
    except RangeNotSatisfiable as error:
        raise Problem(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"Range: {request.headers['range']!r} is outside of the file's {file.size} bytes",
            headers={"Content-Range": f"bytes */{file.size}", "Accept-Ranges": "bytes"},
        ) from error


def _answer(
    request: Request,
    file: _File,
    ranges: Sequence[Range],
    headers: Mapping[str, str],
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    headers = {**headers, "Content-Length": str(sum(end - start for start, end in ranges))}
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=file.media_type)
    return StreamingResponse(_read(file.path, ranges), status, headers, file.media_type)


def _multipart(file: _File, ranges: Sequence[Range], headers: Mapping[str, str]) -> Response:
    boundary = token_hex(16)
    heads = [
        f"\r\n--{boundary}\r\nContent-Type: {file.media_type}\r\n"
        f"Content-Range: bytes {start}-{end - 1}/{file.size}\r\n\r\n".encode()
        for start, end in ranges
    ]
    tail = f"\r\n--{boundary}--\r\n".encode()
    length = sum(map(len, heads)) + sum(end - start for start, end in ranges) + len(tail)

    async def body() -> AsyncIterator[bytes]:
        for head, part in zip(heads, ranges, strict=True):
            yield head
            async for chunk in _read(file.path, [part]):
                yield chunk
        yield tail

    return StreamingResponse(
        body(),
        HTTPStatus.PARTIAL_CONTENT,
        {**headers, "Content-Length": str(length)},
        f"multipart/byteranges; boundary={boundary}",
    )


async def _read(path: Path, ranges: Sequence[Range]) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        for start, end in ranges:
            await file.seek(start)
            left = end - start
            while left:
                chunk = await file.read(min(_CHUNK, left))
                if not chunk:
                    raise OSError(f"{path.name} became shorter while it was sent")
                left -= len(chunk)
                yield chunk


_SPEC = re.compile(r"(\d{1,19})-(\d{0,19})|-(\d{1,19})")
_MOST = 32


def parse_ranges(header: str, size: int) -> list[Range] | None:
    """Return the satisfiable ranges in order, overlaps merged; None if the header must be ignored.

    Malformed headers, other units and more than 32 ranges are ignored (RFC 9110 14.2 allows it).
    Raises RangeNotSatisfiable.
    """
    unit, equals, specs = header.partition("=")
    found = [_SPEC.fullmatch(spec.strip()) for spec in specs.split(",") if spec.strip()]
    if unit.strip().lower() != "bytes" or not equals or not found or len(found) > _MOST:
        return None
    ranges = []
    for match in found:
        if match is None or _backwards(match):
            return None
        ranges.append(_range(match, size))
    satisfiable = sorted((start, end) for start, end in ranges if start < end)
    if not satisfiable:
        raise RangeNotSatisfiable
    return _merged(satisfiable)


def _backwards(match: re.Match[str]) -> bool:
    return bool(match[1] and match[2] and int(match[2]) < int(match[1]))


def _range(match: re.Match[str], size: int) -> Range:
    if match[3]:
        return max(size - int(match[3]), 0), size
    return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size


def _merged(ranges: list[Range]) -> list[Range]:
    if all(before[1] < after[0] for before, after in pairwise(ranges)):
        return ranges
    merged = [ranges[0]]
    for start, end in ranges[1:]:
        if start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
