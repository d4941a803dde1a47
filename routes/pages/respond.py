"""One document, two forms: JSON for programs, a page for people."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, override
from urllib.parse import urlencode

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from orchestration.full import is_full
from routes.http.problem import Problem
from routes.middleware.edge import content_policy
from routes.pages.render import render
from routes.pages.translator import noted
from routes.query.parameters import START_INDEX, Page, negotiate
from routes.resources import note_language, resources_of

OGC = "http://www.opengis.net/def/rel/ogc/1.0"
_PLACES = ("offset", START_INDEX.name, "cursor")
"""The parameters for the beginning of a page."""
_IN_MEMORY = 250_000
_PIECE = 250_000


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

    `only_page` has more values for the template.
    """
    note_language(request)
    all_headers = {"Vary": "Accept", **(headers or {})}
    if negotiate(request, {"json": media_type, "html": "text/html"}) == "html":
        scripted = {"Content-Security-Policy": content_policy(resources_of(request).url, scripts=True), **all_headers}
        return Response(
            render(request, page, {**document, **(only_page or {}), "scripted": True}),
            status,
            scripted,
            media_type="text/html",
        )
    return JSONResponse(document, status, all_headers, media_type=media_type)


def page_links(request: Request, address: str, page: Page, matched: int) -> list[dict[str, str]]:
    """Return the links self, alternate, next and prev of a page of the list, with the request's other parameters."""
    following = {"offset": str(page.offset + page.limit)} if page.offset + page.limit < matched else None
    before = max(0, page.offset - page.limit)
    previous = ({"offset": str(before)} if before else {}) if page.offset else None
    return list_links(request, address, following=following, previous=previous)


def list_links(
    request: Request, address: str, *, following: Mapping[str, str] | None, previous: Mapping[str, str] | None
) -> list[dict[str, str]]:
    """Return the links self and alternate, and next and prev by the parameters for their beginnings."""
    form = "html" if request.query_params.get("f") == "html" else "json"
    own = {name: value for name, value in request.query_params.items() if name in _PLACES}
    links = [
        _link(request, address, own, rel="self", title="This page as JSON", form="json"),
        _link(request, address, own, rel="alternate", title="This page as HTML", form="html"),
    ]
    if following is not None:
        links.append(_link(request, address, following, rel="next", title=noted("Next page"), form=form))
    if previous is not None:
        links.append(_link(request, address, previous, rel="prev", title=noted("Previous page"), form=form))
    return links


def _link(
    request: Request, address: str, place: Mapping[str, str], *, rel: str, title: str, form: str
) -> dict[str, str]:
    dropped = {*_PLACES, "f"}
    parameters = [(name, value) for name, value in request.query_params.multi_items() if name not in dropped]
    query = urlencode([*parameters, *place.items(), ("f", form)])
    media_type = "text/html" if form == "html" else "application/json"
    return {"rel": rel, "type": media_type, "title": title, "href": f"{address}?{query}"}


@contextmanager
def response_file(folder: Path | None = None) -> "Iterator[ResponseFile]":
    """Yield a file for the body of an answer, in the folder or that of temporary files; an error closes it.

    Raises Problem 503 where the disk is full.
    """
    file = ResponseFile(folder)
    try:
        yield file
    except BaseException as error:
        file.close()
        if isinstance(error, OSError) and is_full(error):
            detail = "no space is left for so large an answer"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "60"}) from error
        raise


class ResponseFile(SpooledTemporaryFile[bytes]):
    """Where the body of a large answer is written before it is sent: in memory while it is small, else on the disk.

    Its length and every error are known before the answer begins.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(max_size=_IN_MEMORY, dir=None if folder is None else str(folder))

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
        return FromFile(self, length, headers=headers, media_type=media_type, head=head, tail=tail)


class FromFile(StreamingResponse):
    """What is left of an open file, `length` bytes, between `head` and `tail`; the file is closed in the end."""

    def __init__(
        self,
        file: IO[bytes],
        length: int,
        *,
        headers: Mapping[str, str],
        media_type: str,
        head: bytes = b"",
        tail: bytes = b"",
    ) -> None:
        total = str(len(head) + length + len(tail))
        super().__init__(self._pieces(head, tail), headers={**headers, "Content-Length": total}, media_type=media_type)
        self._file = file

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)

    async def _pieces(self, head: bytes, tail: bytes) -> AsyncIterator[bytes]:
        more = True
        while more:
            piece = await anyio.to_thread.run_sync(self._file.read, _PIECE)
            more = len(piece) == _PIECE
            yield head + piece + (b"" if more else tail)
            head = b""


def link(href: str, rel: str, media_type: str, title: str, **members: Any) -> dict[str, Any]:
    """Return one link object."""
    return {"href": href, "rel": rel, "type": media_type, "title": title, **members}


def both_forms(href: str, *, media_type: str = "application/json") -> list[dict[str, Any]]:
    """Return the links of a document to itself and to its page."""
    return [
        link(f"{href}?f=json", "self", media_type, "This document"),
        link(f"{href}?f=html", "alternate", "text/html", "This document as a page"),
    ]
