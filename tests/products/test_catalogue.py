from typing import Any

import pytest

from products.catalogue import InvalidConfiguration, catalogue_of

ENTRY = {"title": "Land", "year": 2023, "raster": "pixels", "vector": "polygons", "attribution": "Somebody"}
RESOURCES = {"pixels": {"providers": [{"data": "a.tif"}]}, "polygons": {"providers": [{"data": "b.gpkg"}]}}


def configuration(**changed: Any) -> dict[str, Any]:
    return {"products": {"land": {**ENTRY, **changed}}, "resources": RESOURCES}


def test_the_first_product_is_the_default() -> None:
    product = catalogue_of(configuration()).default
    assert (product.id, product.year, product.raster.name, product.vector.name) == ("land", 2023, "a.tif", "b.gpkg")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"title": ""}, "products.land: title missing"),
        ({"year": None, "vector": None}, "products.land: year, vector missing"),
        ({"year": "soon"}, "products.land.year: 'soon' is no year"),
        ({"raster": "zz"}, "products.land.raster: 'zz' is no collection with a source"),
        ({"raster": ["pixels"]}, "products.land.raster: ['pixels'] is no collection with a source"),
    ],
)
def test_what_is_wrong_with_a_product_is_told_in_words(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        catalogue_of(configuration(**changed))
    assert str(refused.value) == told


@pytest.mark.parametrize("products", [None, {}, [], 7])
def test_without_a_product_nothing_can_be_ordered(products: Any) -> None:
    with pytest.raises(InvalidConfiguration):
        catalogue_of({"products": products, "resources": RESOURCES})


def test_a_product_that_is_no_mapping_is_told() -> None:
    with pytest.raises(InvalidConfiguration, match=r"products\.land: no mapping"):
        catalogue_of({"products": {"land": 7}, "resources": RESOURCES})
