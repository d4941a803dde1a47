"""National and European orders are checked before they are stored, and existing products are found."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_schema_validator import OAS30Validator

from orchestration.prebuilt.product import PrebuiltProduct, PrebuiltProducts
from processes.base import Processor
from processes.echo import Echo
from processes.errors import InvalidInput
from processes.european_product import EuropeanProduct
from processes.extract_product import ExtractProduct
from processes.national_product import NationalProduct
from products.catalogue import Catalogue, Product
from products.errors import BrokenSource
from products.nations import find_nation
from products.progress import Report, unheard

_RASTER = Path(__file__).parents[2] / "sample" / "clcplus_2023_parks.tif"
_CATALOGUE = Catalogue((Product("sample", "CLC+ Backbone 2023", 2023, _RASTER, None, "Copernicus"),))
_DEFAULTS = {
    "series": "clcplus",
    "year": 2023,
    "project": "CLC-Backbone-Products",
    "test": False,
    "send_mail": False,
}


def national() -> NationalProduct:
    return NationalProduct({"name": "national-product"})


def european() -> EuropeanProduct:
    return EuropeanProduct({"name": "european-product"})


@pytest.mark.parametrize("nation", ["Poland", "POLAND", "poland", " pOLAND  ", "Czech  republic"])
def test_a_nation_is_accepted_in_upper_or_lower_case(nation: str) -> None:
    given = {"product": "Raster", "nation": nation}
    assert national().check(given, _CATALOGUE) == {**given, **_DEFAULTS}


def test_a_nation_without_data_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"^input 'nation': there is nothing of CLC\+ .* in Bosnia and Herzegovina"):
        national().check({"product": "Raster", "nation": "bosnia AND herzegovina"}, _CATALOGUE)


def test_a_product_without_a_vector_is_named() -> None:
    with pytest.raises(InvalidInput, match="has no Vector; allowed: Raster"):
        national().check({"product": "Vector", "nation": "Poland"}, _CATALOGUE)


def test_a_european_order_needs_only_the_product() -> None:
    assert european().check({"product": "Raster"}, _CATALOGUE) == {"product": "Raster", **_DEFAULTS}


@pytest.mark.parametrize("content", [None, b"", b"II*\0 no raster"])
def test_a_broken_source_is_a_server_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "raster.tif"
    if content is not None:
        path.write_bytes(content)
    broken = Catalogue((Product("sample", "CLC+ Backbone 2023", 2023, path, None, "Copernicus"),))
    with pytest.raises(BrokenSource):
        european().check({"product": "Raster"}, broken)
    with pytest.raises(BrokenSource):
        national().check({"product": "Raster", "nation": "Poland"}, broken)


def test_only_existing_products_are_ready_in_upper_or_lower_case(tmp_path: Path) -> None:
    prebuilt_files, product = PrebuiltProducts(tmp_path / "results"), _CATALOGUE.default
    stage = tmp_path / "results" / "stage"
    stage.mkdir(parents=True)

    def ready(process: Processor, **inputs: str) -> bool:
        return process.ready({"product": "Raster", **inputs}, _CATALOGUE, prebuilt_files) is not None

    def write(target: Path, _report: Report) -> None:
        target.write_bytes(b"x")

    assert not ready(national(), nation="Poland")
    prebuilt_files.provide(PrebuiltProduct(product, "Raster", find_nation("Poland")), write, stage, unheard)
    assert ready(national(), nation="pOLAND")
    assert not ready(national(), nation="Slovakia")
    assert not ready(european())
    prebuilt_files.provide(PrebuiltProduct(product, "Raster"), write, stage, unheard)
    assert ready(european())
    assert not ready(ExtractProduct({"name": "extract-product"}))
    assert not ready(Echo({"name": "echo"}))


@pytest.mark.parametrize("process", [NationalProduct, EuropeanProduct])
def test_the_description_is_complete(process: type[Processor]) -> None:
    described: Any = process.description
    assert described["jobControlOptions"] == ["sync-execute", "async-execute", "dismiss"]
    assert process({"name": described["id"]}).check(described["example"]["inputs"], _CATALOGUE)
    for each in described["inputs"].values():
        Draft202012Validator.check_schema(each["schema"])
        OAS30Validator.check_schema(each["schema"])
