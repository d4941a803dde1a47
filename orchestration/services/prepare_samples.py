"""Prepare samples of the places of a feature collection, between two dates."""

from collections.abc import Mapping
from typing import Any

from orchestration.services.answers import answer_of
from orchestration.services.service import Service


def prepare_samples(service: Service, inputs: Mapping[str, Any], process_id: str) -> Any:
    """Return the answer of the service. Raises ServiceRefused, ServiceFailed."""
    query = {
        "process_id": process_id,
        "start_date": inputs["start_date"],
        "end_date": inputs["end_date"],
        "out_path": inputs["out_path"],
        "include_url": is_true(inputs["include_url"]),
    }
    return answer_of(service, service.post("/prepare_samples", query, inputs["data"]))


def is_true(value: bool | str) -> bool:  # noqa: FBT001  the value itself is asked about
    """Return what a truth value means, or one of the words `true` and `false`."""
    return value in (True, "true")
