"""The process that applies a model to the features of Sentinel-2 scenes."""

from collections.abc import Mapping
from typing import Any, ClassVar, override

from processes.service import TEST, ServiceProcess, described, word
from products.catalogue import Catalogue


class ApplyModel(ServiceProcess):
    """Calculate the features of scenes, then apply a model to them."""

    description: ClassVar[Mapping[str, Any]] = {
        "id": "apply-model",
        **described(
            title="Apply a model",
            description="Calculates the features of Sentinel-2 scenes and applies a model, one metric a feature; "
            "where the model fails, the features are calculated once more without the cache.",
            result="What the service that applies the model answered: the addresses of the files.",
        ),
        "keywords": ["production", "Sentinel-2", "classification", "model"],
        "inputs": {
            "epsg": {
                "title": "EPSG code",
                "description": "The coordinates of the rasters.",
                "schema": {"type": "integer", "minimum": 1, "maximum": 999_999},
            },
            "resampling": word("Resampling", "How pixels are resampled, as the services name it."),
            "cloudmask_type": word("Cloud mask", "Which cloud mask is used, as the services name it."),
            "model_path": word("Model", "Where the model is."),
            "data": {
                "title": "Data",
                "description": "What to calculate, as the feature service takes it; `features` is an object of the "
                "features by name, to which SCL, the count of observations, is added.",
                "schema": {"type": "object", "properties": {"features": {"type": "object"}}},
            },
            "scene_ids_by_index": {
                "title": "Scenes by index",
                "description": "The scenes that the model is applied to.",
                "schema": {"type": "object"},
            },
            "data_type": word("Data type", "The type of the rasters' values."),
            "path_prefix": word("Prefix", "What the paths of the files begin with."),
            "use_cache": {
                "title": "Use the cache",
                "description": "Whether features that were calculated before are used.",
                "schema": {"type": "boolean"},
            },
            "data_source": {
                **word("Source of data", "The source of the scenes; by default the operator's choice."),
                "minOccurs": 0,
            },
            **TEST,
        },
        "example": {
            "inputs": {
                "epsg": 3035,
                "resampling": "bilinear",
                "cloudmask_type": "scl",
                "model_path": "models/clcplus.onnx",
                "data": {"features": {"NDVI": {"values": ["MEDIAN"]}}},
                "scene_ids_by_index": {"0": ["S2A_MSIL2A_20230501T100031_N0509_R122_T33UXP_20230501T134502"]},
                "data_type": "int16",
                "path_prefix": "production/33UXP",
                "use_cache": True,
            }
        },
    }

    @override
    def check(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
        """Return the inputs as they are stored; 3035.0, an integer in JSON Schema, becomes 3035 for a query."""
        checked = super().check(inputs, catalogue)
        return {**checked, "epsg": int(checked["epsg"])}
