"""The process that prepares samples of places, between two dates."""

from collections.abc import Mapping
from typing import Any, ClassVar, override

from processes.errors import InvalidInput
from processes.geojson import FEATURE_COLLECTION, check_features
from processes.messages import shown
from processes.service import TEST, ServiceProcess, described, word
from products.catalogue import Catalogue

DATE: Mapping[str, Any] = {"type": "string", "format": "date", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)"}


class PrepareSamples(ServiceProcess):
    """Prepare samples of the features of a collection."""

    description: ClassVar[Mapping[str, Any]] = {
        "id": "prepare-samples",
        **described(
            title="Prepare samples",
            description="Prepares samples of Sentinel-2 scenes for the features of a collection, between two dates.",
            result="What the service that prepares samples answered.",
        ),
        "keywords": ["production", "Sentinel-2", "samples"],
        "inputs": {
            "start_date": {"title": "First day", "description": "As YYYY-MM-DD.", "schema": DATE},
            "end_date": {"title": "Last day", "description": "As YYYY-MM-DD; not before the first.", "schema": DATE},
            "include_url": {
                "title": "Include addresses",
                "description": "Whether the answer names the addresses of the scenes.",
                "schema": {"oneOf": [{"type": "boolean"}, {"type": "string", "enum": ["true", "false"]}]},
            },
            "out_path": word("Path", "Where the samples are put."),
            "data": {
                "title": "Places",
                "description": "The features that samples are prepared for. A whole request is 10 MB at most.",
                "schema": FEATURE_COLLECTION,
            },
            **TEST,
        },
        "example": {
            "inputs": {
                "start_date": "2023-04-01",
                "end_date": "2023-09-30",
                "include_url": "true",
                "out_path": "samples/33UXP",
                "data": {
                    "type": "FeatureCollection",
                    "features": [
                        {
                            "type": "Feature",
                            "geometry": {"type": "Point", "coordinates": [23.85, 52.7]},
                            "properties": {"class": 2},
                        }
                    ],
                },
            }
        },
    }

    @override
    def check_more(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> None:
        """Refuse dates in the wrong order, and invalid features."""
        if inputs["end_date"] < inputs["start_date"]:
            problem = f"{shown(inputs['end_date'])} is before start_date"
            raise InvalidInput("end_date", f"input 'end_date': {problem}; allowed: {inputs['start_date']} or later")
        check_features("data", inputs["data"])
