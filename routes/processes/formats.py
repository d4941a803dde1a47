"""The formats in which an output of a process can be had (18-062r2, format.yaml)."""

from collections.abc import Mapping, Sequence
from typing import Any


def formats_of(schema: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
    """Return the formats that the schema of an output describes, its default first: media type, encoding of a file."""
    formats = []
    for alternative in schema.get("oneOf", [schema]):
        described = {"mediaType": alternative.get("contentMediaType", "application/json")}
        if alternative.get("format") == "binary":
            described["encoding"] = "base64"
        if described not in formats:
            formats.append(described)
    return formats
