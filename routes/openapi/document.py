"""The definition as a whole."""

import json
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from pygeoapi.api import API

from processes.base import Processor
from routes.collection import Collection
from routes.http.form import FORM
from routes.openapi.backends import airflow_paths, order_paths
from routes.openapi.collections import collection_paths
from routes.openapi.components import components
from routes.openapi.operation import JSON, Value, content, document, form, operation, ref
from routes.openapi.people import PEOPLE, people_paths
from routes.openapi.processes import job_paths, process_paths

_REF = re.compile(r'"#/components/(\w+)/([\w.-]+)"')
_ALWAYS = "/health/live"


def build(
    api: API,
    collections: Sequence[Collection],
    processors: Mapping[str, Processor],
    *,
    for_people: bool,
    of_airflow: bool = False,
) -> dict[str, Any]:
    """Return the OpenAPI 3.0 document of this configuration; it refers to nothing outside of itself.

    `for_people` says whether callers are known here, and so can sign in, `of_airflow` whether Airflow tells us of runs.
    """
    paths = general_paths()
    for collection in collections:
        paths |= collection_paths(collection)
    paths |= process_paths(api, processors) | job_paths(processors) | order_paths()
    paths |= people_paths() if for_people else {}
    paths |= airflow_paths() if of_airflow else {}
    limits = api.config["server"].get("limits", {})
    paths = {path: _completed(path, operations, for_people=for_people) for path, operations in paths.items()}
    shared = components(max_items=limits.get("max_items", 10_000), default_items=limits.get("default_items", 10))
    return {
        "openapi": "3.0.3",
        "info": _info(api.config["metadata"]),
        "servers": [{"url": api.base_url}],
        "tags": [*_tags(collections), *([PEOPLE] if for_people else [])],
        "paths": paths,
        "components": _referred(paths, shared),
    }


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
            "x-ogc-serviceContact": _service_contact(contact, metadata["provider"]),
        },
        "x-keywords": identification["keywords"],
        "license": {name: metadata["license"][name] for name in ("name", "url")},
        "version": version("landcast"),
    }


_ADDRESS = {
    "deliveryPoint": "address",
    "city": "city",
    "administrativeArea": "stateorprovince",
    "postalCode": "postalcode",
    "country": "country",
}


def _service_contact(contact: dict[str, Any], provider: dict[str, Any]) -> dict[str, Any]:
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


_PHONES = (("main", "phone"), ("fax", "fax"))


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
        "/openapi": {"get": _definition()},
        "/collections": {"get": _page("getCollections", "All collections", "collections")},
        "/health/live": {"get": _health("getLive", "Whether it answers at all")},
        "/health/ready": {"get": _health("getReady", "Whether it can do its work, by each thing that it needs")},
        "/health/orders": {"get": _health("getOrdersHealth", "Whether orders are taken and done at once", "503")},
    }


def _page(name: str, summary: str, schema: str) -> Value:
    return operation(
        name, summary, tag=_TAG, parameters=[form("json", "html")], responses=document(schema, f"{summary}.")
    )


def _definition() -> Value:
    media_type = "application/vnd.oai.openapi+json;version=3.0"
    return operation(
        "getDefinition",
        "This definition",
        tag=_TAG,
        parameters=[form("json", "html")],
        responses={
            "200": {"description": "OpenAPI 3.0.", "content": content({"type": "object"}, media_type, "text/html")}
        },
    )


def _health(name: str, summary: str, *further: str) -> Value:
    answer = {"description": f"{summary}.", "content": content(ref("schemas", "health"), JSON)}
    return operation(name, summary, tag=_TAG, responses=dict.fromkeys(("200", *further), answer), errors=[400])
