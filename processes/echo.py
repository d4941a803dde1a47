"""The process that returns its inputs: each kind that OGC API Processes 1.0 knows, for clients and tests."""

from collections.abc import Mapping
from typing import Any, ClassVar

from processes.base import Processor
from processes.geojson import FEATURE_COLLECTION

_BY_REFERENCE = {"valuePassing": ["byValue", "byReference"]}
_CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_GEOMETRIES = ["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"]


def _or_text(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Allow the object, or any text in its place.

    OGC's test suite for processes sends `{"value": "teststring"}` for every input that is an object.
    """
    return {"oneOf": [schema, {"title": "text", "type": "string"}]}


_INPUTS: Mapping[str, Mapping[str, Any]] = {
    "stringInput": {"title": "String", "schema": {"type": "string"}},
    "numberInput": {"title": "Number", "schema": {"type": "number", "format": "double"}},
    "booleanInput": {"title": "Boolean", "schema": {"type": "boolean"}},
    "arrayInput": {
        "title": "Array, one value",
        "schema": {"type": "array", "minItems": 2, "maxItems": 10, "items": {"type": "integer"}},
    },
    "complexObjectInput": {
        "title": "Object",
        "schema": _or_text(
            {
                "title": "an object",
                "type": "object",
                "required": ["property1", "property5"],
                "properties": {
                    "property1": {"type": "string"},
                    "property2": {"type": "string", "format": "uri"},
                    "property3": {"type": "number"},
                    "property4": {"type": "string", "format": "date-time"},
                    "property5": {"type": "boolean"},
                },
            },
        ),
        **_BY_REFERENCE,
    },
    "boundingBoxInput": {
        "title": "Bounding box",
        "schema": {
            "type": "object",
            "format": "ogc-bbox",
            "required": ["bbox"],
            "properties": {
                "bbox": {
                    "title": "an array of 4 or 6 numbers",
                    "type": "array",
                    "items": {"type": "number"},
                    "oneOf": [{"minItems": 4, "maxItems": 4}, {"minItems": 6, "maxItems": 6}],
                },
                "crs": {"type": "string", "format": "uri", "default": _CRS84},
            },
            "additionalProperties": False,
        },
    },
    "geometryInput": {
        "title": "Geometry",
        "schema": {
            "oneOf": [
                {"title": "WKT", "type": "string", "format": "wkt"},
                {
                    "title": "a GeoJSON geometry",
                    "type": "object",
                    "format": "geojson-geometry",
                    "required": ["type", "coordinates"],
                    "properties": {
                        "type": {"type": "string", "enum": _GEOMETRIES},
                        "coordinates": {"type": "array", "items": {}},
                    },
                },
            ]
        },
        **_BY_REFERENCE,
    },
    "dateInput": {"title": "Date and time", "schema": {"type": "string", "format": "date-time"}},
    "measureInput": {
        "title": "Number with its unit",
        "schema": _or_text(
            {
                "title": "a measurement",
                "type": "object",
                "required": ["measurement", "uom"],
                "properties": {
                    "measurement": {"type": "number"},
                    "uom": {"type": "string"},
                    "reference": {"type": "string", "format": "uri"},
                },
            },
        ),
    },
    "imagesInput": {
        "title": "Images, 1 to 150",
        "maxOccurs": 150,
        "schema": {"type": "string", "format": "byte"},
        **_BY_REFERENCE,
    },
    "featureCollectionInput": {
        "title": "Feature collection",
        "schema": _or_text(FEATURE_COLLECTION),
        **_BY_REFERENCE,
    },
    "mixedInput": {
        "title": "String, number or object",
        "schema": {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "object"}]},
    },
    "pause": {
        "title": "Pause in seconds",
        "description": "How long the process waits before it answers.",
        "schema": {"type": "number", "minimum": 0, "maximum": 60, "default": 0},
    },
}


def _output(description: Mapping[str, Any]) -> dict[str, Any]:
    schema = description["schema"]
    if "maxOccurs" in description:
        schema = {"type": "array", "minItems": 1, "maxItems": description["maxOccurs"], "items": schema}
    return {"title": description["title"], "description": "What the input was.", "schema": schema}


class Echo(Processor):
    """Return each input as the output of its name: stringInput as stringOutput."""

    work = warm = "orchestration.work.echo"
    quick = True
    files = False
    on_airflow = True

    description: ClassVar[Mapping[str, Any]] = {
        "id": "echo",
        "version": "1.0.0",
        "title": "Echo",
        "description": "Returns its inputs after a pause: an input named stringInput becomes stringOutput. "
        "It is meant for tests of clients.",
        "keywords": ["echo", "test"],
        "jobControlOptions": ["sync-execute", "async-execute", "dismiss"],
        "outputTransmission": ["value", "reference"],
        "inputs": {name: {"minOccurs": 0, **description} for name, description in _INPUTS.items()},
        "outputs": {
            name.replace("Input", "Output"): _output(description)
            for name, description in _INPUTS.items()
            if name != "pause"
        },
        "example": {"inputs": {"stringInput": "hello", "pause": 1}},
    }
