"""The base of the processes of production services, which Airflow calls; each has a twin for tests."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, override

from orchestration.job import Manifest, Output
from orchestration.prebuilt.product import PrebuiltProducts
from orchestration.services import TESTING
from processes.base import Processor
from processes.errors import InvalidInput
from products.catalogue import Catalogue

TEST: Mapping[str, Mapping[str, Any]] = {
    "test": {
        "title": "Test",
        "description": 'Whether this only tries the call: it is checked, answered {"test": true}, and nothing runs.',
        "minOccurs": 0,
        "schema": {"type": "boolean", "default": False},
    },
}


def word(title: str, description: str) -> Mapping[str, Any]:
    """Return the description of an input that is a line of text for the services."""
    schema = {"type": "string", "minLength": 1, "maxLength": 500, "pattern": r"^[^\x00-\x1f\x7f]*$(?!\n)"}
    return {"title": title, "description": description, "schema": schema}


def described(*, title: str, description: str, result: str, **members: Any) -> Mapping[str, Any]:
    """Return the description of a service's process, with the members that all of them share."""
    return {
        "version": "1.0.0",
        "title": title,
        "description": f"{description} The work is done by services of the production system.",
        "jobControlOptions": ["async-execute", "dismiss"],
        "outputTransmission": ["value", "reference"],
        "outputs": {
            "result": {
                "title": "The answer",
                "description": result,
                "schema": {"contentMediaType": "application/json"},
            }
        },
        **members,
    }


class ServiceProcess(Processor):
    """A process of an external service; with `testing: true` it is the twin at the service's test environment."""

    description: ClassVar[Mapping[str, Any]]
    files = False
    on_airflow = True

    def __init__(self, processor_def: dict[str, Any]) -> None:
        super().__init__(processor_def)
        if processor_def.get("testing"):
            self.metadata["id"] += TESTING
            self.dag = self.metadata["id"]
            self.metadata["title"] += ", in the test environment"

    @override
    def check(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
        """Return the inputs as they are stored; a text with a NUL is refused, as Airflow's database cannot store it."""
        checked = super().check(inputs, catalogue)
        for name, value in checked.items():
            if "\\u0000" in json.dumps(value):
                raise InvalidInput(name, f"input '{name}': a text in it has a NUL; allowed: texts without")
        return checked

    @override
    def ready(self, inputs: Mapping[str, Any], catalogue: Catalogue, prebuilt: PrebuiltProducts) -> Manifest | None:
        """Return the answer to a test."""
        del catalogue, prebuilt
        return (Output("result", {"test": True}),) if inputs["test"] else None
