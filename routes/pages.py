"""Pages for people, made from the same document that programs get."""

from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request

from routes.resources import resources_of


def render(request: Request, page: str, document: Mapping[str, Any]) -> str:
    """Return the template `page` filled in with the members of `document`.

    Every template also knows `url` (the public address), `title` (the document's, else its `id`, else the site's),
    `site` (the site's title), `as_json` (where the same is JSON) and `classes` (of the product that is shown).
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
                "as_json": f"?{urlencode([*kept, ('f', 'json')])}",
            }
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("routes"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
