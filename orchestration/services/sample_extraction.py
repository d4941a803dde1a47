"""Extract the samples of up to ten Sentinel-2 scenes, with a request for each."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from orchestration.services.answers import answer_of
from orchestration.services.service import Service

PRODUCT = (
    r"^S2[A-Z]_MSIL(?:1C|2A)_([0-9]{8})T[0-9]{6}_N[0-9]{4}_R[0-9]{3}_T([0-9]{2}[A-Z]{3})"
    r"_[0-9]{8}T[0-9]{6}(?:\.SAFE)?$(?!\n)"
)
"""The name of a Sentinel-2 product, which holds the date and the tile: for Python and for ECMAScript alike."""

Entry = Mapping[str, Any]


def extract_sentinel_2(service: Service, entry: Entry, process_id: str) -> Any:
    """Return the answer of the service for one entry of the list. Raises ServiceRefused, ServiceFailed."""
    acquisition_date, tile_id = scene_of(entry)
    content = {"acquisition_date": acquisition_date, "tile_id": tile_id, "bands": entry["bands"]}
    return answer_of(service, service.post("/extract_sentinel_2", {"process_id": process_id}, content))


def scene_of(entry: Entry) -> tuple[str, str]:
    """Return the acquisition date (YYYY-MM-DD) and the tile (`33UXP`) of an entry. Raises ValueError.

    It names both, or a product whose name holds them.
    """
    if "product_id" not in entry:
        return entry["acquisition_date"], entry["tile_id"]
    found = re.match(PRODUCT, entry["product_id"])
    if found is None:
        raise ValueError(f"{entry['product_id']}: not the name of a Sentinel-2 product")
    return date.fromisoformat(found[1]).isoformat(), found[2]


def summary(entries: Sequence[Entry], failures: Mapping[int, str]) -> str:
    """Return a message with the failed entries, their reasons, and the successful ones, by index from 0."""
    messages = [
        f"s2_parameter_list[{index}] ({_name(entries[index])}): {failures[index]}" for index in sorted(failures)
    ]
    done = [str(index) for index in range(len(entries)) if index not in failures]
    succeeded = f"succeeded: s2_parameter_list[{', '.join(done)}]" if done else "none succeeded"
    return f"{len(failures)} of {len(entries)} entries failed: {'; '.join(messages)}; {succeeded}"


def _name(entry: Entry) -> str:
    return entry.get("product_id") or f"{entry['tile_id']}, {entry['acquisition_date']}"
