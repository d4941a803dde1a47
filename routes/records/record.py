"""The records that a caller may discover: one of each product, and of the collections that the operator names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import shapely
from shapely.geometry import mapping

from auth.access import Access, Action
from auth.identity import current_identity
from plugins.crs import CRS84, Box, Interval, boxes_of, interval_of
from products.catalogue import Product
from routes.common.about import listed_products
from routes.common.collection_document import describe
from routes.http.media_types import COG, COVERAGE_JSON, GEOJSON, GEOTIFF, JSON_LD
from routes.pages.respond import OGC, link
from routes.resources import Collection, Resources, ends_of, is_listed

CONFORMS_TO = "http://www.opengis.net/spec/ogcapi-records-1/1.0/conf/record-core"
INSPIRE = "http://inspire.ec.europa.eu/theme"
TYPE = "dataset"
"""The type of every record."""
ORDER = f"{OGC}/execute"
"""The relation of the link by which a product is ordered for an area."""
_ORDERED = "extract-product"
_NEEDED: Mapping[str, Action] = {
    f"{OGC}/coverage": Action.READ_COVERAGE,
    f"{OGC}/map": Action.READ_MAP,
    f"{OGC}/legend": Action.READ_MAP,
    "preview": Action.READ_MAP,
    f"{OGC}/tilesets-map": Action.READ_TILES,
    f"{OGC}/tilesets-vector": Action.READ_TILES,
    "items": Action.READ_ITEMS,
    "enclosure": Action.DOWNLOAD,
}
"""By the relation of a collection's link what a caller must be allowed, so that a record has it too."""
_NAMES: Mapping[str, str] = {
    COG: "Cloud-Optimized GeoTIFF",
    GEOTIFF: "GeoTIFF",
    COVERAGE_JSON: "CoverageJSON",
    GEOJSON: "GeoJSON",
    JSON_LD: "JSON-LD",
    "application/geopackage+sqlite3": "GeoPackage",
    "application/zip": "ZIP with the data and its metadata (ISO 19139, STAC)",
}


@dataclass(frozen=True, slots=True)
class Record:
    """What a caller may discover of a product, or of a collection that has no product.

    `collections` are those that show it; the first has its texts and its extent, which is `boxes` and `interval`.
    """

    id: str
    title: str
    description: str
    keywords: tuple[str, ...]
    collections: tuple[Collection, ...]
    boxes: tuple[Box, ...]
    interval: tuple[str | None, str | None] | None
    product: Product | None = None

    @property
    def external_ids(self) -> list[dict[str, str]]:
        """The identifiers elsewhere on this server: of the product and of its collections."""
        of_product = [{"scheme": "product", "value": self.product.id}] if self.product else []
        return [*of_product, *({"scheme": "collection", "value": each.id} for each in self.collections)]

    @property
    def time(self) -> Interval | None:
        """The first and the last instant, None where no time is known."""
        return self.interval and interval_of("/".join(each or ".." for each in self.interval))


def is_allowed(resources: Resources, action: Action, name: str, *, whole: bool = False) -> bool:
    """Return whether the caller may do this to a collection or process; with `whole`, to all of it."""
    verdict = resources.policy(current_identity.get(), Access(action, name))
    return verdict.allowed and not (whole and (verdict.rows is not None or verdict.area is not None))


def records_of(resources: Resources, catalogue: Collection) -> Iterator[Record]:
    """Yield the records of a collection of records that the caller may discover; call it in a thread.

    They are of the listed products in the order of the configuration, then of the named collections.
    """
    listed = {each.id: each for each in resources.listed_collections()}
    for product in listed_products(resources):
        shown = [listed[name] for name in product.collections if name in listed]
        yield _record(resources, product.id, shown or [resources.collections[product.collections[0]]], product)
    for name in catalogue.definition("record")["data"].get("collections") or ():
        if name in listed:
            yield _record(resources, name, [listed[name]])


def _record(
    resources: Resources, id_: str, collections: Sequence[Collection], product: Product | None = None
) -> Record:
    first = collections[0]
    document = describe(resources, first)
    extent = document.get("extent") or {}
    bbox = next(iter((extent.get("spatial") or {}).get("bbox") or ()), None)
    interval = next(iter((extent.get("temporal") or {}).get("interval") or ()), None)
    if product is not None or interval == [None, None]:
        interval = ends_of(product.year, product.year) if product else None
    keywords = dict.fromkeys(str(word) for each in collections for word in each.configured.get("keywords") or ())
    return Record(
        id_,
        product.title if product else first.title,
        (product.abstract if product else "") or str(first.configured["description"]),
        tuple(keywords),
        tuple(collections),
        boxes_of(bbox, CRS84) if bbox else (),
        interval and (interval[0], interval[1]),
        product,
    )


def document_of(resources: Resources, catalogue: Collection, record: Record) -> dict[str, Any]:
    """Return a record as GeoJSON, with links to what the caller may read of it."""
    metadata, place = resources.api.config["metadata"], f"{catalogue.url}/items/{quote(record.id, safe='')}"
    distributions = list(_distributions(resources, record))
    product = record.product
    properties: dict[str, Any] = {
        "type": TYPE,
        "title": record.title,
        "description": record.description,
        "keywords": list(record.keywords),
        "language": {"code": resources.language},
        "externalIds": record.external_ids,
        "formats": _formats(distributions),
        "contacts": [contact_of(metadata["contact"], metadata["provider"])],
        "license": "other",
    }
    if product is not None:
        concept = {"id": "lc", "title": "Land cover", "url": f"{INSPIRE}/lc"}
        properties["themes"] = [{"concepts": [concept], "scheme": INSPIRE}]
        properties["rights"] = product.attribution
    return {
        "type": "Feature",
        "id": record.id,
        "conformsTo": [CONFORMS_TO],
        "time": {"interval": [each or ".." for each in record.interval]} if record.interval else None,
        "geometry": _geometry(record.boxes),
        "properties": properties,
        "links": [
            link(f"{place}?f=json", "self", GEOJSON, "This record"),
            link(f"{place}?f=html", "alternate", "text/html", "This record as a page"),
            link(f"{place}?f=jsonld", "alternate", JSON_LD, "This record as DCAT-AP"),
            link(catalogue.url, "collection", "application/json", catalogue.title),
            *_about(resources, record),
            *distributions,
            license_of(resources, product),
        ],
    }


def license_of(resources: Resources, product: Product | None) -> dict[str, Any]:
    """Return the link to the licence of a product, or else to that of the server."""
    if product is not None and product.licence.startswith(("http://", "https://")):
        return link(product.licence, "license", "text/html", "Licence")
    known = resources.api.config["metadata"]["license"]
    return link(known["url"], "license", "text/html", known["name"])


def _geometry(boxes: Sequence[Box]) -> dict[str, Any] | None:
    if not boxes:
        return None
    return dict(mapping(shapely.union_all([shapely.box(*each.bbox) for each in boxes])))


def _about(resources: Resources, record: Record) -> Iterator[dict[str, Any]]:
    """Yield the links to what describes it besides: the product, each collection."""
    if record.product is not None:
        yield link(f"{resources.url}/products/{record.product.id}", "describedby", "application/json", "The product")
    for each in record.collections:
        yield link(each.url, "related", "application/json", f"The collection {each.title}")


def _distributions(resources: Resources, record: Record) -> Iterator[dict[str, Any]]:
    """Yield the links by which the caller may get the data, or a picture of it."""
    for collection in record.collections:
        for entry in describe(resources, collection)["links"]:
            action = _NEEDED.get(entry["rel"])
            if action and is_allowed(resources, action, collection.id, whole=action is Action.DOWNLOAD):
                yield {**entry, "title": f"{collection.title}: {entry['title']}"}
    if record.product is not None and is_ordered(resources):
        href = f"{resources.url}/processes/{_ORDERED}/execution"
        yield link(href, ORDER, "application/zip", "Order it for an area")


def is_ordered(resources: Resources) -> bool:
    """Return whether the caller may order a product for an area."""
    seen = resources.api.config["resources"]
    return _ORDERED in seen and is_listed(seen[_ORDERED]) and is_allowed(resources, Action.EXECUTE, _ORDERED)


def _formats(distributions: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the formats of the data, without those of pages, pictures and descriptions."""
    types = [each["type"] for each in distributions if each["rel"] in {ORDER, "enclosure", "items", f"{OGC}/coverage"}]
    return [{"name": _NAMES.get(each, each), "mediaType": each} for each in dict.fromkeys(types) if each != "text/html"]


_ADDRESS = {
    "deliveryPoint": "address",
    "city": "city",
    "administrativeArea": "stateorprovince",
    "postalCode": "postalcode",
    "country": "country",
}
_PHONES = (("main", "phone"), ("fax", "fax"))


def contact_of(contact: Mapping[str, Any], provider: Mapping[str, Any]) -> dict[str, Any]:
    """Return whom to ask, as OGC API - Records, Part 1, writes a contact."""
    address: dict[str, Any] = {member: str(contact[name]) for member, name in _ADDRESS.items() if name in contact}
    if "deliveryPoint" in address:
        address["deliveryPoint"] = [address["deliveryPoint"]]
    phones = [{"type": kind, "value": str(contact[name])} for kind, name in _PHONES if name in contact]
    texts = {"position": "position", "hoursOfService": "hours", "contactInstructions": "instructions"}
    return {
        "name": contact["name"],
        "organization": provider["name"],
        "links": [{"rel": "about", "type": "text/html", "href": provider["url"]}],
        **{member: contact[name] for member, name in texts.items() if name in contact},
        **({"emails": [{"value": contact["email"]}]} if "email" in contact else {}),
        **({"roles": [contact["role"]]} if "role" in contact else {}),
        **({"phones": phones} if phones else {}),
        **({"addresses": [address]} if address else {}),
    }
