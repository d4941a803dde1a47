"""An estimate accepts the inputs of an order, and reports the reason if the order would be refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_schema_validator import OAS30Validator

from orchestration.work import REFUSED
from processes.errors import InvalidInput
from processes.estimate_product import EstimateProduct
from processes.extract_product import ExtractProduct
from products.area import read_area
from products.catalogue import Catalogue, Product
from products.errors import BrokenSource

SAMPLE = Path(__file__).parents[2] / "sample"
PRODUCT = Product("sample", "CLC+ Backbone 2023", 2023, SAMPLE / "clcplus_2023_parks.tif", None, "Copernicus")
CATALOGUE = Catalogue((PRODUCT,))
BOX = "POLYGON((23.80 52.68, 23.90 52.68, 23.90 52.75, 23.80 52.75, 23.80 52.68))"
RASTER: dict[str, Any] = {"product": "Raster", "aoi": BOX}


def estimate(inputs: Any, catalogue: Catalogue = CATALOGUE) -> dict[str, Any]:
    return EstimateProduct({"name": "estimate-product"}).check(inputs, catalogue)


def order(inputs: Any) -> dict[str, Any]:
    return ExtractProduct({"name": "extract-product"}).check(inputs, CATALOGUE)


@pytest.mark.parametrize(
    "inputs",
    [
        RASTER,
        {**RASTER, "year": 2023, "series": "clcplus"},
        {**RASTER, "project": "mine", "test": True, "send_mail": True},
        {**RASTER, "aoi": {"bbox": [23.8, 52.68, 23.9, 52.75]}},
        {**RASTER, "aoi": {"value": BOX}},
    ],
)
def test_an_estimate_stores_the_same_inputs_as_an_order(inputs: Any) -> None:
    assert estimate(inputs) == order(inputs)
    assert REFUSED not in estimate(inputs)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({**RASTER, "aoi": {"bbox": [-180, -90, 180, 90]}}, "510,065,622 km2; an order covers at most 5,000,000 km2"),
        ({**RASTER, "aoi": {"bbox": [0, 40, 32, 60]}}, "an order covers at most 5,000,000 km2"),
        ({**RASTER, "aoi": {"bbox": [-0.2, 51.4, 0.1, 51.6]}}, "nothing of CLC+ Backbone 2023 (Raster) inside"),
        ({**RASTER, "aoi": "POLYGON((21 52.2, 21.01 52.2, 21.01 52.21, 21 52.2))"}, "allowed: an area that has some"),
        ({**RASTER, "product": "Vector"}, "CLC+ Backbone 2023 has no Vector; allowed: Raster"),
    ],
)
def test_the_reason_of_a_refused_order_is_stored_unchanged(inputs: Any, expected: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        order(inputs)
    reason = estimate(inputs)[REFUSED]
    assert expected in reason
    assert refused.value.message.removeprefix(reason) in {"", _HINT}


_HINT = " The process estimate-product tells before an order whether it is taken, and its size and time."


def test_only_a_too_large_order_mentions_the_estimate() -> None:
    with pytest.raises(InvalidInput) as large:
        order({**RASTER, "aoi": {"bbox": [-180, -90, 180, 90]}})
    assert large.value.message.endswith(_HINT)
    assert large.value.input == "aoi"
    with pytest.raises(InvalidInput) as elsewhere:
        order({**RASTER, "aoi": {"bbox": [-0.2, 51.4, 0.1, 51.6]}})
    assert "estimate-product" not in elsewhere.value.message


WRONG: list[tuple[Any, str, str]] = [
    ({}, "product", "is missing; allowed"),
    ({"product": "Raster"}, "aoi", "is missing; allowed"),
    ({**RASTER, "product": "raster"}, "product", '"raster"; allowed: "Raster", "Vector"'),
    ({**RASTER, "product": ["Raster"]}, "product", "allowed"),
    ({**RASTER, "test": "yes"}, "test", "allowed: true or false"),
    ({**RASTER, "send_mail": 1}, "send_mail", "allowed: true or false"),
    ({**RASTER, "project": "x" * 201}, "project", "at most 200 characters"),
    ({**RASTER, "year": "2023"}, "year", "allowed: a whole number"),
    ({**RASTER, "year": 1999}, "year", "no year 1999 of clcplus; allowed: 2023"),
    ({**RASTER, "series": "snow"}, "series", "no series 'snow'; allowed: clcplus"),
    ({**RASTER, REFUSED: "x"}, REFUSED, "unknown; allowed: product, aoi"),
    ({**RASTER, "aoi": 5}, "aoi", "allowed"),
    ({**RASTER, "aoi": ""}, "aoi", "allowed"),
    ({**RASTER, "aoi": "POLYGON"}, "aoi", "llowed"),
    ({**RASTER, "aoi": "POINT(1 2)"}, "aoi", "llowed"),
    ({**RASTER, "aoi": "POLYGON((0 50, 1 51, 1 50, 0 51, 0 50))"}, "aoi", "crosses itself at 0.5 50.5"),
    ({**RASTER, "aoi": {"bbox": [200, 0, 201, 1]}}, "aoi", "-180 to 180"),
    ({**RASTER, "aoi": {"bbox": [1, 2, 3]}}, "aoi", "a box"),
    ({**RASTER, "aoi": {"type": "Polygon", "coordinates": []}}, "aoi", "The area is empty"),
    ({**RASTER, "aoi": {"href": "https://example.org/a.json"}}, "aoi", "is a reference"),
]


@pytest.mark.parametrize(("inputs", "name", "expected"), WRONG)
def test_unreadable_inputs_are_refused_as_for_an_order(inputs: Any, name: str, expected: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        estimate(inputs)
    assert refused.value.input == name
    assert expected in refused.value.message
    with pytest.raises(InvalidInput) as by_order:
        order(inputs)
    assert by_order.value.message == refused.value.message


def test_a_broken_source_is_a_server_error(tmp_path: Path) -> None:
    with pytest.raises(BrokenSource):
        estimate(RASTER, Catalogue((replace(PRODUCT, raster=tmp_path / "missing"),)))


def test_the_limit_is_the_areas_own() -> None:
    assert read_area({"bbox": [0, 42, 28, 60]}).km2 < 5_000_000
    assert REFUSED not in estimate({**RASTER, "aoi": {"bbox": [0, 42, 28, 60]}})


def test_the_example_can_be_estimated() -> None:
    assert estimate(EstimateProduct.description["example"]["inputs"])


def test_the_estimate_is_synchronous_and_its_schemas_are_valid() -> None:
    description = EstimateProduct.description
    assert description["jobControlOptions"] == ["sync-execute"]
    assert description["inputs"] == ExtractProduct.description["inputs"]
    for described in (*description["inputs"].values(), *description["outputs"].values()):
        Draft202012Validator.check_schema(described["schema"])
        OAS30Validator.check_schema(described["schema"])
