"""The processes of the configuration, as a caller sees them."""

from collections.abc import Mapping
from typing import Any

from pygeoapi.api import API


def processes_of(api: API) -> list[str]:
    """Return the ids of the processes that the caller may see, as configured."""
    return [name for name, entry in api.config["resources"].items() if entry["type"] == "process"]


def listed_processes(api: API) -> list[str]:
    """Return the ids of the processes that lists and pages show."""
    return [name for name in processes_of(api) if is_listed(api.config["resources"][name])]


def is_listed(resource: Mapping[str, Any]) -> bool:
    """Say whether a resource stands in lists: one of `visibility: hidden` answers at its own address alone."""
    return resource.get("visibility") != "hidden"
