"""The definition as a whole."""

from importlib.metadata import version
from typing import Any

from pygeoapi.api import API

from routes.openapi.airflow import airflow_paths
from routes.openapi.backends import order_paths
from routes.openapi.collections import collection_paths
from routes.openapi.components import components
from routes.openapi.general import general_paths
from routes.openapi.people import PEOPLE, people_paths
from routes.openapi.processes import job_paths, process_paths
from routes.providers import collections_of


def build(api: API, *, for_people: bool, of_airflow: bool = False) -> dict[str, Any]:
    """Return the OpenAPI 3.0 document of this configuration; it refers to nothing outside of itself.

    `for_people` says whether callers are known here, and so can sign in, `of_airflow` whether Airflow tells us of runs.
    """
    paths = general_paths()
    for collection_id in collections_of(api):
        paths |= collection_paths(api, collection_id)
    paths |= process_paths(api) | job_paths() | order_paths() | (people_paths() if for_people else {})
    paths |= airflow_paths() if of_airflow else {}
    limits = api.config["server"].get("limits", {})
    return {
        "openapi": "3.0.3",
        "info": _info(api.config["metadata"]),
        "servers": [{"url": api.base_url}],
        "tags": [*_tags(api), *([PEOPLE] if for_people else [])],
        "paths": paths,
        "components": components(
            max_items=limits.get("max_items", 10_000), default_items=limits.get("default_items", 10)
        ),
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


def _tags(api: API) -> list[dict[str, str]]:
    return [
        {"name": "server", "description": "What is here"},
        *({"name": name, "description": entry["title"]} for name, entry in collections_of(api).items()),
        {"name": "processes", "description": "What can be run"},
        {"name": "jobs", "description": "What was ordered, and its results"},
    ]
