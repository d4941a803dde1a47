"""The definition as a whole."""

import json
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from pygeoapi.api import API

from processes.base import Processor
from routes.http.form import FORM
from routes.http.media_types import OPENAPI
from routes.openapi.backends import airflow_paths, order_paths
from routes.openapi.collections import collection_paths
from routes.openapi.components import components
from routes.openapi.operation import JSON, Value, binary, content, document, form, inline, operation, query, ref
from routes.openapi.operation import path as path_parameter
from routes.openapi.people import PEOPLE, people_paths
from routes.openapi.processes import job_paths, process_paths
from routes.openapi.stac import TAG as STAC_TAG
from routes.openapi.stac import stac_api_paths, stac_paths
from routes.openapi.tiles import tile_paths
from routes.pygeoapi.asyncapi import MEDIA_TYPE as ASYNCAPI
from routes.query.parameters import LIMIT, OFFSET
from routes.records.record import contact_of
from routes.resources import Collection

_REF = re.compile(r'"#/components/(\w+)/([\w.-]+)"')
_ALWAYS = "/health/live"


def build(
    api: API,
    collections: Sequence[Collection],
    processors: Mapping[str, Processor],
    *,
    for_people: bool,
    of_airflow: bool = False,
    of_broker: bool = False,
    languages: Sequence[str] = (),
    api_version: str = "",
) -> dict[str, Any]:
    """Return the OpenAPI 3.0 document of this configuration; it refers to nothing outside of itself.

    `for_people`: callers can sign in. `of_airflow`: Airflow sends events. `of_broker`: messages are published.
    With several `languages` every operation takes `lang`.
    """
    paths = general_paths()
    of_stac, of_products = [each for each in collections if each.is_stac], bool(api.config.get("products"))
    for collection in (each for each in collections if not each.is_stac):
        paths |= collection_paths(collection)
    drawn = any("coverage" in collection.kinds - collection.foreign for collection in collections)
    paths |= (tile_paths() if drawn else {}) | (stac_paths(of_stac) if of_stac else {})
    paths |= stac_api_paths(foreign=bool(of_stac), products=of_products) if of_stac or of_products else {}
    paths |= process_paths(api, processors) | job_paths(processors) | order_paths()
    paths |= people_paths() if for_people else {}
    paths |= airflow_paths() if of_airflow else {}
    if of_broker:
        messages = _described("getMessages", "What is published to the broker", "AsyncAPI 3.0", ASYNCAPI)
        paths["/asyncapi"] = {"get": messages}
    limits = api.config["server"].get("limits", {})
    paths = {path: _completed(path, operations, for_people=for_people) for path, operations in paths.items()}
    if len(languages) > 1:
        paths = {path: _with_language(operations) for path, operations in paths.items()}
    shared = components(max_items=limits.get("max_items", 10_000), default_items=limits.get("default_items", 10))
    return {
        "openapi": "3.0.3",
        "info": {**_info(api.config["metadata"]), "version": api_version or version("landcast")},
        "servers": [{"url": api.base_url}],
        "tags": [
            *_tags(collections),
            *([STAC_TAG] if of_stac or of_products else []),
            *([PEOPLE] if for_people else []),
        ],
        "paths": paths,
        "components": _referred(paths, shared | {"parameters": shared["parameters"] | _language(languages)}),
    }


def _with_language(operations: dict[str, Any]) -> dict[str, Any]:
    """Return the operations, all of which take `lang`."""
    lang = ref("parameters", "lang")
    return {
        method: {**operation, "parameters": [*operation.get("parameters", ()), lang]}
        for method, operation in operations.items()
    }


def _language(languages: Sequence[str]) -> dict[str, Any]:
    """Return the parameter `lang`; for an unknown value, which is no error, the answer is in the first language."""
    schema = {"type": "string", "example": languages[0]} if languages else {}
    description = f"The language of titles and descriptions, before Accept-Language: {', '.join(languages)}."
    return {"lang": query("lang", description, schema)}


def _completed(path: str, operations: dict[str, Any], *, for_people: bool) -> dict[str, Any]:
    """Return the operations of a path with what any of them may answer; what a browser sends is answered by pages."""
    common = [*([] if path == _ALWAYS else [503]), *([401, 429] if for_people else [])]
    return {
        method: {
            **operation,
            "responses": {
                status: _paged(answer) if method == "get" or _takes_form(operation) else answer
                for status, answer in sorted({**_problems(operation, common), **operation["responses"]}.items())
            },
        }
        for method, operation in operations.items()
    }


def _problems(operation: dict[str, Any], common: list[int]) -> dict[str, Any]:
    """Return the common problems, and for a body that it is too large or does not come."""
    statuses = [*common, *((408, 413) if "requestBody" in operation else ())]
    return {str(status): ref("responses", f"problem{status}") for status in statuses}


def _takes_form(operation: dict[str, Any]) -> bool:
    return FORM in operation.get("requestBody", {}).get("content", {})


def _paged(answer: dict[str, Any]) -> dict[str, Any]:
    return {"$ref": f"{answer['$ref']}OrPage"} if "$ref" in answer else answer


def _referred(paths: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Return those of the components that the paths, or components of theirs, refer to."""
    found: set[tuple[str, str]] = set()
    new = set(_REF.findall(json.dumps(paths)))
    while new:
        found |= new
        texts = (json.dumps(shared[kind][name]) for kind, name in new)
        new = {each for text in texts for each in _REF.findall(text)} - found
    return {
        kind: {name: component for name, component in entries.items() if (kind, name) in found}
        for kind, entries in shared.items()
    }


def _info(metadata: dict[str, Any]) -> dict[str, Any]:
    identification, contact = metadata["identification"], metadata["contact"]
    return {
        "title": identification["title"],
        "description": identification["description"],
        "termsOfService": identification["terms_of_service"],
        "contact": {
            **{name: contact[name] for name in ("name", "email", "url") if contact.get(name)},
            "x-ogc-serviceContact": contact_of(contact, metadata["provider"]),
        },
        "x-keywords": identification["keywords"],
        "license": {name: metadata["license"][name] for name in ("name", "url")},
    }


def _tags(collections: Sequence[Collection]) -> list[dict[str, str]]:
    return [
        {"name": "server", "description": "What is here"},
        *({"name": collection.id, "description": collection.title} for collection in collections),
        {"name": "processes", "description": "What can be run"},
        {"name": "jobs", "description": "What was ordered, and its results"},
    ]


_TAG = "server"


def general_paths() -> Value:
    """Return landing page, conformance, definition, collections and health."""
    return {
        "/": {"get": _page("getLandingPage", "What this server is, and where everything begins", "landing")},
        "/conformance": {"get": _page("getConformance", "The standards it conforms to", "conformance")},
        "/about/terms": {"get": _page("getTerms", "Terms of use, licence and attribution", "about")},
        "/about/accessibility": {"get": _page("getAccessibility", "The accessibility statement", "about")},
        "/products/{product_id}": {"get": _PRODUCT},
        "/products/{product_id}/iso": {"get": _ISO},
        "/openapi": {"get": _described("getDefinition", "This definition", "OpenAPI 3.0", OPENAPI)},
        "/collections": {"get": _page("getCollections", "All collections", "collections", *_PAGE)},
        "/health/live": {"get": _health("getLive", "Whether it answers at all")},
        "/health/ready": {"get": _health("getReady", "Whether it can do its work, by each thing that it needs")},
        "/health/orders": {"get": _health("getOrdersHealth", "Whether orders are taken and done at once", "503")},
        "/operations": {"get": _OPERATIONS},
    }


_PAGE = (
    {**inline(LIMIT), "description": "How many at most; all without it."},
    inline(OFFSET),
)


_PRODUCT = operation(
    "getProduct",
    "A product: year, source, accuracy, licence, citation, formats",
    tag=_TAG,
    parameters=[path_parameter("product_id", "The product's identifier in the configuration."), form("json", "html")],
    responses=document("product", "The product."),
    errors=(400, 404, 406),
)


_ISO = operation(
    "getProductMetadata",
    "The metadata of a product as ISO 19139",
    tag=_TAG,
    parameters=[path_parameter("product_id", "The product's identifier in the configuration.")],
    responses={"200": binary("The metadata.", "text/xml")},
    errors=(400, 404, 503),
)


_OPERATIONS = operation(
    "getOperations",
    "What needs attention: dependencies, orders by status and owner, failures; for administrators",
    tag=_TAG,
    parameters=[form("json", "html")],
    responses=document("operations", "The state of the server and of its orders."),
    errors=(400, 403, 406),
)


def _page(name: str, summary: str, schema: str, *parameters: Value) -> Value:
    return operation(
        name,
        summary,
        tag=_TAG,
        parameters=[form("json", "html"), *parameters],
        responses=document(schema, f"{summary}."),
    )


def _described(name: str, summary: str, standard: str, media_type: str) -> Value:
    """Return the operation of a document that describes this server by a standard."""
    answer = {"description": f"{standard}.", "content": content({"type": "object"}, media_type, "text/html")}
    return operation(name, summary, tag=_TAG, parameters=[form("json", "html")], responses={"200": answer})


def _health(name: str, summary: str, *further: str) -> Value:
    answer = {"description": f"{summary}.", "content": content(ref("schemas", "health"), JSON)}
    return operation(name, summary, tag=_TAG, responses=dict.fromkeys(("200", *further), answer), errors=[400])
