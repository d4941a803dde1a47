"""What the pages of jobs say: the name of an order, the state in words, size and expiry, and how to order it again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from math import floor, log10
from pprint import pformat
from typing import Any

import shapely

from orchestration.job import ADDED, UNFINISHED, Job, JobEvent, Order, Status, instant, is_test
from processes.messages import shown
from products.area import Area, measure_area
from products.catalogue import Catalogue
from products.errors import InvalidArea, UnknownProduct
from products.nations import find_nation
from products.nations.outline import nation_at, outline_of
from products.outline import Polygonal
from routes.pages.translator import Translator, noted
from routes.resources import Resources

STATES: Mapping[Status, str] = {
    Status.ACCEPTED: noted("Waiting"),
    Status.RUNNING: noted("In progress"),
    Status.SUCCESSFUL: noted("Ready"),
    Status.FAILED: noted("Failed"),
    Status.DISMISSED: noted("Cancelled"),
}
"""What pages say of a status."""
_KINDS = (noted("raster"), noted("vector"))
_LONGEST = 80
_MOST_VERTICES = 2_000
"""Of an outline on a page."""
_LONGEST_COMMAND = 4_000
"""Characters of an order in a command; a longer one is asked for at its address."""


def summary_of(job: Job, resources: Resources, seen: Catalogue, translator: Translator) -> Mapping[str, Any]:
    """Return what a page says of the job, in a list or by itself; products are named that `seen` has."""
    files = [] if job.expired else [output.file for output in job.manifest if output.file]
    until = job.files_until if files else None
    return {
        "id": job.id,
        "process": job.order.process,
        "name": name_of(job.order, resources, seen, translator),
        "state": _state(job, translator, files=bool(files)),
        "status": str(job.status),
        "unfinished": job.status in UNFINISHED,
        "said": job.message,
        "progress": job.progress,
        "size": translator.size(sum(file.size for file in files)) if files else None,
        "until": instant(until) if until else None,
        "days": max(0, (until - datetime.now(UTC)).days) if until else None,
        "created": instant(job.created),
    }


def _state(job: Job, translator: Translator, *, files: bool) -> str:
    if job.status is Status.SUCCESSFUL and job.expired:
        return translator("Finished; the files have been deleted")
    return translator("Ready to download") if files else translator(STATES[job.status])


def history_of(job: Job, events: Sequence[JobEvent], translator: Translator) -> list[Mapping[str, str]]:
    """Return what has happened to the job, each with its time, from its order on.

    Of a job that was ready at once, or that is older than the table of events, it is when it began and ended.
    """
    if not events:
        times = ((Status.RUNNING, job.started, ""), (job.status, job.finished, job.message))
        events = [JobEvent(at, status, 1, said) for status, at, said in times if at]
    rows = [
        {"at": instant(each.at), "what": _describe_event(each, translator), "said": each.message} for each in events
    ]
    return [{"at": instant(job.created), "what": translator("Ordered"), "said": ""}, *rows]


def _describe_event(event: JobEvent, translator: Translator) -> str:
    match event.status:
        case Status.ACCEPTED:
            return translator("Interrupted")
        case Status.RUNNING:
            again = event.attempt > 1
            return (
                translator("Started again, attempt %(number)s", number=event.attempt)
                if again
                else translator("Started")
            )
        case _:
            return translator(STATES[event.status])


def name_of(order: Order, resources: Resources, seen: Catalogue, translator: Translator) -> str:
    """Return the product and the place of an order; of one that says neither, the title of its process."""
    process = resources.processes.processors.get(order.process)
    title = translator.translated(str(process.metadata["title"])) if process else order.process
    product, kind, place = _product(order.inputs, seen), order.inputs.get("product"), _place(order.inputs, translator)
    first = f"{product}, {translator(kind.lower())}" if product and isinstance(kind, str) else title
    name = f"{first}: {place}" if place else first
    return translator("Test: %(name)s", name=name) if is_test(order) else name


def map_of(order: Order, resources: Resources, seen: Catalogue) -> Mapping[str, Any]:
    """Return what a page shows of the order on a map: its outline as GeoJSON, simplified, and the product's collection.

    It is empty where the order is of no area, or of one that cannot be read.
    """
    area = _area(order.inputs)
    if area is None:
        return {}
    series, year = order.inputs.get("series"), order.inputs.get("year")
    collections: Sequence[str] = ()
    if isinstance(series, str) and isinstance(year, int):
        with suppress(UnknownProduct):
            collections = seen.find(series, year).collections[:1]
    listed = {each.id for each in resources.listed_collections()}
    outline = json.loads(shapely.to_geojson(_simple(area.geometry)))
    return {"outline": outline, "collections": [each for each in collections if each in listed]}


def _area(inputs: Mapping[str, Any]) -> Area | None:
    nation = find_nation(inputs["nation"]) if isinstance(inputs.get("nation"), str) else None
    if nation:
        return outline_of(nation)
    try:
        return measure_area(inputs["aoi"]) if "aoi" in inputs else None
    except InvalidArea:
        return None


def _simple(geometry: Polygonal) -> shapely.Geometry:
    """Return an outline of at most _MOST_VERTICES: a thousandth of its extent is not seen, small parts may go."""
    west, south, east, north = geometry.bounds
    step = max(east - west, north - south) / 1_000
    while shapely.get_num_coordinates(geometry) > _MOST_VERTICES:
        simple = shapely.simplify(geometry, step, preserve_topology=False)
        geometry = geometry.envelope if simple.is_empty else simple
        step *= 2
    return geometry


def _product(inputs: Mapping[str, Any], seen: Catalogue) -> str | None:
    """Return the title of the product, or its series and year where the caller does not see it."""
    series, year = inputs.get("series"), inputs.get("year")
    if not isinstance(series, str) or not isinstance(year, int):
        return None
    try:
        return seen.find(series, year).title
    except UnknownProduct:
        return f"{series[:_LONGEST]} {year}"


def _place(inputs: Mapping[str, Any], translator: Translator) -> str | None:
    for name in ("nation", "park", "collection"):
        if isinstance(place := inputs.get(name), str):
            nation = find_nation(place) if name == "nation" else None
            return nation.title if nation else place[:_LONGEST]
    if (area := inputs.get("aoi")) is None:
        return None
    try:
        return _describe_area(measure_area(area), translator)
    except InvalidArea:
        return None


def _describe_area(area: Area, translator: Translator) -> str:
    """Return the size of an area, its middle in degrees, and the nation that this lies in."""
    west, south, east, north = area.geometry.bounds
    longitude, latitude = round((west + east) / 2, 2), round((south + north) / 2, 2)
    digits = 0 if area.km2 >= 10 else max(0, 1 - floor(log10(area.km2))) if area.km2 > 0 else 2  # noqa: PLR2004
    size = f"{translator.number(round(area.km2, digits))} km²"
    up = _degrees(latitude, translator("N"), translator("S"), translator)
    point = f"{up}, {_degrees(longitude, translator('E'), translator('W'), translator)}"
    nation = _nation_at(longitude, latitude)
    if nation is None:
        return translator("%(size)s at %(point)s", size=size, point=point)
    return translator("%(size)s in %(nation)s (%(point)s)", size=size, nation=nation, point=point)


def _degrees(value: float, positive: str, negative: str, translator: Translator) -> str:
    return f"{translator.number(abs(value), 2)}° {positive if value >= 0 else negative}"


@lru_cache(1024)
def _nation_at(longitude: float, latitude: float) -> str | None:
    """Return the title of the nation that a point in degrees lies in."""
    nation = nation_at(longitude, latitude)
    return nation.title if nation else None


def execution_of_order(job: Job) -> dict[str, Any]:
    """Return the body of an execution that orders the same again."""
    order = job.order
    return {
        "inputs": {name: value for name, value in order.inputs.items() if name not in ADDED},
        **({"outputs": order.outputs} if order.outputs else {}),
        "response": order.response,
        **({"unit": {name: text for name, text in asdict(order.unit).items() if text}} if order.unit else {}),
    }


def commands_of(job: Job, url: str, *, keyed: bool) -> Mapping[str, str]:
    """Return the order as a command of curl and as a program in Python; `keyed` where an API key is needed."""
    address, own = f"{url}/processes/{job.order.process}/execution", f"{url}/jobs/{job.id}/order?f=json"
    body = execution_of_order(job)
    text = json.dumps(body)
    key = '-H "X-Api-Key: $LANDCAST_KEY" ' if keyed else ""
    post = f"curl -i -X POST {key}-H 'Content-Type: application/json' -H 'Prefer: respond-async'"
    if len(text) > _LONGEST_COMMAND:
        curl, order = f"curl -s {key}'{own}' |\n  {post} -d @- {address}", f'server.get("{own}").json()'
    else:
        curl = f"{post} \\\n  -d {shlex.quote(text)} \\\n  {address}"
        order = pformat(body, width=100, sort_dicts=False)
    return {"curl": curl, "python": _PYTHON.format(key=_PYTHON_KEY if keyed else "", order=order, address=address)}


_PYTHON_KEY = 'server.headers["X-Api-Key"] = os.environ["LANDCAST_KEY"]\n'
_PYTHON = """import os
import time

import requests

server = requests.Session()
{key}order = {order}
answer = server.post("{address}", json=order, headers={{"Prefer": "respond-async"}})
answer.raise_for_status()
job = answer.headers["Location"]
while (status := server.get(job, params={{"f": "json"}}).json())["status"] in ("accepted", "running"):
    time.sleep(2)
print(status["status"], status["message"])
for name, output in server.get(job + "/results", params={{"f": "json"}}).json().items():
    print(name, output)
"""


def describe_inputs(order: Order) -> Mapping[str, str]:
    """Return the inputs of an order, each cut short."""
    return {name: shown(value) for name, value in order.inputs.items()}
