"""The operator's folders for pages: templates and files (`templates` of the server and of collections), and words."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError

from routes.pages.render import Pages, environment_of
from routes.pages.translator import Translator, wrong_catalogues
from server.api import languages_of


def pages_of(configuration: Mapping[str, Any]) -> Pages:
    """Return the pages of the configured folders."""
    folders = {place: Path(folder) for place, folder in _folders(configuration)}
    server, static = folders.pop("server.templates.path", None), folders.pop("server.templates.static", None)
    of_collections = {place.removeprefix("resources.").removesuffix(_PATH): each for place, each in folders.items()}
    return Pages(server, static, of_collections, _locale_dir(configuration))


_PATH = ".templates.path"


def _folders(configuration: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each folder with its place in the configuration; the schema reports entries of another form."""
    resources = configuration.get("resources")
    places: list[tuple[str, Any, tuple[str, ...]]] = [("server", configuration.get("server"), ("path", "static"))]
    if isinstance(resources, Mapping):
        places += [(f"resources.{name}", each, ("path",)) for name, each in resources.items()]
    for place, entry, names in places:
        templates = entry.get("templates") if isinstance(entry, Mapping) else None
        for name, folder in templates.items() if isinstance(templates, Mapping) else ():
            if name in names and isinstance(folder, str) and folder:
                yield f"{place}.templates.{name}", folder


def wrong_templates(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield the errors of the folders and of the templates in them."""
    for place, folder in _folders(configuration):
        if not Path(folder).is_dir():
            yield f"{place}: no such folder: {folder}"
        elif place.endswith(_PATH):
            yield from _wrong_in(place, Path(folder))


def _wrong_in(place: str, folder: Path) -> Iterator[str]:
    templates = environment_of(folder)
    for name in _names(folder) & _pages():
        try:
            templates.get_template(name)
        except TemplateSyntaxError as error:
            yield f"{place}: {name}, line {error.lineno}: {error.message}"
        except (TemplateError, UnicodeDecodeError) as error:
            yield f"{place}: {name}: {error}"


def _locale_dir(configuration: Mapping[str, Any]) -> Path | None:
    server = configuration.get("server")
    folder = server.get("locale_dir") if isinstance(server, Mapping) else None
    return Path(folder) if isinstance(folder, str) else None


def wrong_translations(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield the errors of the folder of words and of the catalogues in it."""
    folder = _locale_dir(configuration)
    if folder is not None and not folder.is_dir():
        yield f"server.locale_dir: no such folder: {folder}"
    elif folder is not None:
        yield from (f"server.locale_dir: {each}" for each in wrong_catalogues(folder))


def missing_translations(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield the languages without words for pages."""
    folder = _locale_dir(configuration)
    for language in languages_of(configuration):
        if not Translator(language, folder).found:
            yield f"server.languages: pages in {language} are in English; server.locale_dir may have its words"


def unused_templates(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield the templates that no page uses, such as pygeoapi's; other templates may include them."""
    for place, folder in _folders(configuration):
        if place.endswith(_PATH) and (others := _names(Path(folder)) - _pages()):
            allowed = ", ".join(sorted(_pages()))
            yield f"{place}: no page uses {', '.join(sorted(others))}; the pages are {allowed}"


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.html")}


def _pages() -> set[str]:
    return {name for name in environment_of().list_templates(["html"]) if "/" not in name}
