"""The operator's folders of templates and files for pages (`templates` of the server and of collections)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError

from routes.pages.render import environment_of


def templates_of(configuration: Mapping[str, Any]) -> tuple[Path | None, Path | None, Mapping[str, Path]]:
    """Return the server's folder of templates, its folder of files, and the folders of collections by id."""
    folders = {place: Path(folder) for place, folder in _folders(configuration)}
    server, static = folders.pop("server.templates.path", None), folders.pop("server.templates.static", None)
    of_collections = {place.removeprefix("resources.").removesuffix(_PATH): each for place, each in folders.items()}
    return server, static, of_collections


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
