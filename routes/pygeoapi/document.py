"""What a collection's document says of providers that are not ours; they may be slow, so they are not asked."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from pygeoapi.crs import get_supported_crs_list

from plugins.crs import CRS84
from routes.features.foreign import foreign_forms
from routes.http.media_types import COVERAGE_JSON, SCHEMA
from routes.pages.respond import OGC, link
from routes.pages.translator import noted
from routes.resources import Collection

_NAMES = {"json": "GeoJSON", "html": "a page", "jsonld": "JSON-LD"}
_ITEMS_AS, _COVERAGE_AS = noted("The items as %(form)s"), noted("The coverage as %(form)s")


def foreign_members(collection: Collection) -> dict[str, Any]:
    """Return the members of the document that the kinds of its foreign providers have."""
    if "feature" in collection.foreign:
        definition = collection.definition("feature")
        systems = get_supported_crs_list(dict(definition))
        return {"itemType": "feature", "crs": systems, "storageCrs": definition.get("storage_crs", CRS84.uri)}
    if "record" in collection.foreign:
        return {"itemType": "record"}
    return {"dataType": "coverage", "layerDataType": "Coverage"} if "coverage" in collection.foreign else {}


def foreign_links(collection: Collection, place: str) -> Iterator[dict[str, Any]]:
    """Yield the links to what pygeoapi's handlers answer."""
    kinds = collection.foreign
    if kinds & {"feature", "record", "coverage"}:
        yield link(f"{place}/schema", f"{OGC}/schema", SCHEMA, "The schema of the data")
    if kinds & {"feature", "record"}:
        yield from _item_links(collection, place)
    if "coverage" in kinds:
        yield link(f"{place}/coverage?f=json", f"{OGC}/coverage", COVERAGE_JSON, "The coverage as CoverageJSON")
        if native := collection.definition("coverage").get("format"):
            href = f"{place}/coverage?f={quote(native['name'])}"
            yield link(href, f"{OGC}/coverage", native["mimetype"], title=_COVERAGE_AS % {"form": native["name"]})
    if "map" in kinds:
        drawn = collection.definition("map")["format"]
        yield link(f"{place}/map?f={quote(drawn['name'])}", f"{OGC}/map", drawn["mimetype"], "A map")
    if "tile" in kinds:
        image = collection.definition("tile")["format"]["mimetype"].startswith("image/")
        yield link(f"{place}/tiles", f"{OGC}/tilesets-{'map' if image else 'vector'}", "application/json", "Its tiles")


def _item_links(collection: Collection, place: str) -> Iterator[dict[str, Any]]:
    if "record" in collection.foreign:
        yield link(place, f"{OGC}/ogc-catalog", "application/json", "The catalogue of records")
    yield link(f"{place}/queryables", f"{OGC}/queryables", SCHEMA, "What items can be asked for by")
    for form, media_type in foreign_forms(collection).items():
        query = "" if form == "json" else f"?f={form}"
        yield link(f"{place}/items{query}", "items", media_type, title=_ITEMS_AS % {"form": _NAMES.get(form, form)})
