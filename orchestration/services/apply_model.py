"""Apply a model: calculate the features of the scenes, then apply the model to them."""

from collections.abc import Mapping
from typing import Any

from orchestration import environment
from orchestration.errors import ManyMetrics
from orchestration.services.answers import answer_of
from orchestration.services.service import Service

_DEFAULT_SOURCE = "element_aws_clc"
_COUNTED = {"values": ["COUNT"]}
_NO_INPUT = ("SCL", "COUNT")
_RASTERS = (".tif", ".tiff")

Inputs = Mapping[str, Any]


def calculate_features(service: Service, inputs: Inputs, process_id: str, *, use_cache: bool) -> dict[str, Any]:
    """Return the inputs of the model: `inputs` ({feature: file}) and `acquisition_dates`.

    How often each pixel was seen (SCL/COUNT) is asked for besides, and is no input of the model. Raises ServiceFailed;
    ManyMetrics where a feature has more than one file.
    """
    query = {
        "process_id": process_id,
        "path_prefix": inputs["path_prefix"],
        "to_upload": True,
        "use_cache": use_cache,
        "resolution": 10,
        "data_source": inputs.get("data_source") or environment.data_source() or _DEFAULT_SOURCE,
        "epsg": inputs["epsg"],
        "resampling": inputs["resampling"],
        "cloudmask_type": inputs["cloudmask_type"],
        "data_type": inputs["data_type"],
    }
    features = {**inputs["data"].get("features", {}), "SCL": _COUNTED}
    answer = service.post("/s2scenesfeatures", query, {**inputs["data"], "features": features})
    files, dates = _features(service, answer)
    return {"inputs": _one_each(service, files), "acquisition_dates": dates}


def apply_model(service: Service, inputs: Inputs, features: Mapping[str, Any], process_id: str) -> Any:
    """Return the answer of the service for the features: the addresses of the files. Raises ServiceFailed."""
    query = {"process_id": process_id, "model_path": inputs["model_path"]}
    content = {
        "inputs": features["inputs"],
        "acquisition_dates": features["acquisition_dates"],
        "scene_ids_by_index": inputs["scene_ids_by_index"],
    }
    return answer_of(service, service.post("/applymodel", query, content))


def _features(service: Service, answer: Any) -> tuple[Mapping[str, Mapping[str, str]], Any]:
    match answer:
        case {"results": {"data": dict(files), "metadata": {"acquisition_dates": list() | dict() as dates}}}:
            if all(_is_files(metrics) for metrics in files.values()):
                return files, dates
    raise service.nonsense("there are no results with data, by feature and metric, and metadata.acquisition_dates")


def _is_files(metrics: Any) -> bool:
    return isinstance(metrics, dict) and all(isinstance(file, str) for file in metrics.values())


def _one_each(service: Service, files: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the raster of each feature. Raises ManyMetrics, and ServiceFailed if there is none."""
    inputs: dict[str, str] = {}
    for feature, metrics in files.items():
        for metric, file in metrics.items():
            if not _is_input(feature, metric, file):
                continue
            if feature in inputs:
                raise ManyMetrics(f"a model takes one metric a feature; {feature} has {', '.join(metrics)}")
            inputs[feature] = file
    if not inputs:
        raise service.nonsense("there is no raster (.tif, .tiff) of any feature")
    return inputs


def _is_input(feature: str, metric: str, file: str) -> bool:
    return (feature, metric) != _NO_INPUT and file.lower().endswith(_RASTERS)
