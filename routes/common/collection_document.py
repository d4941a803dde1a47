"""What is said of one collection."""

import json
import logging
from collections.abc import Iterator
from copy import copy
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pygeoapi.api import API, describe_collections

from plugins.coverage_netcdf import HAS_NETCDF
from plugins.coverages import CoverageProvider
from plugins.features import FeatureProvider
from products.sources import is_one_file
from routes.features.download import AS_FILES, STREAMED
from routes.http.media_types import COG, COVERAGE_JSON, GEOJSON, GEOTIFF, JSON_LD, NETCDF, SCHEMA
from routes.pages.respond import OGC, both_forms, link
from routes.pages.translator import noted
from routes.pygeoapi.ask import ask
from routes.pygeoapi.document import foreign_links, foreign_members
from routes.resources import FAILURES, Collection, Resources, ends_of

_ALL_ITEMS = noted("All items as %(form)s")
_ONE_FILE, _ONE_FILE_OF = noted("The whole as one file"), noted("The whole as one file, %(year)s")
_LOGGER = logging.getLogger(__name__)


def describe(resources: Resources, collection: Collection) -> dict[str, Any]:
    """Return the collection's document, which is shared and must not be altered; call it in a thread.

    It is made anew where a file has changed. A broken collection is described by its configuration alone, without a
    link to data.
    """
    return described(resources, collection)[0]


def described(resources: Resources, collection: Collection) -> tuple[dict[str, Any], bytes]:
    """Return what `describe` does, also as JSON."""
    versions, known = collection.versions(), collection.described
    if known and versions is not None and known[0] == versions:
        return known[1:]
    if collection.failure() is None:
        try:
            document = _described(resources, collection)
        except FAILURES:
            _LOGGER.exception("collection %s cannot be described", collection.id)
        else:
            encoded = _encoded(document)
            collection.described = (versions, document, encoded)
            return document, encoded
    document = _broken(resources, collection)
    return document, _encoded(document)


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _described(resources: Resources, collection: Collection) -> dict[str, Any]:
    document = ask(_alone(resources.api, collection), describe_collections, collection.id)
    place = f"{resources.url}/collections/{quote(collection.id)}"
    for name in ("crs", "storageCrs", "itemType"):
        document.pop(name, None)
    _write_times(document)
    document["links"] = [*_general(resources.url, place), *(collection.configured.get("links") or ())]
    ours = collection.kinds - collection.foreign
    if "feature" in ours:
        _add_feature(collection.features(), document, place)
    if "coverage" in ours:
        _add_coverage(collection.coverage(), document, place)
    if "record" in ours:
        _add_records(collection, document, place)
    document |= foreign_members(collection)
    document["links"] += foreign_links(collection, place)
    return document


def _alone(api: API, collection: Collection) -> API:
    """Return an API of this collection alone, without its links, and of our providers alone.

    To describe one, pygeoapi looks at all collections, asks the network for the size of what a link encloses, and makes
    providers; of a collection that has none of ours it is asked as if for features, for which it makes none.
    Formatters are left out, as the links are ours.
    """
    definitions = collection.configured["providers"]
    ours = [each for each in definitions if each["type"] not in collection.foreign]
    providers = ours or [{**definitions[0], "type": "feature"}]
    alone = copy(api)
    alone.config = {
        **api.config,
        "resources": {collection.id: {**collection.configured, "links": [], "formatters": [], "providers": providers}},
    }
    return alone


def _write_times(document: dict[str, Any]) -> None:
    """Write times of UTC with the Z that the standards' examples and older clients have."""
    if temporal := document["extent"].get("temporal"):
        temporal["interval"] = [
            [instant and instant.replace("+00:00", "Z") for instant in interval] for interval in temporal["interval"]
        ]


def _written(instant: datetime) -> str:
    return instant.isoformat(timespec="seconds").replace("+00:00", "Z")


def _broken(resources: Resources, collection: Collection) -> dict[str, Any]:
    configured = collection.configured
    place = f"{resources.url}/collections/{quote(collection.id)}"
    document = {
        "id": collection.id,
        "title": configured.get("title", collection.id),
        "description": f"{configured.get('description', '')} (It cannot be read at present.)".lstrip(),
        "links": [*_general(resources.url, place), *(configured.get("links") or ())],
    }
    if spatial := (configured.get("extents") or {}).get("spatial"):
        bbox = spatial["bbox"]
        document["extent"] = {"spatial": {**spatial, "bbox": bbox if isinstance(bbox[0], list) else [bbox]}}
    return document


def _general(url: str, place: str) -> list[dict[str, Any]]:
    return [*both_forms(place), link(f"{url}/", "root", "application/json", "The start of this server")]


def _add_feature(provider: FeatureProvider, document: dict[str, Any], place: str) -> None:
    """GDAL puts `/{id}` behind the GeoJSON link, so that has no query string."""
    document["itemType"] = "feature"
    document["crs"] = list(provider.crs_list)
    document.pop("storageCrs", None)
    if provider.storage_crs_uri:
        document["storageCrs"] = provider.storage_crs_uri
    if "temporal" not in document["extent"] and (extent := provider.time_extent) is not None:
        document["extent"]["temporal"] = {"interval": [[instant and _written(instant) for instant in extent]]}
    document["links"] += [
        link(f"{place}/items", "items", GEOJSON, "The items as GeoJSON"),
        link(f"{place}/items?f=html", "items", "text/html", "The items as a page"),
        link(f"{place}/items?f=jsonld", "items", JSON_LD, "The items as JSON-LD"),
        *(
            link(f"{place}/items?f={form}", "items", media_type, title=_ALL_ITEMS % {"form": form})
            for form, media_type in {**STREAMED, **AS_FILES}.items()
        ),
        link(f"{place}/schema", f"{OGC}/schema", SCHEMA, "The schema of the items"),
        link(f"{place}/tiles", f"{OGC}/tilesets-vector", "application/json", "Vector tiles of the items"),
        link(f"{place}/queryables", f"{OGC}/queryables", SCHEMA, "What items can be asked for by"),
        link(f"{place}/sortables", f"{OGC}/sortables", SCHEMA, "What items can be ordered by"),
    ]


def _add_records(collection: Collection, document: dict[str, Any], place: str) -> None:
    """Add the members that OGC API Records, Part 1, asks of a catalogue."""
    document |= {"type": "Collection", "itemType": "record", "keywords": collection.configured["keywords"]}
    document["links"] += [
        link(place, f"{OGC}/ogc-catalog", "application/json", "The catalogue of records"),
        link(f"{place}/items", "items", GEOJSON, "The records as GeoJSON"),
        link(f"{place}/items?f=html", "items", "text/html", "The records as a page"),
        link(f"{place}/items?f=jsonld", "items", JSON_LD, "The records as JSON-LD after DCAT-AP"),
        link(f"{place}/schema", f"{OGC}/schema", SCHEMA, "The schema of the records"),
    ]


def _add_coverage(provider: CoverageProvider, document: dict[str, Any], place: str) -> None:
    """GDAL asks even coverages for items, but for `layerDataType`; its maps need `scaleDenominator`."""
    document["dataType"] = "coverage"
    document["layerDataType"] = "Coverage"
    document["crs"] = list(provider.crs_list)
    document["storageCrs"] = provider.storage_crs_uri
    document["scaleDenominator"] = provider.scale_denominator
    document["extent"]["spatial"]["storageCrsBbox"] = [provider.whole.as_written]
    document["links"] += list(_coverage_links(provider, place))
    if provider.years:
        years = list(provider.years)
        grid = {"cellsCount": len(years), "coordinates": [ends_of(year, year)[0] for year in years]}
        document["extent"]["temporal"] = {"interval": [list(ends_of(years[0], years[-1]))], "grid": grid}


def _coverage_links(provider: CoverageProvider, place: str) -> Iterator[dict[str, Any]]:
    yield link(f"{place}/coverage?f=tiff", f"{OGC}/coverage", GEOTIFF, "The coverage as GeoTIFF")
    yield link(f"{place}/coverage?f=json", f"{OGC}/coverage", COVERAGE_JSON, "The coverage as CoverageJSON")
    if HAS_NETCDF:
        yield link(f"{place}/coverage?f=netcdf", f"{OGC}/coverage", NETCDF, "The coverage as NetCDF")
    yield link(f"{place}/coverage/domainset", f"{OGC}/coverage-domainset", "application/json", "Its grid")
    yield link(f"{place}/coverage/rangetype", f"{OGC}/coverage-rangetype", "application/json", "Its values")
    yield link(f"{place}/map?f=png", f"{OGC}/map", "image/png", "A map in its default style")
    yield link(f"{place}/map/tiles", f"{OGC}/tilesets-map", "application/json", "Map tiles in its default style")
    yield link(f"{place}/styles", f"{OGC}/styles", "application/json", "Its styles")
    yield link(f"{place}/styles/default/legend?f=png", f"{OGC}/legend", "image/png", "The legend")
    yield link(f"{place}/map?width=400", "preview", "image/png", "A small picture")
    yield link(f"{place}/schema", f"{OGC}/schema", SCHEMA, "The schema of the pixels")
    named = {data: _ONE_FILE_OF % {"year": year} for year, data in provider.years.items()}
    for data, title in (named or {provider.data: _ONE_FILE}).items():
        if not is_one_file(data):
            continue
        source = Path(data)
        yield link(f"{place}/files/{quote(source.name)}", "enclosure", COG, title, length=source.stat().st_size)
