"""Items of foreign providers, answered by pygeoapi's handlers; and the formats of all items."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from plugins.features import Feature
from routes.http.media_types import GEOJSON, JSON_LD
from routes.pages.respond import respond
from routes.pygeoapi.handlers import Handled, allow, formatters_of, handle, known_of
from routes.query.parameters import START_INDEX, negotiate, read_page
from routes.resources import Collection, collection_of

ITEM_FORMS = {"json": GEOJSON, "html": "text/html", "jsonld": JSON_LD}
"""The media types of an item by value of `f`."""
_CONTEXT = {
    "schema": "https://schema.org/",
    "type": "@type",
    "features": "schema:itemListElement",
    "FeatureCollection": "schema:itemList",
}
FOREIGN_PARAMETERS = (
    "bbox", "bbox-crs", "crs", "datetime", "filter", "filter-crs", "filter-lang", "limit", "offset", "properties", "q",
    "resulttype", "skipGeometry", "sortby",
)  # fmt: skip
"""The parameters that pygeoapi's handler of items reads."""


def get_foreign_items(request: Request) -> Response:
    """Answer with a page of items of a foreign provider: GeoJSON, JSON-LD, CSV or HTML."""
    collection = collection_of(request)
    form = negotiate(request, foreign_forms(collection))
    known = known_of(collection, "feature" if "feature" in collection.foreign else "record")
    allow(request, *FOREIGN_PARAMETERS, START_INDEX.name, fields=known.fields, extra=known.extra)
    page = read_page(request)
    first = {"offset": str(page.offset)} if START_INDEX.name in request.query_params else {}
    if form not in {"html", "jsonld"}:
        return _foreign(handle(request, "itemtypes.get_collection_items", form=form, **first), form)
    handled = handle(request, "itemtypes.get_collection_items", form="json", **first)
    if form == "jsonld":
        written = linked(collection, handled.document()["features"], known.uri_field)
        return Response(written, headers={"Vary": "Accept", **handled.headers}, media_type=JSON_LD)
    document = {"numberMatched": "an unknown number", **handled.document()}
    document.setdefault("numberReturned", len(document["features"]))
    names = dict.fromkeys(name for each in document["features"] for name in each.get("properties") or {})
    for feature in document["features"]:
        feature["properties"] = {**dict.fromkeys(names), **(feature.get("properties") or {})}
    shown = {**shown_of(collection), "names": list(names), "first": page.offset + 1, "address": address_of}
    return _foreign_page(request, document, handled, page="items.html", shown=shown)


def get_foreign_item(request: Request) -> Response:
    """Answer with one item of a foreign provider."""
    form = negotiate(request, ITEM_FORMS)
    allow(request, "crs")
    item_id: str = request.path_params["item_id"]
    asked = "json" if form == "html" else form
    handled = handle(request, "itemtypes.get_collection_item", item_id, form=asked)
    if form != "html":
        return _foreign(handled, form)
    return _foreign_page(request, handled.document(), handled, page="item.html", shown=shown_of(collection_of(request)))


def foreign_forms(collection: Collection) -> dict[str, str]:
    """Return the media types of items by the values of `f`; features have those of pygeoapi's formatters too.

    Its handler needs a provider of features for a formatter, so records have none.
    """
    formatters = formatters_of(collection) if "feature" in collection.foreign else {}
    return {**ITEM_FORMS, **formatters}


def _foreign(handled: Handled, form: str) -> Response:
    return handled.response(GEOJSON if form == "json" else None, headers={"Vary": "Accept"})


def _foreign_page(
    request: Request, document: dict[str, Any], handled: Handled, *, page: str, shown: Mapping[str, Any]
) -> Response:
    for entry in document["links"]:
        entry["href"] = entry["href"].replace("?f=json", "?f=html")
    return respond(request, document, page=page, media_type=GEOJSON, headers=handled.headers, only_page=shown)


def linked(collection: Collection, features: Sequence[Feature], uri_field: str | None = None) -> str:
    """Return a page as JSON-LD like pygeoapi's template, which fails without items and for ids with a quote."""
    document = {
        "@context": [_CONTEXT],
        "type": "FeatureCollection",
        "@id": collection.url,
        "features": [{"@type": "schema:Place", **_identifier(each, collection.url, uri_field)} for each in features],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _identifier(feature: Feature, place: str, uri_field: str | None) -> dict[str, str]:
    named = (feature.get("properties") or {}).get(uri_field)
    if isinstance(named, str) and named.startswith(("http://", "https://")):
        return {"@id": named}
    return {} if feature.get("id") is None else {"@id": f"{place}/items/{address_of(feature['id'])}"}


def address_of(item_id: Any) -> str:
    """Return the id as one segment of a path, also with a slash."""
    return quote(str(item_id), safe="")


def shown_of(collection: Collection) -> dict[str, Any]:
    """Return the collection's members for the templates."""
    return {"collection": collection.title, "place": collection.url}
