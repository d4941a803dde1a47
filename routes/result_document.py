"""The results of a job as one JSON object (18-062r2, results.yaml)."""

from base64 import b64encode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from orchestration.job import Output, ResultFile

MAX_INLINE = 1_000_000
"""Bytes of a file that is written into the document as base64; a larger one is linked."""

PathOf = Callable[[ResultFile], Path]


class Delivered(Protocol):
    """One output and how it is handed over."""

    @property
    def output(self) -> Output:
        """The output itself."""

    @property
    def by_reference(self) -> bool:
        """Whether the order asked for a link."""

    @property
    def href(self) -> str:
        """Where the output is."""


def result_document(outputs: Iterable[Delivered], path_of: PathOf) -> dict[str, Any]:
    """Return the outputs by id: values inline, objects and files qualified by media type, references as links."""
    return {delivered.output.id: _member(delivered, path_of) for delivered in outputs}


def _member(delivered: Delivered, path_of: PathOf) -> Any:
    output = delivered.output
    if output.file is None:
        return reference(delivered) if delivered.by_reference else _inline(output)
    if delivered.by_reference or output.file.size > MAX_INLINE:
        return reference(delivered)
    content = path_of(output.file).read_bytes()
    return {"value": b64encode(content).decode(), "mediaType": output.file.media_type, "encoding": "base64"}


def _inline(output: Output) -> Any:
    """Return the value, an object qualified as the schema asks; a bounding box and a link stand for themselves."""
    if isinstance(output.value, dict) and not output.value.keys() & {"bbox", "href"}:
        return {"value": output.value, "mediaType": output.media_type}
    return output.value


def reference(delivered: Delivered) -> dict[str, Any]:
    """Return the link to an output; to a file with its length and checksum."""
    output = delivered.output
    if output.file is None:
        return {"href": delivered.href, "type": output.media_type, "title": output.id}
    return {
        "href": delivered.href,
        "type": output.file.media_type,
        "title": output.file.name,
        "length": output.file.size,
        "sha256": output.file.sha256,
    }
