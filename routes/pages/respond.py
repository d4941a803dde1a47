"""One document, two forms: JSON for programs, a page for people."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from tempfile import SpooledTemporaryFile
from typing import Any, override

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from orchestration.full import is_full
from routes.http.accept import choose_for
from routes.http.problem import Problem, bad_parameter
from routes.pages.render import render

JSON_AND_PAGE = {"json": "application/json", "html": "text/html"}
"""What `f=` offers for most resources, the default first."""
_IN_MEMORY = 250_000
_PIECE = 250_000


def negotiate(request: Request, offered: Mapping[str, str] = JSON_AND_PAGE) -> str:
    """Return the key of `offered` that the caller wants: `f` first, then Accept, then the first one.

    Raises Problem: 400 for an unknown `f`, 406 where Accept rules everything out.
    """
    wanted = request.query_params.get("f")
    if wanted is not None:
        if wanted not in offered:
            raise bad_parameter("f", wanted, f"allowed: {', '.join(offered)}")
        return wanted
    best = choose_for(request, tuple(offered.values()))
    if best is None:
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, f"Accept: allowed: {', '.join(offered.values())}")
    return next(key for key, media_type in offered.items() if media_type == best)


def respond(
    request: Request,
    document: Mapping[str, Any],
    *,
    page: str,
    media_type: str = "application/json",
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    only_page: Mapping[str, Any] | None = None,
) -> Response:
    """Answer with the document, as JSON of `media_type` or as the template `page`, as the caller wants.

    `only_page` is what the template is told besides.
    """
    all_headers = {"Vary": "Accept", **(headers or {})}
    if negotiate(request, {"json": media_type, "html": "text/html"}) == "html":
        return Response(
            render(request, page, {**document, **(only_page or {})}), status, all_headers, media_type="text/html"
        )
    return JSONResponse(document, status, all_headers, media_type=media_type)


@contextmanager
def response_file() -> "Iterator[ResponseFile]":
    """Yield a file for the body of an answer; an error closes it. Raises Problem 503 where the disk is full."""
    file = ResponseFile()
    try:
        yield file
    except BaseException as error:
        file.close()
        if isinstance(error, OSError) and is_full(error):
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no space is left for so large an answer") from error
        raise


class ResponseFile(SpooledTemporaryFile[bytes]):
    """Where the body of a large answer is written before it is sent: in memory while it is small, else on the disk.

    Its length and every error are known before the answer begins.
    """

    def __init__(self) -> None:
        super().__init__(max_size=_IN_MEMORY)

    def __del__(self) -> None:
        """Close it without a warning: the answer to a request that was given up is never sent."""
        self.close()

    def response(self, head: bytes, tail: bytes, *, headers: Mapping[str, str], media_type: str) -> Response:
        """Answer with what was written between `head` and `tail`; the file is closed in the end."""
        length = self.tell()
        self.seek(0)
        if length <= _IN_MEMORY:
            with self:
                return Response(head + self.read() + tail, headers=dict(headers), media_type=media_type)
        total = len(head) + length + len(tail)
        return _FromFile(self, head, tail, headers={**headers, "Content-Length": str(total)}, media_type=media_type)


class _FromFile(StreamingResponse):
    def __init__(
        self, file: ResponseFile, head: bytes, tail: bytes, *, headers: Mapping[str, str], media_type: str
    ) -> None:
        super().__init__(self._pieces(head, tail), headers=headers, media_type=media_type)
        self._file = file

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)

    async def _pieces(self, head: bytes, tail: bytes) -> AsyncIterator[bytes]:
        yield head
        while piece := await anyio.to_thread.run_sync(self._file.read, _PIECE):
            yield piece
        yield tail
