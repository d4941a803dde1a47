"""Environmental data retrieval (OGC API EDR), by pygeoapi's handlers."""

from collections.abc import Iterator
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from auth.access import Action
from routes.guard import GuardedRoute, for_foreign, on_collection
from routes.http.media_types import COVERAGE_JSON
from routes.pygeoapi.handlers import allow, formatters_of, handle, known_of, no_such_part
from routes.pygeoapi.size import refuse_large
from routes.query.parameters import negotiate
from routes.resources import collection_of

QUERIES = ("position", "area", "cube", "radius", "trajectory", "corridor", "locations")
_PARAMETERS = (
    "bbox", "coords", "corridor-height", "corridor-width", "crs", "datetime", "height-units", "limit", "parameter-name",
    "width-units", "within", "within-units", "z",
)  # fmt: skip


def get_query(request: Request, query: str) -> Response:
    """Answer with the data at a position, in an area, along a trajectory, …: CoverageJSON, or as a formatter writes."""
    formatters = formatters_of(collection_of(request))
    form = negotiate(request, {"json": COVERAGE_JSON, **formatters})
    allow(request, *_PARAMETERS)
    refuse_large(known_of(collection_of(request), "edr").size.of_query(query, request.query_params), as_json=True)
    place = request.path_params
    asked = [place.get("instance"), query, place.get("location")]
    handled = handle(request, "environmental_data_retrieval.get_collection_edr_query", *asked, form=form)
    return handled.response(headers={"Vary": "Accept"})


def get_instances(request: Request) -> Response:
    """Answer with the instances of the data, or with one."""
    negotiate(request, {"json": "application/json"})
    allow(request)
    if "instances" not in known_of(collection_of(request), "edr").queries:
        return no_such_part(request)
    instance = request.path_params.get("instance")
    named = [] if instance is None else [instance]
    handled = handle(request, "environmental_data_retrieval.get_collection_edr_instances", *named, form="json")
    return handled.response("application/json")


_READ = on_collection(Action.READ_COVERAGE)
_PLACE = "/collections/{collection_id}"
_INSTANCES = for_foreign(get_instances, "edr")


def _queries() -> Iterator[GuardedRoute]:
    for place in (_PLACE, f"{_PLACE}/instances/{{instance}}"):
        for query in QUERIES:
            answered = for_foreign(partial(get_query, query=query), "edr")
            for path in (query, *(["locations/{location}"] if query == "locations" else [])):
                yield GuardedRoute(f"{place}/{path}", no_such_part, needs=_READ, threads="light", foreign=answered)


routes = [
    GuardedRoute(f"{_PLACE}/instances", no_such_part, needs=_READ, threads="light", foreign=_INSTANCES),
    GuardedRoute(f"{_PLACE}/instances/{{instance}}", no_such_part, needs=_READ, threads="light", foreign=_INSTANCES),
    *_queries(),
]
