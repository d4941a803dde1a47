"""The process that extracts samples from Sentinel-2 scenes."""

from collections.abc import Mapping
from typing import Any, ClassVar, override

from orchestration.services.sample_extraction import PRODUCT, scene_of
from processes.errors import InvalidInput
from processes.messages import shown
from processes.prepare_samples import DATE
from processes.service import TEST, ServiceProcess, described
from products.catalogue import Catalogue

_BANDS: Mapping[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": 50,
    "items": {"type": "string", "pattern": r"^[A-Za-z0-9_.-]{1,50}$(?!\n)"},
}
_SCENE: Mapping[str, Any] = {
    "title": 'a date and a tile as in {"acquisition_date": "2023-05-01", "tile_id": "33UXP", "bands": ["B02"]}',
    "type": "object",
    "required": ["acquisition_date", "tile_id", "bands"],
    "properties": {
        "acquisition_date": DATE,
        "tile_id": {"type": "string", "pattern": r"^T?[0-9]{2}[A-Z]{3}$(?!\n)"},
        "bands": _BANDS,
    },
    "additionalProperties": False,
}
_PRODUCT: Mapping[str, Any] = {
    "title": 'a product\'s name as in {"product_id": "S2A_MSIL2A_20230501T100031_N0509_R122_T33UXP_20230501T134502", '
    '"bands": ["B02"]}',
    "type": "object",
    "required": ["product_id", "bands"],
    "properties": {"product_id": {"type": "string", "maxLength": 100, "pattern": PRODUCT}, "bands": _BANDS},
    "additionalProperties": False,
}


class SampleExtraction(ServiceProcess):
    """Extract the samples of up to ten scenes."""

    description: ClassVar[Mapping[str, Any]] = {
        "id": "sample-extraction",
        **described(
            title="Extract samples",
            description="Extracts the samples of up to ten Sentinel-2 scenes, each named by its date and tile or "
            "by its product, side by side. A failure says which failed and which did not.",
            result="What the service answered to each entry, in the order of the list: the addresses of the files.",
        ),
        "keywords": ["production", "Sentinel-2", "samples"],
        "inputs": {
            "s2_parameter_list": {
                "title": "Scenes",
                "description": "At most ten scenes, each with the requested bands.",
                "schema": {"type": "array", "minItems": 1, "maxItems": 10, "items": {"oneOf": [_SCENE, _PRODUCT]}},
            },
            **TEST,
        },
        "example": {
            "inputs": {
                "s2_parameter_list": [
                    {"acquisition_date": "2023-05-01", "tile_id": "33UXP", "bands": ["B02", "B8A"]},
                    {
                        "product_id": "S2A_MSIL2A_20230501T100031_N0509_R122_T33UXP_20230501T134502",
                        "bands": ["B02"],
                    },
                ]
            }
        },
    }

    @override
    def check_more(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> None:
        """Refuse the name of a product with an impossible date."""
        for number, entry in enumerate(inputs["s2_parameter_list"]):
            try:
                scene_of(entry)
            except ValueError as error:
                place = f"s2_parameter_list[{number}].product_id"
                problem = f"{shown(entry['product_id'])}: {error}; allowed: the name of a Sentinel-2 product"
                raise InvalidInput("s2_parameter_list", f"input '{place}': {problem}") from error
