"""A manifest as JSON, as the database and the work's last act hold it."""

import json
from dataclasses import asdict
from typing import Any

from orchestration.job import Manifest, Output, ResultFile


def encode(manifest: Manifest) -> str:
    """Return the manifest as JSON. Raises ValueError where a value is not JSON."""
    return json.dumps([asdict(output) for output in manifest], allow_nan=False)


def decode(text: str) -> Manifest:
    """Return the manifest that `encode` wrote."""
    return tuple(_output(**entry) for entry in json.loads(text))


def _output(*, file: dict[str, Any] | None, **members: Any) -> Output:
    return Output(**members, file=ResultFile(**file) if file else None)
