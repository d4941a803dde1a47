"""The inputs of the production services: valid ones, and those that are refused before an order is stored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestration.job import Output
from orchestration.prebuilt.product import PrebuiltProducts
from processes.apply_model import ApplyModel
from processes.errors import InvalidInput
from processes.prepare_samples import PrepareSamples
from processes.sample_extraction import SampleExtraction
from processes.service import ServiceProcess
from products.catalogue import Catalogue

NOTHING = Catalogue(())
KINDS: Mapping[str, type[ServiceProcess]] = {
    "apply-model": ApplyModel,
    "prepare-samples": PrepareSamples,
    "sample-extraction": SampleExtraction,
}
SCENE = {"acquisition_date": "2023-05-01", "tile_id": "33UXP", "bands": ["B02"]}
PRODUCT = "S2A_MSIL2A_20230501T100031_N0509_R122_T33UXP_20230501T134502"
POINT = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": None}
GONE = object()
NO_OBJECTS: list[Any] = [[], "{}", None]
RING = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
NO_FEATURES: list[Any] = [None, 1, {}, POINT["geometry"], {**POINT, "type": "feature"}]


def process(name: str, *, testing: bool = False) -> ServiceProcess:
    return KINDS[name]({"name": name, "testing": testing})


def example(name: str, **changed: Any) -> dict[str, Any]:
    inputs = {**process(name).metadata["example"]["inputs"], **changed}
    return {key: value for key, value in inputs.items() if value is not GONE}


def features(*given: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(given)}


def shape(geometry: Any) -> dict[str, Any]:
    return features({**POINT, "geometry": geometry})


@pytest.mark.parametrize("testing", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_the_example_is_accepted_unchanged(name: str, testing: bool) -> None:  # noqa: FBT001  a table
    assert process(name, testing=testing).check(example(name), NOTHING) == {**example(name), "test": False}


@pytest.mark.parametrize("name", KINDS)
def test_a_twin_differs_only_in_its_name(name: str) -> None:
    one, twin = process(name), process(name, testing=True)
    assert (one.metadata["id"], twin.metadata["id"]) == (name, f"{name}-testing")
    assert twin.metadata["title"] == f"{one.metadata['title']}, in the test environment"
    same = one.metadata.keys() - {"id", "title"}
    assert {key: one.metadata[key] for key in same} == {key: twin.metadata[key] for key in same}
    assert one.metadata["jobControlOptions"] == ["async-execute", "dismiss"]
    assert list(one.metadata["outputs"]) == ["result"]


@pytest.mark.parametrize("name", KINDS)
def test_a_test_is_checked_and_answered_without_a_run(name: str, tmp_path: Path) -> None:
    made, prebuilt_files = process(name), PrebuiltProducts(tmp_path)
    checked = made.check(example(name, test=True), NOTHING)
    assert made.ready(checked, NOTHING, prebuilt_files) == (Output("result", {"test": True}),)
    assert made.ready(made.check(example(name), NOTHING), NOTHING, prebuilt_files) is None
    with pytest.raises(InvalidInput):
        made.check({"test": True}, NOTHING)


TAKEN = [
    ("apply-model", {"data_source": "cdse"}),
    ("apply-model", {"data": {}, "scene_ids_by_index": {}, "use_cache": False}),
    ("apply-model", {"data": {"value": {}}}),
    ("apply-model", {"model_path": "models/ä b?&%.onnx"}),
    ("prepare-samples", {"include_url": "false"}),
    ("prepare-samples", {"include_url": True}),
    ("prepare-samples", {"include_url": False}),
    ("prepare-samples", {"start_date": "2024-02-29", "end_date": "2024-02-29"}),
    ("prepare-samples", {"data": features()}),
    ("prepare-samples", {"data": shape(None)}),
    ("prepare-samples", {"data": shape({"type": "Point", "coordinates": [1.5, 2, 3]})}),
    ("prepare-samples", {"data": shape({"type": "MultiPolygon", "coordinates": [[RING]]})}),
    ("prepare-samples", {"data": shape({"type": "MultiLineString", "coordinates": [RING[:2], RING]})}),
    ("prepare-samples", {"data": shape({"type": "MultiPoint", "coordinates": []})}),
    ("prepare-samples", {"data": shape({"type": "GeometryCollection", "geometries": [POINT["geometry"]]})}),
    ("prepare-samples", {"data": {**features({**POINT, "id": 1, "properties": {"a": [1]}}), "crs": {}}}),
    ("sample-extraction", {"s2_parameter_list": [SCENE] * 10}),
    ("sample-extraction", {"s2_parameter_list": [{**SCENE, "tile_id": "T33UXP"}]}),
    ("sample-extraction", {"s2_parameter_list": [{"product_id": f"{PRODUCT}.SAFE", "bands": ["B8A"]}]}),
]


@pytest.mark.parametrize(("name", "changed"), TAKEN)
def test_valid_inputs_are_accepted(name: str, changed: dict[str, Any]) -> None:
    asked = {key: value["value"] if value == {"value": {}} else value for key, value in changed.items()}
    assert process(name).check(example(name, **changed), NOTHING) == {**example(name), **asked, "test": False}


def test_an_integer_stays_an_integer_in_every_json_form() -> None:
    checked = process("apply-model").check(example("apply-model", epsg=3035.0), NOTHING)
    assert repr(checked["epsg"]) == "3035"


NO_COLLECTIONS: list[Any] = [[], "x", {"type": "FeatureCollection"}]

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    *(("apply-model", {key: GONE}, f"'{key}' is missing") for key in example("apply-model")),
    *(("prepare-samples", {key: GONE}, f"'{key}' is missing") for key in example("prepare-samples")),
    ("sample-extraction", {"s2_parameter_list": GONE}, "'s2_parameter_list' is missing"),
    ("apply-model", {"project": "x"}, '"project" is unknown'),
    ("apply-model", {"epsg": "3035"}, "'epsg'"),
    ("apply-model", {"epsg": True}, "'epsg'"),
    ("apply-model", {"epsg": 3035.5}, "'epsg'"),
    ("apply-model", {"epsg": 0}, "'epsg'"),
    *(
        ("apply-model", {key: value}, f"'{key}'")
        for key in ("resampling", "cloudmask_type", "model_path", "data_type", "path_prefix", "data_source")
        for value in (1, None, "", "a\nb", "a\n", "a\0", "x" * 501)
    ),
    *(("apply-model", {key: value}, f"'{key}'") for key in ("data", "scene_ids_by_index") for value in NO_OBJECTS),
    ("apply-model", {"data": {"features": ["NDVI"]}}, "'data.features'"),
    ("apply-model", {"data": {"features": {"NDVI": "\0"}}}, "'data': a text in it has a NUL"),
    ("apply-model", {"data": {"href": "https://example.org/data"}}, "'data'"),
    *(("apply-model", {"use_cache": value}, "'use_cache'") for value in ("true", 1, None)),
    ("apply-model", {"test": "true"}, "'test'"),
    *(
        ("prepare-samples", {key: value}, f"'{key}'")
        for key in ("start_date", "end_date")
        for value in (
            "2023-02-30",
            "20230401",
            "2023-W14-6",
            "2023-4-1",
            "2023-04-01T00:00:00Z",
            "2023-04-01\n",
            2023,
            "",
        )
    ),
    ("prepare-samples", {"start_date": "2023-10-01"}, "'end_date': \"2023-09-30\" is before start_date"),
    *(("prepare-samples", {"include_url": value}, "'include_url'") for value in ("True", "yes", 1, None, "")),
    ("prepare-samples", {"out_path": 1}, "'out_path'"),
    *(("prepare-samples", {"data": value}, "'data'") for value in NO_COLLECTIONS),
    ("prepare-samples", {"data": POINT}, "'data"),
    ("prepare-samples", {"data": {"type": "FeatureCollection", "features": {}}}, "'data.features'"),
    *(("prepare-samples", {"data": features(POINT, value)}, "'data.features[1]'") for value in NO_FEATURES),
    ("prepare-samples", {"data": features({"type": "Feature", "properties": {}})}, "'data.features[0].geometry'"),
    ("prepare-samples", {"data": features({**POINT, "properties": []})}, "'data.features[0].properties'"),
    ("prepare-samples", {"data": features({"type": "Feature", "geometry": None})}, "'data.features[0].properties'"),
    *(
        ("prepare-samples", {"data": shape(value)}, "'data.features[0].geometry'")
        for value in (
            1,
            {},
            {"type": "Point"},
            {"type": [], "coordinates": [1, 2]},
            {"type": "Circle", "coordinates": [1, 2]},
            {"type": "Point", "coordinates": [1]},
            {"type": "Point", "coordinates": ["1", "2"]},
            {"type": "Point", "coordinates": [1, True]},
            {"type": "Point", "coordinates": [[1, 2]]},
            {"type": "Polygon", "coordinates": [[1, 2]]},
            {"type": "LineString", "coordinates": [[1, 2]]},
            {"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [1, 2]]]},
            {"type": "Polygon", "coordinates": [RING, RING[:-1]]},
            {"type": "Polygon", "coordinates": RING},
            {"type": "MultiPolygon", "coordinates": [[[[1, 2]]]]},
            {"type": "MultiPolygon", "coordinates": [[[RING]]]},
            {"type": "GeometryCollection"},
            {"type": "GeometryCollection", "geometries": [None]},
        )
    ),
    *(
        ("sample-extraction", {"s2_parameter_list": value}, "'s2_parameter_list'")
        for value in ([], [SCENE] * 11, SCENE)
    ),
    *(
        ("sample-extraction", {"s2_parameter_list": [SCENE, value]}, "'s2_parameter_list[1]'")
        for value in (
            1,
            {},
            {"bands": ["B02"]},
            {**SCENE, "more": 1},
            {**SCENE, "product_id": PRODUCT},
            {**SCENE, "acquisition_date": "2023-13-01"},
            {**SCENE, "acquisition_date": 20230501},
            {**SCENE, "tile_id": "33uxp"},
            {**SCENE, "tile_id": "33UXP\n"},
            {**SCENE, "tile_id": "../33UXP"},
            {**SCENE, "bands": []},
            {**SCENE, "bands": "B02"},
            {**SCENE, "bands": ["B02", 3]},
            {**SCENE, "bands": [""]},
            {"product_id": PRODUCT},
            {"product_id": "S2A_X", "bands": ["B02"]},
            {"product_id": f"x{PRODUCT}", "bands": ["B02"]},
            {"product_id": f"{PRODUCT}\n", "bands": ["B02"]},
            {"product_id": PRODUCT.replace("T33UXP", "T3UXP"), "bands": ["B02"]},
        )
    ),
    (
        "sample-extraction",
        {"s2_parameter_list": [{"product_id": PRODUCT.replace("20230501T10", "20230230T10"), "bands": ["B02"]}]},
        "'s2_parameter_list[0].product_id'",
    ),
]


@pytest.mark.parametrize(("name", "changed", "expected"), REFUSED)
def test_invalid_inputs_are_refused_with_the_reason(name: str, changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        process(name).check(example(name, **changed), NOTHING)
    message = str(caught.value.message)
    assert expected in message
    assert "; allowed: " in message
    assert caught.value.input in expected


def test_too_deeply_nested_collections_are_refused() -> None:
    deep: dict[str, Any] = {"type": "Point", "coordinates": [1, 2]}
    for _ in range(10):
        deep = {"type": "GeometryCollection", "geometries": [deep]}
    with pytest.raises(InvalidInput, match="geometry"):
        process("prepare-samples").check(example("prepare-samples", data=shape(deep)), NOTHING)
