"""The items of a collection of records: a search over them, and one of them; as GeoJSON, page or DCAT-AP."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.policy import refuse_restriction
from plugins.crs import CRS84, Box, Interval, boxes_meet, intervals_meet
from routes.features.foreign import address_of
from routes.http.media_types import GEOJSON, JSON_LD
from routes.http.problem import NOT_FOUND, Problem, bad_parameter
from routes.pages.respond import link, page_links, respond
from routes.query.parameters import (
    BBOX,
    DATETIME,
    LIMIT,
    NAMES,
    OFFSET,
    TEXT,
    Parameter,
    allow_parameters,
    negotiate,
    read_boxes,
    read_page,
)
from routes.records.dcat import PROFILE_LINK, catalogue_of, dataset_of
from routes.records.record import TYPE, Record, document_of, records_of
from routes.resources import Collection, collection_of, resources_of

RECORD_FORMS = {"json": GEOJSON, "html": "text/html", "jsonld": JSON_LD}
"""The media types of records by the values of `f`."""
_MOST_TERMS = 32


def _terms(text: str) -> tuple[str, ...]:
    """Return the terms in lower case with single spaces. Raises ValueError."""
    terms = tuple(" ".join(each.split()).casefold() for each in text.split(","))
    if len(terms) > _MOST_TERMS or not all(terms):
        raise ValueError(f"allowed: 1 to {_MOST_TERMS} terms with commas between them, none empty")
    return terms


Q = Parameter(
    "q",
    "Terms of which a record has one in title, description or keywords; commas part them, case does not matter.",
    TEXT,
    _terms,
)
TYPES = Parameter("type", "The types of records; all are `dataset`.", NAMES)
IDS = Parameter("ids", "The ids of records.", NAMES)
EXTERNAL_IDS = Parameter(
    "externalIds",
    "Identifiers elsewhere: `product:ID`, `collection:ID`, or the id alone, or `product:` for any.",
    NAMES,
)
EXTERNAL_ID = Parameter("externalId", "The same as `externalIds`, for older clients.", NAMES, deprecated=True)
RECORD_PARAMETERS = (BBOX, DATETIME, LIMIT, OFFSET, Q, TYPES, IDS, EXTERNAL_IDS, EXTERNAL_ID)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is searched for; None is no condition."""

    boxes: tuple[Box, ...] | None
    time: Interval | None
    terms: tuple[str, ...] | None
    types: tuple[str, ...] | None
    ids: tuple[str, ...] | None
    external_ids: tuple[str, ...] | None

    def meets(self, record: Record) -> bool:
        """Return whether a record is among the wanted ones; one without place or time is anywhere and at any time."""
        return (
            (self.ids is None or record.id in self.ids)
            and (self.types is None or TYPE in self.types)
            and (self.external_ids is None or any(_is_named(record, each) for each in self.external_ids))
            and (self.time is None or record.time is None or intervals_meet(self.time, record.time))
            and (self.boxes is None or not record.boxes or boxes_meet(self.boxes, record.boxes))
            and (self.terms is None or has_terms(self.terms, record.title, record.description, *record.keywords))
        )


def _is_named(record: Record, wanted: str) -> bool:
    scheme, colon, value = wanted.rpartition(":")
    return any(
        (not colon or each["scheme"] == scheme) and (each["value"] == value or (colon and not value))
        for each in record.external_ids
    )


def has_terms(terms: Sequence[str], *texts: str) -> bool:
    """Return whether one of the terms is in one of the texts; they are in lower case, with single spaces."""
    known = [" ".join(text.split()).casefold() for text in texts]
    return any(term in text for term in terms for text in known)


def get_records(request: Request) -> Response:
    """Answer with a page of the records that the caller may discover; as JSON-LD it is the catalogue of DCAT-AP."""
    refuse_restriction()
    allow_parameters(request, *RECORD_PARAMETERS)
    collection, resources, form = collection_of(request), resources_of(request), negotiate(request, RECORD_FORMS)
    wanted, page = _wanted(request), read_page(request, default=1_000 if form == "jsonld" else 10)
    found = [each for each in records_of(resources, collection) if wanted.meets(each)]
    shown = [document_of(resources, collection, each) for each in found[page.offset : page.offset + page.limit]]
    if form == "jsonld":
        return _linked(catalogue_of(resources, collection, shown))
    types = {"application/json": GEOJSON}
    links = page_links(request, f"{collection.url}/items", page, len(found))
    document = {
        "type": "FeatureCollection",
        "numberMatched": len(found),
        "numberReturned": len(shown),
        "links": [
            *({**entry, "type": types.get(entry["type"], entry["type"])} for entry in links),
            link(f"{collection.url}/items?f=jsonld", "alternate", JSON_LD, "All records as DCAT-AP"),
            link(collection.url, "collection", "application/json", "The collection"),
        ],
        "features": shown,
    }
    return respond(
        request, document, page="items.html", media_type=GEOJSON, only_page=_table(collection, shown, page.offset + 1)
    )


def _wanted(request: Request) -> _Wanted:
    external_ids, older = EXTERNAL_IDS.of(request), EXTERNAL_ID.of(request)
    if external_ids and older:
        raise bad_parameter(EXTERNAL_ID.name, ",".join(older), f"allowed: {EXTERNAL_IDS.name} or {EXTERNAL_ID.name}")
    return _Wanted(
        read_boxes(request, (CRS84,)),
        DATETIME.of(request),
        Q.of(request),
        TYPES.of(request),
        IDS.of(request),
        external_ids or older,
    )


def _table(collection: Collection, records: Sequence[dict[str, Any]], first: int) -> dict[str, Any]:
    """Return the values of the template: a row for each record, without what is no text."""
    rows = [{**each, "properties": _texts(each)} for each in records]
    names = ["title", "type", "keywords", "time"]
    about = {"collection": collection.title, "place": collection.url, "address": address_of}
    return {**about, "features": rows, "names": names, "first": first}


def _texts(record: dict[str, Any]) -> dict[str, Any]:
    properties, time = record["properties"], record["time"]
    return {
        **{name: value for name, value in properties.items() if isinstance(value, str)},
        "keywords": ", ".join(properties["keywords"]),
        "formats": ", ".join(each["name"] for each in properties["formats"]),
        "time": "/".join(time["interval"]) if time else None,
    }


def get_record(request: Request) -> Response:
    """Answer with one record. Raises Problem 404 for one that the caller may not discover."""
    refuse_restriction()
    allow_parameters(request)
    collection, resources, form = collection_of(request), resources_of(request), negotiate(request, RECORD_FORMS)
    name: str = request.path_params["item_id"]
    found = next((each for each in records_of(resources, collection) if each.id == name), None)
    if found is None:
        detail = f"collection {collection.id!r} has no record {name[:80]!r}"
        raise Problem(HTTPStatus.NOT_FOUND, detail, type_=NOT_FOUND)
    document = document_of(resources, collection, found)
    if form == "jsonld":
        return _linked(dataset_of(resources, document))
    shown = {"properties": _texts(document), "offers": list(_shown(document))}
    shown |= {"collection": collection.title, "place": collection.url}
    return respond(request, document, page="item.html", media_type=GEOJSON, only_page=shown)


def _shown(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the links that a page shows."""
    yield from (each for each in document["links"] if each["rel"] not in {"self", "collection"})


def _linked(document: dict[str, Any]) -> Response:
    return JSONResponse(document, headers={"Vary": "Accept", "Link": PROFILE_LINK}, media_type=JSON_LD)
