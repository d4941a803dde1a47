"""What of the configuration is offered: everything but what needs a service that is not set up."""

from collections.abc import Mapping
from typing import Any

from orchestration.where import SERVICES
from server.settings import Settings


def offered(configuration: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the configuration without the production services where there is no Airflow to run them."""
    if settings.airflow.url is not None:
        return dict(configuration)
    resources = {
        name: resource
        for name, resource in configuration["resources"].items()
        if resource["type"] != "process" or name not in SERVICES
    }
    return {**configuration, "resources": resources}
