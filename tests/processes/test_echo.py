"""Echo takes every kind of input of OGC API Processes 1.0."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_schema_validator import OAS30Validator

from processes.echo import Echo
from processes.errors import InvalidInput
from products.catalogue import Catalogue

NOTHING = Catalogue(())
POINT = {"type": "Point", "coordinates": [1, 2]}

GOOD: dict[str, list[Any]] = {
    "stringInput": ["", "Größe <b>&amp;</b>"],
    "numberInput": [0, -1.5, 1e300],
    "booleanInput": [True, False],
    "arrayInput": [[1, 2], list(range(10))],
    "boundingBoxInput": [
        {"bbox": [1, 2, 3, 4]},
        {"bbox": [1, 2, 3, 4, 5, 6], "crs": "http://www.opengis.net/def/crs/OGC/0/CRS84h"},
        {"bbox": [345345345] * 4, "crs": "urn:ogc:def:crs:EPSG:6.6:4326"},
    ],
    "complexObjectInput": [{"property1": "a", "property5": False}, {"href": "https://example.org/a.json"}],
    "geometryInput": [POINT, "POINT (1 2)", "POLYGON Z EMPTY", {"href": "http://example.org/g"}],
    "dateInput": ["2026-11-23T12:00:00Z", "2026-11-23T12:00:00.5+01:00"],
    "measureInput": [{"measurement": 10.3, "uom": "m"}],
    "imagesInput": [["aGk="], [{"value": "aGk=", "mediaType": "image/png"}, {"href": "https://example.org/i.png"}]],
    "featureCollectionInput": [{"type": "FeatureCollection", "features": []}],
    "mixedInput": ["a", 1, {"a": 1}],
    "pause": [0, 60, 0.5],
}
BAD: dict[str, list[Any]] = {
    "stringInput": [1, None, ["a"], {"a": 1}],
    "numberInput": ["1", None, True],
    "booleanInput": ["true", 0, None],
    "arrayInput": [[1], list(range(11)), [1.5, 2], "1,2", {"value": {"value": [1, 2]}}],
    "boundingBoxInput": [[1, 2, 3, 4], {"bbox": [1, 2, 3]}, {"bbox": "x"}, {"bbox": [1, 2, 3, 4], "crs": 4326}],
    "complexObjectInput": [{}, {"property1": 1, "property5": True}, {"href": "file:///etc/passwd"}],
    "geometryInput": [5, {"type": "Circle", "coordinates": []}, {"type": "Point"}, []],
    "dateInput": ["2026-13-01T00:00:00Z", "now", 5],
    "measureInput": [{"measurement": "much", "uom": "m"}, 5],
    "imagesInput": [[], ["%"], ["aGk="] * 151, 5, [{"value": 5}]],
    "featureCollectionInput": [{"type": "Feature"}, []],
    "mixedInput": [None, True, [1]],
    "pause": [-1, 61, "1", None],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_each_type_of_input_is_accepted(name: str, value: Any) -> None:
    assert Echo({"name": "echo"}).check({name: value}, NOTHING)[name] == value


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_value_of_another_type_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"^input '{name}") as refused:
        Echo({"name": "echo"}).check({name: value}, NOTHING)
    assert "allowed: " in refused.value.message


def test_inputs_made_by_the_ogc_test_suite_are_accepted() -> None:
    """Like `createExecuteJsonNode…` of ets-ogcapi-processes10: the first object by value, the rest by kind."""
    inputs: dict[str, Any] = {}
    for name, described in Echo.description["inputs"].items():
        schema = described["schema"]
        objects = [each for each in schema.get("oneOf", [schema]) if each.get("type") == "object"]
        if any("bbox" in each.get("properties", {}) for each in objects):
            inputs[name] = {"bbox": [345345345] * 4, "crs": "urn:ogc:def:crs:EPSG:6.6:4326"}
            assert "complexObjectInput" in inputs, "the suite's first object gets a text, whatever it is"
        elif objects:
            inputs[name] = {"value": "teststring"}
        elif schema.get("type") == "string" and "format" not in schema:
            inputs[name] = "teststring"
    checked = Echo({"name": "echo"}).check(inputs, NOTHING)
    assert len(inputs) == 7
    assert {value for name, value in checked.items() if name not in {"boundingBoxInput", "pause"}} == {"teststring"}


def test_no_input_is_required() -> None:
    assert Echo({"name": "echo"}).check({}, NOTHING) == {"pause": 0}


def test_every_input_but_the_pause_has_an_output_of_its_name() -> None:
    outputs = {name.removesuffix("Output") for name in Echo.description["outputs"]}
    assert outputs == {name.removesuffix("Input") for name in Echo.description["inputs"]} - {"pause"}


def test_the_schemas_are_valid_by_json_schema_and_openapi() -> None:
    for described in (*Echo.description["inputs"].values(), *Echo.description["outputs"].values()):
        Draft202012Validator.check_schema(described["schema"])
        OAS30Validator.check_schema(described["schema"])
    assert json.dumps(Echo.description)
