"""The results of a job as one JSON object (18-062r2, results.yaml)."""

from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orchestration.errors import ResultMissing
from orchestration.files.results import Results
from orchestration.job import Job, Output, ResultFile

MAX_INLINE = 1_000_000
"""Maximum size in bytes of a file that is embedded as base64; a larger one is linked."""

PathOf = Callable[[ResultFile], Path]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One requested output, by value or by reference to `href`."""

    output: Output
    by_reference: bool
    href: str


def deliveries(job: Job, results: Results, url: str) -> list[Delivery]:
    """Return the requested outputs in the order of the request, by default all.

    `url` is the public address. Raises ResultMissing if a file was removed.
    """
    made = {output.id: output for output in job.manifest}
    asked = made if job.order.outputs is None else job.order.outputs
    outputs = [made[name] for name in asked if name in made]
    missing = [output.file for output in outputs if output.file and not results.path_of(output.file).is_file()]
    if missing:
        raise ResultMissing(f"{missing[0].name} no longer exists")
    return [Delivery(output, _by_reference(job, output), _href_of(job, output, results, url)) for output in outputs]


def _by_reference(job: Job, output: Output) -> bool:
    asked = (job.order.outputs or {}).get(output.id, {}).get("transmissionMode")
    return output.href is not None or asked == "reference"


def _href_of(job: Job, output: Output, results: Results, url: str) -> str:
    """Return the address of an output: its own, a signed link to its file, or that of its value below the job."""
    if output.href is not None:
        return output.href
    if output.file is None:
        return f"{url}/jobs/{job.id}/results/{quote(output.id, safe='')}"
    return results.link(job.id, output.file, owner=job.order.owner, now=datetime.now(UTC), until=job.files_until)


def result_document(outputs: Iterable[Delivery], path_of: PathOf) -> dict[str, Any]:
    """Return the outputs by id: plain values, objects and files as qualified values, references as links."""
    return {delivered.output.id: _member(delivered, path_of) for delivered in outputs}


def _member(delivered: Delivery, path_of: PathOf) -> Any:
    output = delivered.output
    if output.file is None:
        return reference(delivered) if delivered.by_reference else _inline(output)
    if delivered.by_reference or output.file.size > MAX_INLINE:
        return reference(delivered)
    return _content(output.file, path_of)


def value_document(outputs: Iterable[Output], path_of: PathOf) -> dict[str, Any]:
    """Return the outputs by id, all by value, files of whatever size too: for who has no address to link them."""
    return {output.id: _content(output.file, path_of) if output.file else _linked(output) for output in outputs}


def _linked(output: Output) -> Any:
    return _inline(output) if output.href is None else {"href": output.href, "title": output.id}


def _content(file: ResultFile, path_of: PathOf) -> dict[str, Any]:
    content = path_of(file).read_bytes()
    return {"value": b64encode(content).decode(), "mediaType": file.media_type, "encoding": "base64"}


def _inline(output: Output) -> Any:
    """Return the value; objects and text other than JSON as qualified values, except bounding boxes and links."""
    if output.media_type != "application/json":
        return {"value": output.value, "mediaType": output.media_type}
    if isinstance(output.value, dict) and not output.value.keys() & {"bbox", "href"}:
        return {"value": output.value, "mediaType": output.media_type}
    return output.value


def reference(delivered: Delivery) -> dict[str, Any]:
    """Return a link to an output, with length and checksum for a file."""
    output = delivered.output
    if output.href is not None:
        return {"href": delivered.href, "title": output.id}
    if output.file is None:
        return {"href": delivered.href, "type": output.media_type, "title": output.id}
    return {
        "href": delivered.href,
        "type": output.file.media_type,
        "title": output.file.name,
        "length": output.file.size,
        "sha256": output.file.sha256,
    }
