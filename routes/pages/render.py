"""Pages for people, made from the same document that programs get."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, PrefixLoader, StrictUndefined
from starlette.requests import Request

from auth.identity import ANONYMOUS, current_identity
from products.classes import Classes
from routes.http.language import LANG
from routes.http.return_to import path_of
from routes.pages.translator import SOURCE, Translator, names_of
from routes.resources import Resources, note_language, resources_of


def render(request: Request, page: str, document: Mapping[str, Any]) -> str:
    """Return the template `page` filled in with the members of `document`.

    Every template also knows `url` (the public address), `title` (the document's, else its `id`, else the site's),
    `site` (the site's title), `language` (of the configuration's texts), `as_json` (the address of the JSON), `classes`
    (of the product), `visitor` (the caller's `name`, None if unknown, and the address to `sign_in`; None on an open
    server), `lang` (the language that the address names, if any), `languages` (what each is called, with the address of
    the page in it) and `words`. `_` and `ngettext` translate, and so do the filters `translated`, `number`, `size`,
    `day` and `time`.
    """
    note_language(request)
    resources, translator = resources_of(request), translator_of(request)
    parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "f"]
    site = resources.api.config["metadata"]["identification"]["title"]
    collection = getattr(request.state, "collection", None)
    lang = request.query_params.get(LANG)
    title = document.get("title") or document.get("id")
    rendered = (
        _pages_of(request)
        .of(collection.id if collection else None, translator)
        .get_template(page)
        .render(
            {
                **document,
                "document": document,
                "url": resources.url,
                "site": site,
                "language": resources.language,
                "title": translator.translated(str(title)) if title else site,
                "classes": _classes(resources, str(document.get("id"))),
                "visitor": _visitor(request, resources.url),
                "as_json": f"?{urlencode([*parameters, ('f', 'json')])}",
                "lang": lang,
                "languages": _languages(request, resources),
            }
        )
    )
    return rendered if lang is None else _with_language(rendered, resources.url, lang)


def translator_of(request: Request) -> Translator:
    """Return the translator to the request's language."""
    return _pages_of(request).translator(resources_of(request).language)


def _pages_of(request: Request) -> "Pages":
    pages: Pages = request.app.state.pages
    return pages


def _languages(request: Request, resources: Resources) -> list[Mapping[str, str]]:
    """Return the page in each language; after a form, the start page."""
    begin = "" if request.method in {"GET", "HEAD"} else f"{resources.url}/"
    parameters = (
        [(name, value) for name, value in request.query_params.multi_items() if name != LANG] if not begin else []
    )
    return [
        {"tag": tag, "name": name, "href": f"{begin}?{urlencode([*parameters, (LANG, tag)])}"}
        for tag, name in names_of(tuple(resources.languages)).items()
    ]


_LINK = re.compile(r'\b(href|action)="([^"#]*)([^"]*)"')


def _with_language(page: str, url: str, lang: str) -> str:
    """Return the page with the language in each link to a page of this server."""
    added = urlencode({LANG: lang})

    def follow(found: re.Match[str]) -> str:
        attribute, address, fragment = found.groups()
        path, query, given = address.partition("?")
        ours = (path == url or path.startswith(f"{url}/")) if path else bool(query)
        if not ours or path.startswith(f"{url}/static/") or re.search(rf"(^|[&;]){LANG}=", given):
            return found[0]
        return f'{attribute}="{path}?{f"{given}&amp;" if given else ""}{added}{fragment}"'

    return _LINK.sub(follow, page)


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
    precedes that of the `server`. The operator's catalogues are in the folder `locale`.
    """

    def __init__(
        self,
        server: Path | None = None,
        static: Path | None = None,
        collections: Mapping[str, Path] | None = None,
        locale: Path | None = None,
    ) -> None:
        self.static: Mapping[str, Path] = {} if static is None else _files(static)
        self._folders = {name: (folder, server) for name, folder in (collections or {}).items()}
        self._server = (server,)
        self.translator = cache(lambda language: Translator(language, locale))
        self._environment = cache(lambda folders, translator: environment_of(*folders, translator=translator))

    def of(self, collection: str | None, translator: Translator) -> Environment:
        """Return the templates for a page of the collection, or of none, in the language of the translator."""
        made: Environment = self._environment(self._folders.get(collection or "", self._server), translator)
        return made


def environment_of(*folders: Path | None, translator: Translator | None = None) -> Environment:
    """Return the templates of the folders; the first folder with a template has precedence, Landcast's own is last."""
    ours = PackageLoader("routes.pages")
    others = [FileSystemLoader(folder) for folder in folders if folder is not None]
    environment = Environment(
        loader=ChoiceLoader([*others, ours, PrefixLoader({"landcast": ours})]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    said: Any = translator or Translator(SOURCE)
    cast("Any", environment).install_gettext_callables(said, said.ngettext, newstyle=True)
    environment.globals["words"] = said
    environment.filters.update(
        translated=said.translated, number=said.number, size=said.size, day=said.day, time=said.time
    )
    return environment


def _files(folder: Path) -> Mapping[str, Path]:
    """Return the files below a folder by their path in it."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
