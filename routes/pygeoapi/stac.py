"""The static STAC catalog: files and catalogs of providers of type `stac`, as STAC 1.0.0."""

import logging
import math
import mimetypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, override
from urllib.parse import quote

import rasterio
from pygeoapi.provider.base import ProviderNotFoundError
from pygeoapi.provider.filesystem import FileSystemProvider
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds
from starlette.requests import Request
from starlette.responses import Response

from auth.access import Action, Verdict
from auth.policy import refuse_restriction
from products.errors import BrokenSource
from routes.guard import NOTHING, GuardedRoute, OnResource, for_foreign
from routes.http.file_response import send_file
from routes.http.media_types import GEOJSON, GEOTIFF
from routes.http.problem import NOT_FOUND, Problem
from routes.pages.respond import both_forms, link, respond
from routes.pages.translator import noted
from routes.pygeoapi.handlers import no_such_part, provider_of
from routes.query.parameters import allow_parameters
from routes.resources import FAILURES, STAC, Collection, collection_of, plugin_of, resources_of

VERSION = "1.0.0"
_PLACES = 7
"""Decimal places of degrees; the last one is a centimetre."""
_JSON = "application/json"
_LOGGER = logging.getLogger(__name__)
_OURS = ("root", "self", "parent", "collection", "alternate")
"""The relations of links that are made here; those of a provider depend on the requested address."""
_TYPES = {".tif": GEOTIFF, ".tiff": GEOTIFF, ".gpkg": "application/geopackage+sqlite3", ".geojson": GEOJSON}


@dataclass(frozen=True, slots=True)
class OnStac(OnResource):
    """Access to a STAC collection: `download` for one of its files, else the action of the route."""

    @override
    async def admit(self, request: Request) -> Verdict:
        """Ask the policy for the action."""
        return self.permitted(request, self._action_on)

    def _action_on(self, request: Request) -> Action:
        is_file = file_of(collection_of(request), _path_of(request)) is not None
        return Action.DOWNLOAD if is_file else self.action


def _path_of(request: Request) -> str:
    return str(request.path_params.get("path", ""))


def file_of(collection: Collection, path: str) -> Path | None:
    """Return the file at a path below the collection, None for a path without one of its `file_types`.

    It is sent by our own code, as pygeoapi reads files whole.
    """
    found = _files(collection)
    if found is None or not path or not path.endswith(found[1]):
        return None
    return Path(f"{found[0]}/{path}")


def _files(collection: Collection) -> tuple[str, tuple[str, ...]] | None:
    """Return the folder and the file types of a collection of files, None for another collection."""
    definition = _definition(collection)
    try:
        if definition is None or not issubclass(plugin_of(definition), FileSystemProvider):
            return None
    except BrokenSource:
        return None
    return str(definition["data"]), tuple(each for each in definition.get("file_types", ()) if each)


def _definition(collection: Collection) -> Mapping[str, Any] | None:
    return collection.definition("stac") if "stac" in collection.kinds else None


def get_catalog(request: Request) -> Response:
    """Answer with the root of the catalog: the collections with a provider of type `stac`, without calling one."""
    allow_parameters(request)
    resources = resources_of(request)
    place, identification = f"{resources.url}/stac", resources.api.config["metadata"]["identification"]
    shown = [each for each in resources.listed_stac() if "stac" in each.kinds]
    document = {
        "type": "Catalog",
        "stac_version": VERSION,
        "id": "landcast-stac",
        "title": identification["title"],
        "description": identification["description"],
        "links": [
            link(place, "root", _JSON, "The catalog"),
            *both_forms(place),
            *(link(f"{place}/{quote(each.id)}", "child", _JSON, each.title) for each in shown),
        ],
    }
    return respond(request, document, page="stac.html", only_page={"steps": _steps(place, None, "")})


def get_entry(request: Request) -> Response:
    """Answer with a catalog, a collection or an item of a STAC collection, or send a file of it."""
    refuse_restriction()
    collection, path = collection_of(request), _path_of(request)
    if any(part in ("", ".", "..") for part in path.split("/")) and path:
        raise _nothing(collection)
    allow_parameters(request)
    if (file := file_of(collection, path)) is not None:
        return send_file(request, file, media_type=_media_type(file.name), filename=file.name)
    place = f"{resources_of(request).url}/stac"
    found = _asked(collection, path, place)
    if not isinstance(found, dict):
        return Response(found, media_type=_media_type(path))
    document = _entry(collection, path, place, found)
    media_type = GEOJSON if document["type"] == "Feature" else _JSON
    steps = _steps(place, collection, path)
    return respond(request, document, page="stac.html", media_type=media_type, only_page={"steps": steps})


def _asked(collection: Collection, path: str, place: str) -> Any:
    """Return the provider's document, or the bytes of its file, at the path. Raises Problem."""
    provider = provider_of(collection, "stac")
    below = f"/{path}" if path else ""
    if str(provider.data).startswith(("http://", "https://")):
        below = quote(below)
    try:
        return provider.get_data_path(place, f"{collection.id}{below}", below)
    except (ProviderNotFoundError, NotADirectoryError) as error:
        raise _nothing(collection) from error
    except FAILURES as error:
        _LOGGER.exception("collection %s: %s cannot be described", collection.id, path)
        detail = f"what collection {collection.id!r} has at this address cannot be described at present"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "60"}) from error


def _nothing(collection: Collection) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, f"collection {collection.id!r} has nothing at this address", type_=NOT_FOUND)


def _entry(collection: Collection, path: str, place: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return a provider's document as STAC, with our links, as providers do not encode names."""
    here = f"{place}/{quote(collection.id)}" + (f"/{quote(path)}" if path else "")
    described = {
        "type": "Catalog",
        "stac_version": VERSION,
        "id": "-".join((collection.id, "stac", *filter(None, path.split("/")))),
        **({} if path else {"title": collection.title}),
        "description": str(collection.configured["description"]),
    }
    document: dict[str, Any] = {**described, **found}
    if document["type"] == "Feature":
        document = _item(collection, path, here, document)
    is_top = not path
    document["links"] = [
        link(place, "root", _JSON, "The catalog"),
        link(here, "self", GEOJSON if document["type"] == "Feature" else _JSON, "This document"),
        link(f"{here}?f=html", "alternate", "text/html", "This document as a page"),
        link(place if is_top else here.rpartition("/")[0], "parent", _JSON, "What it is in"),
        *_links(document["links"], f"{place}/"),
        *(collection.configured.get("links", ()) if is_top else ()),
    ]
    if "collection" in document:
        document["links"].append(link(here.rpartition("/")[0], "collection", _JSON, "The collection of the item"))
    return document


def _links(links: list[dict[str, Any]], place: str) -> Iterator[dict[str, Any]]:
    """Yield a provider's own links, without relative ones, which lead nowhere here."""
    for entry in links:
        href = str(entry["href"])
        if entry["rel"] in _OURS or "://" not in href:
            continue
        name = href.rstrip("/").rpartition("/")[2]
        media_type = GEOJSON if entry["rel"] == "item" else entry.get("type", _JSON)
        if href.startswith(place):
            href = place + quote(href.removeprefix(place))
            media_type = GEOJSON if entry["rel"] == "item" else _JSON
        yield {**entry, "href": href, "type": media_type, "title": entry.get("title", name)}


def _item(collection: Collection, path: str, here: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return an item with the members that STAC requires: a time, and a box only with a geometry."""
    item = {name: value for name, value in found.items() if name != "description"}
    assets = {name: dict(asset) for name, asset in found.get("assets", {}).items()}
    if (files := _files(collection)) is not None and "default" in assets:
        end = next((each for each in files[1] if Path(f"{files[0]}/{path}{each}").exists()), "")
        assets["default"] |= {"href": f"{here}{end}", "type": _media_type(f"{path}{end}"), "roles": ["data"]}
        item |= {} if item.get("geometry") else _place_of(Path(f"{files[0]}/{path}{end}"))
    for asset in assets.values():
        if str(asset["href"]).startswith("./"):
            asset["href"] = f"{here.rpartition('/')[0]}/{quote(asset['href'].removeprefix('./'))}"
    properties = dict(item.get("properties") or {})
    if not properties.get("datetime") and not {"start_datetime", "end_datetime"} <= properties.keys():
        properties["datetime"] = next((each["created"] for each in assets.values() if "created" in each), None)
    if item.get("bbox") is None:
        item.pop("bbox", None)
    return {**item, "geometry": item.get("geometry"), "properties": properties, "assets": assets}


def _place_of(file: Path) -> dict[str, Any]:
    """Return the box of a raster in degrees and as a geometry, empty for another file; pygeoapi needs fiona for it."""
    try:
        with rasterio.open(file) as source:
            if source.crs is None:
                return {}
            edges = [round(edge, _PLACES) for edge in transform_bounds(source.crs, "EPSG:4326", *source.bounds)]
    except (RasterioError, OSError):
        return {}
    if not all(map(math.isfinite, edges)):
        return {}
    west, south, east, north = edges
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"bbox": edges, "geometry": {"type": "Polygon", "coordinates": [ring]}}


def _media_type(name: str) -> str:
    known = _TYPES.get(Path(name).suffix.lower())
    return known or mimetypes.guess_type(name, strict=False)[0] or "application/octet-stream"


def _steps(place: str, collection: Collection | None, path: str) -> list[tuple[str, str | None]]:
    """Return the breadcrumbs of a page: titles with addresses, the last one without."""
    steps: list[tuple[str, str | None]] = [(noted("Catalog"), f"{place}?f=html")]
    if collection is not None:
        here = f"{place}/{quote(collection.id)}"
        steps.append((collection.title, f"{here}?f=html"))
        for part in filter(None, path.split("/")):
            here = f"{here}/{quote(part)}"
            steps.append((part, f"{here}?f=html"))
    return [*steps[:-1], (steps[-1][0], None)]


_READ = OnStac(Action.READ_ITEMS, "collection_id", STAC)
_ENTRY = for_foreign(get_entry, "stac")
routes = [
    GuardedRoute("/stac", get_catalog, needs=NOTHING, threads="light"),
    GuardedRoute("/stac/{collection_id}", no_such_part, needs=_READ, threads="light", foreign=_ENTRY),
    GuardedRoute("/stac/{collection_id}/{path:path}", no_such_part, needs=_READ, threads="light", foreign=_ENTRY),
]
