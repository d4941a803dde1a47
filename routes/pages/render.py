"""Pages for people, made from the same document that programs get."""

from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request

from auth.identity import ANONYMOUS, current_identity
from routes.http.return_to import path_of
from routes.resources import resources_of


def render(request: Request, page: str, document: Mapping[str, Any]) -> str:
    """Return the template `page` filled in with the members of `document`.

    Every template also knows `url` (the public address), `title` (the document's, else its `id`, else the site's),
    `site` (the site's title), `as_json` (where the same is JSON), `classes` (of the product that is shown) and
    `visitor` (who looks at it: `name`, None where nobody is known, and where to `sign_in`; None while all is open).
    """
    resources = resources_of(request)
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "f"]
    site = resources.api.config["metadata"]["identification"]["title"]
    return (
        _environment()
        .get_template(page)
        .render(
            {
                **document,
                "document": document,
                "url": resources.url,
                "site": site,
                "title": document.get("title") or document.get("id") or site,
                "classes": resources.catalogue.classes(str(document.get("id"))),
                "visitor": _visitor(request, resources.url),
                "as_json": f"?{urlencode([*kept, ('f', 'json')])}",
            }
        )
    )


def _visitor(request: Request, url: str) -> dict[str, str | None] | None:
    """Return who looks at the page; where a request failed before that was found out, nobody is known."""
    if request.app.state.people is None:
        return None
    identity = current_identity.get(ANONYMOUS)
    known = None if identity.method == ANONYMOUS.method else identity.name or identity.email or "You"
    return {"name": known, "sign_in": f"{url}/auth/login?{urlencode({'return': path_of(request, url)}, safe='/')}"}


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("routes.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
