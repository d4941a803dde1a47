"""Records as JSON-LD after DCAT-AP 3: a dataset for each, and the catalogue of all."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import shapely
from shapely.geometry import shape

from routes.pages.respond import OGC
from routes.records.record import ORDER, license_of
from routes.resources import Collection, Resources

PROFILE_LINK = '<http://data.europa.eu/r5r/>; rel="profile"'
"""The header that names the profile."""
CONTEXT: Mapping[str, str] = {
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "gsp": "http://www.opengis.net/ont/geosparql#",
    "vcard": "http://www.w3.org/2006/vcard/ns#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
_ENVIRONMENT = "http://publications.europa.eu/resource/authority/data-theme/ENVI"
"""The theme of the EU's portals that land cover has."""
_MEDIA_TYPES = "https://www.iana.org/assignments/media-types"
_DISTRIBUTED = {
    "items", "enclosure", ORDER, f"{OGC}/coverage", f"{OGC}/map", f"{OGC}/tilesets-map", f"{OGC}/tilesets-vector",
}  # fmt: skip
_DAY = len("2023-12-31")


def catalogue_of(resources: Resources, collection: Collection, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the catalogue with these records, which are GeoJSON."""
    metadata = resources.api.config["metadata"]
    return {
        "@context": CONTEXT,
        "@id": collection.url,
        "@type": "dcat:Catalog",
        "dct:title": _text(resources, collection.title),
        "dct:description": _text(resources, str(collection.configured["description"])),
        "dct:publisher": _publisher(metadata["provider"]),
        "dct:license": _at(license_of(resources, None)["href"]),
        "foaf:homepage": _at(f"{resources.url}/"),
        "dcat:dataset": [_dataset(resources, each) for each in records],
    }


def dataset_of(resources: Resources, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record, which is GeoJSON, as a dataset."""
    return {"@context": CONTEXT, **_dataset(resources, record)}


def _dataset(resources: Resources, record: Mapping[str, Any]) -> dict[str, Any]:
    metadata, properties = resources.api.config["metadata"], record["properties"]
    links = {name: [each["href"] for each in record["links"] if each["rel"] == name] for name in ("self", "license")}
    return {
        "@id": links["self"][0].partition("?")[0],
        "@type": "dcat:Dataset",
        "dct:identifier": record["id"],
        "dct:title": _text(resources, properties["title"]),
        "dct:description": _text(resources, properties["description"]),
        "dcat:keyword": [_text(resources, each) for each in properties["keywords"]],
        "dct:publisher": _publisher(metadata["provider"]),
        "dcat:contactPoint": _contact(metadata["contact"]),
        "dcat:landingPage": {"@id": f"{links['self'][0].partition('?')[0]}?f=html", "@type": "foaf:Document"},
        **({"dcat:theme": [_at(_ENVIRONMENT)]} if "themes" in properties else {}),
        **({"dct:rights": _rights(resources, properties["rights"])} if "rights" in properties else {}),
        **_place(record["geometry"]),
        **_period(record["time"]),
        "dcat:distribution": list(_distributions(resources, record, links["license"][0])),
    }


def _distributions(resources: Resources, record: Mapping[str, Any], licence: str) -> Iterator[dict[str, Any]]:
    for each in record["links"]:
        if each["rel"] not in _DISTRIBUTED or each["type"] == "text/html":
            continue
        yield {
            "@type": "dcat:Distribution",
            "dct:title": _text(resources, each["title"]),
            "dcat:accessURL": _at(each["href"]),
            "dcat:mediaType": _at(f"{_MEDIA_TYPES}/{each['type'].partition(';')[0]}"),
            "dct:license": _at(licence),
            **({"dcat:downloadURL": _at(each["href"])} if each["rel"] == "enclosure" else {}),
            **({"dcat:byteSize": _typed(each["length"], "xsd:nonNegativeInteger")} if "length" in each else {}),
        }


def _place(geometry: Mapping[str, Any] | None) -> dict[str, Any]:
    if geometry is None:
        return {}
    box = shapely.to_wkt(shapely.envelope(shape(geometry)), rounding_precision=-1)
    return {"dct:spatial": {"@type": "dct:Location", "dcat:bbox": _typed(box, "gsp:wktLiteral")}}


def _period(time: Mapping[str, Any] | None) -> dict[str, Any]:
    ends = dict(zip(("dcat:startDate", "dcat:endDate"), time["interval"] if time else (), strict=False))
    known = {name: _typed(end[:_DAY], "xsd:date") for name, end in ends.items() if end != ".."}
    return {"dct:temporal": {"@type": "dct:PeriodOfTime", **known}} if known else {}


def _publisher(provider: Mapping[str, Any]) -> dict[str, Any]:
    is_address = str(provider["url"]).startswith(("http://", "https://"))
    named = {"@id": provider["url"]} if is_address else {}
    return {**named, "@type": "foaf:Agent", "foaf:name": provider["name"]}


def _contact(contact: Mapping[str, Any]) -> dict[str, Any]:
    email = {"vcard:hasEmail": _at(f"mailto:{contact['email']}")} if contact.get("email") else {}
    page = {"vcard:hasURL": _at(contact["url"])} if contact.get("url") else {}
    return {"@type": "vcard:Kind", "vcard:fn": contact["name"], **email, **page}


def _rights(resources: Resources, text: str) -> dict[str, Any]:
    return {"@type": "dct:RightsStatement", "dct:description": _text(resources, text)}


def _text(resources: Resources, text: str) -> dict[str, str]:
    return {"@value": text, "@language": resources.language}


def _typed(value: object, kind: str) -> dict[str, str]:
    return {"@value": str(value), "@type": kind}


def _at(address: str) -> dict[str, str]:
    return {"@id": address}
