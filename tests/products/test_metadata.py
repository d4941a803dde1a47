"""The files beside a product, read with the libraries that users have."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import shapely
from owslib.etree import etree
from owslib.iso import MD_Metadata
from pystac.errors import STACValidationError

from products.area import Area
from products.catalogue import Product, catalogue_of
from products.operation import operation_between
from products.package.documents import _light, write_metadata
from products.package.metadata import describe
from products.progress import unheard
from products.raster.extract import extract_raster
from products.vector.extract import extract_vector

AREA = Area(shapely.box(23.80, 52.70, 23.84, 52.72))


@pytest.fixture
def product(configuration: Mapping[str, Any]) -> Product:
    return catalogue_of(configuration).default


@pytest.fixture
def raster(product: Product, tmp_path: Path) -> Path:
    return extract_raster(product.raster, AREA, tmp_path, name="Raster_1", report=unheard)[0]


def iso(path: Path) -> Any:
    return MD_Metadata(etree.parse(path).getroot())  # type: ignore[no-untyped-call]


def test_owslib_reads_the_iso_document(raster: Path, product: Product) -> None:
    known = describe(raster, product, AREA.geometry, place='a <wild> & "quoted" place')
    xml, _ = write_metadata(known, raster.parent)
    assert xml.name == "Raster_1.xml"
    read = iso(xml)
    identification = read.identification[0]
    assert read.identifier == "Raster_1"
    assert read.hierarchy == "dataset"
    assert read.referencesystem.code == "http://www.opengis.net/def/crs/EPSG/0/3035"
    assert identification.title == 'CLC+ Backbone 2023, a <wild> & "quoted" place'
    assert identification.abstract == product.abstract
    assert identification.uselimitation == [product.attribution]
    assert identification.otherconstraints == [product.licence]
    assert identification.distance == ["10"]
    assert (identification.temporalextent_start, identification.temporalextent_end) == ("2023-01-01", "2023-12-31")
    box = identification.extent.boundingBox
    assert [float(side) for side in (box.minx, box.miny, box.maxx, box.maxy)] == [23.80, 52.70, 23.84, 52.72]
    assert product.lineage == read.dataquality.lineage
    assert read.datestamp == known.created.date().isoformat()
    digest = hashlib.sha256(raster.read_bytes()).hexdigest()
    assert identification.supplementalinformation == f"SHA-256 of Raster_1.tif: {digest}"


def test_pystac_reads_the_item_and_finds_it_valid(raster: Path, product: Product) -> None:
    """The core schema is pystac's own copy; the extensions' schemas are only on the internet and not used."""
    known = describe(raster, product, AREA.geometry, place="a place")
    _, path = write_metadata(known, raster.parent)
    document = json.loads(path.read_text())
    pystac.Item.from_dict({**document, "stac_extensions": []}).validate()
    item = pystac.Item.from_file(str(path))
    asset = item.assets["data"]
    assert item.id == "Raster_1"
    assert item.properties["proj:code"] == "EPSG:3035"
    assert Path(str(asset.get_absolute_href())) == raster
    assert asset.extra_fields["file:checksum"] == "1220" + hashlib.sha256(raster.read_bytes()).hexdigest()
    assert asset.extra_fields["file:size"] == raster.stat().st_size
    assert asset.extra_fields["classification:classes"][0]["color_hint"] == "FF0000"
    assert shapely.geometry.shape(item.geometry).equals(AREA.geometry)


def test_an_invalid_item_is_detected(raster: Path, product: Product) -> None:
    _, path = write_metadata(describe(raster, product, AREA.geometry, place="a place"), raster.parent)
    document = json.loads(path.read_text())
    document["properties"]["created"] = "yesterday"
    document["assets"]["data"]["roles"] = "data"
    with pytest.raises(STACValidationError):
        pystac.validation.validate_dict({**document, "stac_extensions": []})


def test_both_documents_have_the_operation_and_its_accuracy(raster: Path, product: Product) -> None:
    operation = operation_between(3035, 3844)
    known = describe(raster, product, AREA.geometry, place="a place", operation=operation)
    xml, item = write_metadata(known, raster.parent)
    assert json.loads(item.read_text())["properties"]["operation_accuracy"] == operation.accuracy
    assert json.loads(item.read_text())["properties"]["operation"] == operation.name
    assert f"{operation.name}; accuracy {operation.accuracy:g} m." in xml.read_text()


def test_polygons_have_metadata_too(product: Product, tmp_path: Path) -> None:
    assert product.vector is not None
    main = extract_vector(product.vector, AREA, tmp_path, name="Vector_1", report=unheard)[0]
    xml, item = write_metadata(describe(main, product, AREA.geometry, place="a place"), tmp_path)
    assert iso(xml).identification[0].spatialrepresentationtype == ["vector"]
    assert json.loads(item.read_text())["assets"]["data"]["type"] == "application/geopackage+sqlite3"


def test_a_long_outline_is_simplified(raster: Path, product: Product) -> None:
    known = describe(raster, product, shapely.Point(20, 50).buffer(1, quad_segs=5_000), place="a circle")
    _, item = write_metadata(replace(known, licence=""), raster.parent)
    document = json.loads(item.read_text())
    assert len(document["geometry"]["coordinates"][0]) < 2_000
    assert document["bbox"] == pytest.approx([19, 49, 21, 51], abs=0.01)
    assert document["links"] == []


@pytest.mark.parametrize(("side", "parts"), [(30, 900), (40, 1_600)])
def test_an_outline_of_many_parts_is_described_by_its_hull(side: int, parts: int) -> None:
    """Even a simplified part has four points."""
    corners = np.arange(side) * 0.01
    west, south = (each.ravel() for each in np.meshgrid(19 + corners, 49 + corners))
    many = shapely.multipolygons(shapely.box(west, south, west + 0.004, south + 0.004))
    light = _light(many)
    assert (shapely.get_num_coordinates(many), shapely.get_num_coordinates(light)) == (5 * parts, 5)
    assert shapely.covers(light, many)
