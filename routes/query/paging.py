"""A page of a list: which one is asked for, and the links to those around it."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.requests import Request

from routes.http.problem import bad_parameter
from routes.resources import resources_of

MAX_LIMIT = 10_000
"""Entries of a page; a larger limit is cut to it (18-062r2 /req/job-list/limit-response)."""

_DEFAULT_LIMIT = 10
_LONGEST = 9
_PLACES = ("offset", "cursor")
"""The parameters that say where a page begins."""


@dataclass(frozen=True, slots=True)
class Page:
    """So many entries after the first `offset`."""

    limit: int = _DEFAULT_LIMIT
    offset: int = 0


def read_page(request: Request) -> Page:
    """Return the page that `limit` and `offset` ask for. Raises the 400 Problem."""
    limit = _whole(request, "limit", default=_DEFAULT_LIMIT, least=1)
    return Page(min(limit, MAX_LIMIT), _whole(request, "offset", default=0, least=0))


def _whole(request: Request, name: str, *, default: int, least: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST and int(text) >= least):
        raise bad_parameter(name, text, f"allowed: whole numbers from {least}")
    return int(text)


def page_links(request: Request, page: Page, matched: int) -> list[dict[str, str]]:
    """Return the links self, alternate, next and prev, with the request's own parameters."""
    following = {"offset": str(page.offset + page.limit)} if page.offset + page.limit < matched else None
    before = max(0, page.offset - page.limit)
    previous = ({"offset": str(before)} if before else {}) if page.offset else None
    return list_links(request, following=following, previous=previous)


def list_links(
    request: Request, *, following: Mapping[str, str] | None, previous: Mapping[str, str] | None
) -> list[dict[str, str]]:
    """Return the links self and alternate, and those to the pages around, by the parameters that name their places."""
    form = "html" if request.query_params.get("f") == "html" else "json"
    own = {name: value for name, value in request.query_params.items() if name in _PLACES}
    links = [
        _link(request, own, rel="self", title="This page as JSON", form="json"),
        _link(request, own, rel="alternate", title="This page as HTML", form="html"),
    ]
    if following is not None:
        links.append(_link(request, following, rel="next", title="Next page", form=form))
    if previous is not None:
        links.append(_link(request, previous, rel="prev", title="Previous page", form=form))
    return links


def _link(request: Request, place: Mapping[str, str], *, rel: str, title: str, form: str) -> dict[str, str]:
    dropped = {*_PLACES, "f"}
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in dropped]
    query = urlencode([*kept, *place.items(), ("f", form)])
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    media_type = "text/html" if form == "html" else "application/json"
    return {"rel": rel, "type": media_type, "title": title, "href": f"{resources_of(request).url}{quote(path)}?{query}"}
