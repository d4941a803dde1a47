from typing import Any

import pytest

from products.catalogue import Catalogue, InvalidConfiguration, catalogue_of
from products.classes import LandCoverClass
from products.errors import UnknownProduct

ENTRY = {"title": "Land", "year": 2023, "raster": "pixels", "vector": "polygons", "attribution": "Somebody"}
RESOURCES = {"pixels": {"providers": [{"data": "a.tif"}]}, "polygons": {"providers": [{"data": "b.gpkg"}]}}


def configuration(**changed: Any) -> dict[str, Any]:
    return {"products": {"land": {**ENTRY, **changed}}, "resources": RESOURCES}


def test_the_first_product_is_the_default() -> None:
    product = catalogue_of(configuration()).default
    assert (product.id, product.year, product.raster.name) == ("land", 2023, "a.tif")
    assert product.vector is not None
    assert product.vector.name == "b.gpkg"


def several() -> Catalogue:
    products = {
        "old": {**ENTRY, "year": 2018, "version": "V1_0"},
        "land": {**ENTRY, "vector": None},
        "ice": {**ENTRY, "series": "ice", "classes": [{"value": 2, "name": "Ice", "colour": "#00ffff"}]},
    }
    return catalogue_of({"products": products, "resources": RESOURCES})


def test_a_product_is_found_by_series_and_year_with_the_newest_as_default() -> None:
    catalogue = several()
    assert catalogue.default.id == "land"
    assert catalogue.find("clcplus", 2018).id == "old"
    assert catalogue.find("ice").classes == (LandCoverClass(2, "Ice", (0, 255, 255)),)
    assert catalogue.default.vector is None
    assert catalogue.years("clcplus") == (2023, 2018)


@pytest.mark.parametrize(
    ("series", "year", "expected"),
    [("snow", None, "allowed: clcplus, ice"), ("ice", 2018, "allowed: 2023"), (None, 1999, "allowed: 2023, 2018")],
)
def test_an_unknown_product_is_refused_with_the_known_ones(series: str | None, year: int | None, expected: str) -> None:
    with pytest.raises(UnknownProduct, match=expected):
        several().find(series, year)


def test_a_series_has_a_year_once() -> None:
    products = {"land": ENTRY, "again": ENTRY}
    with pytest.raises(InvalidConfiguration, match="2023 twice"):
        catalogue_of({"products": products, "resources": RESOURCES})


def test_each_year_of_a_raster_is_a_product_of_its_series() -> None:
    files = {2012: "old.tif", 2018: "middle.tif", 2023: "a.tif"}
    years = [{"year": year, "data": data} for year, data in files.items()]
    resources = {**RESOURCES, "pixels": {"providers": [{"data": "a.tif", "years": years}]}}
    entry = {**ENTRY, "title": "Land 2023", "accuracy": "90 %", "citation": "Somebody 2023"}
    catalogue = catalogue_of({"products": {"land-2023": entry}, "resources": resources})
    assert catalogue.years("clcplus") == (2023, 2018, 2012)
    assert (catalogue.default.raster.name, catalogue.default.accuracy) == ("a.tif", "90 %")
    older = catalogue.find("clcplus", 2018)
    assert (older.id, older.title, older.raster.name, older.vector) == ("land-2018", "Land 2018", "middle.tif", None)
    assert (older.accuracy, older.citation, older.attribution) == ("", "", "Somebody")
    assert older.collections == ("pixels",)


def test_a_year_that_is_a_product_itself_is_that_product() -> None:
    years = [{"year": 2018, "data": "b.tif"}, {"year": 2023, "data": "a.tif"}]
    resources = {**RESOURCES, "pixels": {"providers": [{"data": "a.tif", "years": years}]}}
    resources["older"] = {"providers": [{"data": "c.tif"}]}
    products = {"land": {**ENTRY, "vector": None}, "then": {**ENTRY, "year": 2018, "raster": "older", "vector": None}}
    catalogue = catalogue_of({"products": products, "resources": resources})
    assert [(each.id, each.raster.name) for each in catalogue.products] == [("land", "a.tif"), ("then", "c.tif")]


@pytest.mark.parametrize("years", ["2018", [{"year": "x", "data": "b.tif"}], [{"year": 2018}], [None]])
def test_malformed_years_are_no_products(years: Any) -> None:
    resources = {**RESOURCES, "pixels": {"providers": [{"data": "a.tif", "years": years}]}}
    assert len(catalogue_of({"products": {"land": ENTRY}, "resources": resources}).products) == 1


WATER = {"value": 1, "name": "Water", "colour": "#0000ff"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"title": ""}, "products.land: title missing"),
        ({"year": None, "title": None}, "products.land: title, year missing"),
        ({"year": "soon"}, "products.land.year: 'soon'; allowed: a whole number, such as 2023"),
        ({"raster": "zz"}, "products.land.raster: there is no collection 'zz' with a source"),
        ({"colour": "red"}, "products.land: colour unknown"),
        ({"classes": []}, "products.land.classes: must be a list of classes"),
        ({"classes": [WATER, WATER]}, "products.land.classes: two classes have the same value"),
        ({"version": "V 1"}, "products.land.version: 'V 1'; allowed: letters, digits, `.`, `_` and `-`"),
        (
            {"classes": [{"value": 255, "name": "Ice", "colour": "#00ffff"}]},
            'is no class; allowed: {value: 0 to 254, name, colour: "#rrggbb"}',
        ),
        ({"raster": ["pixels"]}, "products.land.raster: there is no collection ['pixels'] with a source"),
    ],
)
def test_each_mistake_of_a_product_has_a_clear_message(changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        catalogue_of(configuration(**changed))
    assert str(refused.value).endswith(expected)


@pytest.mark.parametrize(
    ("raster", "vector", "told"),
    [
        ("areas", "areas", "products.land.raster: 'areas' has a provider of the type feature; allowed: a"),
        ("pixels", "pixels", "products.land.vector: 'pixels' has a provider of the type coverage; allowed: a"),
        ("pixels", "notes", "products.land.vector: 'notes' has a provider of the type record; allowed: a"),
    ],
)
def test_a_product_has_a_coverage_and_features(raster: str, vector: str, told: str) -> None:
    kinds = {"pixels": "coverage", "areas": "feature", "notes": "record"}
    resources = {name: {"providers": [{"type": kind, "data": f"{name}.x"}]} for name, kind in kinds.items()}
    with pytest.raises(InvalidConfiguration) as refused:
        catalogue_of({"products": {"land": {**ENTRY, "raster": raster, "vector": vector}}, "resources": resources})
    assert str(refused.value).startswith(told)


@pytest.mark.parametrize("products", [None, {}, [], 7])
def test_without_a_product_nothing_can_be_ordered(products: Any) -> None:
    with pytest.raises(InvalidConfiguration):
        catalogue_of({"products": products, "resources": RESOURCES})


def test_a_product_that_is_not_a_mapping_is_reported() -> None:
    with pytest.raises(InvalidConfiguration, match=r"products\.land: must be a mapping"):
        catalogue_of({"products": {"land": 7}, "resources": RESOURCES})
