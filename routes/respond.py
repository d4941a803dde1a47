"""One document, two forms: JSON for programs, a page for people."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from routes.accept import choose
from routes.pages import render
from routes.problem import Problem, bad_parameter

JSON_AND_PAGE = {"json": "application/json", "html": "text/html"}
"""What `f=` offers for most resources, the default first."""


def negotiate(request: Request, offered: Mapping[str, str] = JSON_AND_PAGE) -> str:
    """Return the key of `offered` that the caller wants: `f` first, then Accept, then the first one.

    Raises Problem: 400 for an unknown `f`, 406 where Accept rules everything out.
    """
    wanted = request.query_params.get("f")
    if wanted is not None:
        if wanted not in offered:
            raise bad_parameter("f", wanted, f"allowed: {', '.join(offered)}")
        return wanted
    best = choose(request.headers.get("accept"), tuple(offered.values()))
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
