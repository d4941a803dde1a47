"""Pages for people, made from the same document that programs get."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, PrefixLoader, StrictUndefined
from starlette.requests import Request

from auth.identity import ANONYMOUS, current_identity
from products.classes import Classes
from routes.http.return_to import path_of
from routes.resources import Resources, note_language, resources_of


def render(request: Request, page: str, document: Mapping[str, Any]) -> str:
    """Return the template `page` filled in with the members of `document`.

    Every template also knows `url` (the public address), `title` (the document's, else its `id`, else the site's),
    `site` (the site's title), `language` (of the configuration's texts), `as_json` (the address of the JSON), `classes`
    (of the product) and `visitor` (the caller's `name`, None if unknown, and the address to `sign_in`; None on an open
    server).
    """
    note_language(request)
    resources = resources_of(request)
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "f"]
    site = resources.api.config["metadata"]["identification"]["title"]
    collection = getattr(request.state, "collection", None)
    pages: Pages = request.app.state.pages
    return (
        pages.of(collection.id if collection else None)
        .get_template(page)
        .render(
            {
                **document,
                "document": document,
                "url": resources.url,
                "site": site,
                "language": resources.language,
                "title": document.get("title") or document.get("id") or site,
                "classes": _classes(resources, str(document.get("id"))),
                "visitor": _visitor(request, resources.url),
                "as_json": f"?{urlencode([*kept, ('f', 'json')])}",
            }
        )
    )


def _classes(resources: Resources, name: str) -> Classes:
    """Return the classes of what is shown, none of a coverage of values."""
    collection = resources.collections.get(name)
    if collection is not None and "coverage" in collection.kinds - collection.foreign:
        return collection.coverage().classes
    return resources.catalogue.classes(name)


def _visitor(request: Request, url: str) -> dict[str, str | None] | None:
    """Return who looks at the page; where a request failed before that was found out, nobody is known."""
    if request.app.state.people is None:
        return None
    identity = current_identity.get(ANONYMOUS)
    known = None if identity.method == ANONYMOUS.method else identity.name or identity.email or "You"
    return {"name": known, "sign_in": f"{url}/auth/login?{urlencode({'return': path_of(request, url)}, safe='/')}"}


class Pages:
    """The templates of the pages: those in the operator's folders, else Landcast's own of the same names.

    A template extends Landcast's as `landcast/base.html`. `static` has the operator's files. A collection's folder
    precedes that of the `server`.
    """

    def __init__(
        self, server: Path | None = None, static: Path | None = None, collections: Mapping[str, Path] | None = None
    ) -> None:
        self.static: Mapping[str, Path] = {} if static is None else _files(static)
        self._server = environment_of(server)
        self._collections = {name: environment_of(folder, server) for name, folder in (collections or {}).items()}

    def of(self, collection: str | None) -> Environment:
        """Return the templates for a page of the collection, or of none."""
        return self._collections.get(collection or "", self._server)


def environment_of(*folders: Path | None) -> Environment:
    """Return the templates of the folders; the first folder with a template has precedence, Landcast's own is last."""
    ours = PackageLoader("routes.pages")
    others = [FileSystemLoader(folder) for folder in folders if folder is not None]
    return Environment(
        loader=ChoiceLoader([*others, ours, PrefixLoader({"landcast": ours})]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _files(folder: Path) -> Mapping[str, Path]:
    """Return the files below a folder by their path in it."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
