"""The processes and their descriptions (18-062r2, 7.9 and 7.10)."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from auth.access import Action
from processes.base import Processor
from processes.messages import allowed
from routes.accounts.person import session_of
from routes.guard import NOTHING, GuardedRoute, on_process
from routes.pages.render import translator_of
from routes.pages.respond import page_links, respond
from routes.pages.translator import Translator, noted
from routes.processes.form import fields_of
from routes.query.parameters import LIMIT, OFFSET, allow_parameters, read_page
from routes.resources import listed_processes, resources_of

_MADE_ELSEWHERE = (
    *(noted("Raster"), noted("Vector"), noted("a string"), noted("a number"), noted("a whole number")),
    *(noted("true or false"), noted("a string of at most %(most)s characters")),
    *(
        noted("%(text)s Here: %(listed)s."),
        noted("%(title)s, in the test environment"),
        noted("Test order: %(message)s"),
    ),
)
"""Texts of choices, of what an input allows, and of descriptions, which are made in `processes`."""
_REL = "http://www.opengis.net/def/rel/ogc/1.0"
OF_FORMS = {"Referrer-Policy": "same-origin"}
"""With `no-referrer` browsers hide the origin of our own forms, which is checked."""
_SUMMARY = ("id", "version", "title", "description", "keywords", "jobControlOptions", "outputTransmission")


def process_summary(process: Processor, url: str) -> dict[str, Any]:
    """Return the process as processSummary.yaml."""
    summary = {member: process.metadata[member] for member in _SUMMARY}
    links = _links(f"{url}/processes/{quote(summary['id'], safe='')}", url)
    return {**summary, "links": [*process.metadata.get("links", ()), *links]}


def process_description(process: Processor, url: str) -> dict[str, Any]:
    """Return the process as process.yaml: the summary, its inputs, its outputs, an example of an execution."""
    described = {name: process.metadata[name] for name in ("inputs", "outputs", "example") if name in process.metadata}
    return {**process_summary(process, url), **described}


def _links(address: str, url: str) -> list[dict[str, str]]:
    return [
        {"rel": "self", "type": "application/json", "title": "Description", "href": f"{address}?f=json"},
        {"rel": "alternate", "type": "text/html", "title": "Description as a page", "href": f"{address}?f=html"},
        {"rel": f"{_REL}/execute", "type": "application/json", "title": "Execute", "href": f"{address}/execution"},
        {"rel": f"{_REL}/job-list", "type": "application/json", "title": "Jobs", "href": f"{url}/jobs"},
    ]


async def processes(request: Request) -> Response:
    """List the processes, a page at a time."""
    allow_parameters(request, LIMIT, OFFSET)
    resources = resources_of(request)
    page = read_page(request)
    names = listed_processes(resources.api)
    shown = names[page.offset : page.offset + page.limit]
    document = {
        "title": noted("Processes"),
        "processes": [process_summary(resources.processor(name), resources.url) for name in shown],
        "links": page_links(request, f"{resources.url}/processes", page, len(names)),
    }
    return respond(request, document, page="processes.html")


async def process(request: Request) -> Response:
    """Describe one process."""
    allow_parameters(request)
    resources = resources_of(request)
    found = resources.processor(request.path_params["process_id"])
    document = process_description(found, resources.url)
    return respond(request, document, page="process.html", headers=OF_FORMS, only_page=process_page(request, document))


def process_page(
    request: Request, document: Mapping[str, Any], given: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Return what the page of a process has besides its description: texts, and a form filled in with these inputs."""
    return {
        **_described(document, resources_of(request).url, translator_of(request)),
        **_form(request, document, given),
    }


def _form(request: Request, document: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of the page's form, the session's token, and what there is to draw an area on."""
    resources, session = resources_of(request), session_of(request)
    estimated = next(
        (name for name in listed_processes(resources.api) if resources.processor(name).asks_of == document["id"]), None
    )
    return {
        "fields": fields_of(document["inputs"], given),
        "csrf": session.csrf if session else None,
        "estimated_by": estimated,
        "largest_upload": resources.largest_upload,
        "shown": [each.id for each in resources.listed_collections() if each.kinds & {"coverage", "feature"}],
    }


def _described(document: Mapping[str, Any], url: str, translator: Translator) -> Mapping[str, Any]:
    """Return what the page says besides: what each input allows, and the example as a command."""
    address = f"{url}/processes/{document['id']}/execution"
    body = json.dumps(document.get("example", {"inputs": {}}))
    return {
        "rows": [_row(name, described, translator) for name, described in document["inputs"].items()],
        "curl": f"curl -i -X POST {address} \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'",
        "synchronous": "sync-execute" in document["jobControlOptions"],
        "asynchronous": "async-execute" in document["jobControlOptions"],
    }


def _row(name: str, described: Mapping[str, Any], translator: Translator) -> Mapping[str, Any]:
    schema = described["schema"]
    return {
        "name": name,
        "title": described["title"],
        "description": described.get("description", ""),
        "allowed": allowed(schema),
        "default": json.dumps(schema["default"]) if "default" in schema else None,
        "required": "default" not in schema and described.get("minOccurs", 1) > 0,
        "occurs": _occurrences(described.get("maxOccurs", 1), translator),
        "by_reference": "byReference" in described.get("valuePassing", ()),
    }


def _occurrences(most: int | str, translator: Translator) -> str:
    if most == 1:
        return ""
    return translator("any number of them") if most == "unbounded" else translator("1 to %(most)s of them", most=most)


routes = [
    GuardedRoute("/processes", processes, needs=NOTHING),
    GuardedRoute("/processes/{process_id}", process, needs=on_process(Action.DISCOVER)),
]
