"""National and European products have the names of the production system."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.prebuilt.product import Kind, european_name, national_name
from products.catalogue import Product
from products.nations import find_nation

_PRODUCT = Product("clcplus", "CLC+ Backbone", 2018, Path("r.tif"), Path("v.gpkg"), "Copernicus")


@pytest.mark.parametrize(
    ("kind", "nation", "name"),
    [
        ("Raster", "Albania", "CLMS_CLCplus_RASTER_2018_010m_al_02462_V1_1"),
        ("Vector", "ALBANIA", "CLMS_CLCplus_VECTOR_2018_AL_02462_V1_1"),
        ("Raster", "turkey", "CLMS_CLCplus_RASTER_2018_010m_tr_00000_V1_1"),
        ("Vector", "turkey", "CLMS_CLCplus_VECTOR_2018_TR_00000_V1_1"),
        ("Raster", "Guernsey (Channel Islands)", "CLMS_CLCplus_RASTER_2018_010m_gb_03108_V1_1"),
        ("Raster", "Germany", "CLMS_CLCplus_RASTER_2018_010m_de_32632_V1_1"),
    ],
)
def test_the_file_of_a_nation_has_its_name(kind: Kind, nation: str, name: str) -> None:
    found = find_nation(nation)
    assert found is not None
    assert national_name(_PRODUCT, kind, found) == name


def test_the_file_of_europe_has_its_name() -> None:
    assert european_name(_PRODUCT) == "CLMS_CLCplus_RASTER_2018_010m_eu_03035_V1_1"


def test_the_name_has_series_and_version() -> None:
    other = replace(_PRODUCT, series="imperviousness", year=2024, version="V2_0")
    assert european_name(other) == "CLMS_imperviousness_RASTER_2024_010m_eu_03035_V2_0"
