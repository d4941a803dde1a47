"""Area and year of statistics are checked before an order is stored."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import yaml
from pyproj import Transformer

from processes.area_statistics import AreaStatistics
from processes.errors import InvalidInput
from processes.estimate_product import EstimateProduct
from processes.extract_product import ExtractProduct
from products.catalogue import Catalogue, FeatureSource, Product, read_catalogue
from products.errors import BrokenSource
from products.vector.geopackage import write_geopackage
from products.vector.layer import Column, Layer
from tests.odd.rasters import surface, written

_RASTER = Path(__file__).parents[2] / "sample" / "clcplus_2023_parks.tif"
_NATIONS = Path(__file__).parents[2] / "products" / "nations" / "nations.gpkg"
_BOX = {"bbox": [19.8, 50.1, 19.9, 50.3]}
_EMPTY = {"bbox": [18, 51, 18.1, 51.1]}
_PARK = "Ojcowski National Park"


def process() -> AreaStatistics:
    return AreaStatistics({"name": "area-statistics"})


@pytest.fixture
def catalogue(sample: Path, two_years: tuple[Path, Path], tmp_path: Path) -> Catalogue:
    """Return the sample of 2023, two smaller years on another grid, one with a missing file, and parks."""
    earlier, later = two_years

    def product(year: int, raster: Path) -> Product:
        return Product(f"land-{year}", f"Land {year}", year, raster, None, "Somebody")

    products = product(2023, _RASTER), product(2021, later), product(2019, earlier), product(2001, tmp_path / "no.tif")
    parks = FeatureSource("parks", sample / "sample" / "parks.gpkg")
    land_cover = FeatureSource("clcplus-vector", sample / "sample" / "clcplus_2023_parks.gpkg")
    return Catalogue(products, (parks, land_cover, FeatureSource("nations", _NATIONS, "id")))


@pytest.mark.parametrize(
    "where",
    [
        {"aoi": _BOX},
        {"park": "ojcowski  NATIONAL park"},
        {"park": "859"},
        {"nation": "pOLAND"},
        {"collection": "parks", "bbox": _BOX},
        {"collection": "nations", "bbox": {"bbox": [20, 52, 20.1, 52.1]}},
        {"park": _PARK, "collection": "parks"},
        {"park": _PARK, "year": 2021, "since": 2019},
    ],
)
def test_the_area_is_given_in_four_ways(catalogue: Catalogue, where: dict[str, Any]) -> None:
    checked = process().check(where, catalogue)
    assert checked.items() >= where.items()
    assert (checked["series"], checked["year"]) == ("clcplus", where.get("year", 2023))
    assert checked.get("collection") == ("parks" if "park" in where else where.get("collection")), "for a policy to see"
    assert process().check(checked, catalogue) == checked, "as stored, it can be ordered again"


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [
        ({}, "aoi", "no place given; allowed: exactly one of aoi, park, nation, or collection with bbox"),
        ({"aoi": _BOX, "nation": "Poland"}, "aoi", "aoi and nation given; allowed: exactly one of"),
        ({"park": _PARK, "collection": "nations"}, "park", "park and collection given"),
        ({"park": _PARK, "collection": "parks", "bbox": _BOX}, "bbox", "goes together with collection"),
        ({"aoi": _BOX, "bbox": _BOX}, "bbox", "goes together with collection"),
        ({"bbox": _BOX}, "aoi", "no place given"),
        ({"collection": "parks"}, "bbox", "goes together with collection"),
        ({"aoi": "POLYGON((0 0, 1 1, 0 1, 1 0, 0 0))"}, "aoi", "crosses itself at"),
        ({"aoi": {"bbox": [-40, 20, 60, 80]}}, "aoi", "at most 5,000,000"),
        ({"aoi": _EMPTY}, "aoi", "nothing of Land 2023 in the area; allowed: a place that has"),
        ({"aoi": 7}, "aoi", "allowed: "),
        (
            {"park": "Yellowstone"},
            "park",
            r"'Yellowstone' is not the name .*; allowed: .*Ojcowski National Park \(859\)",
        ),
        ({"park": ""}, "park", "allowed: a string"),
        ({"park": 859}, "park", "859; allowed: a string"),
        ({"nation": "Atlantis"}, "nation", "'Atlantis' is not a nation; allowed: Albania"),
        ({"nation": "Iceland"}, "nation", "nothing of Land 2023 in Iceland"),
        (
            {"collection": "clcplus-raster", "bbox": _BOX},
            "collection",
            "'clcplus-raster'; allowed: parks, clcplus-vector",
        ),
        ({"collection": "parks", "bbox": _EMPTY}, "bbox", "no polygon of parks meets the bbox"),
        ({"collection": "parks", "bbox": {"bbox": [1, 2, 3]}}, "bbox", "allowed: "),
        ({"collection": "parks", "bbox": {"bbox": [3, 4, 1, 2]}}, "bbox", "a bbox has an inside"),
        (
            {"collection": "clcplus-vector", "bbox": _BOX},
            "bbox",
            r"[\d,]+ features of clcplus-vector .* allowed are 100",
        ),
        ({"collection": "nations", "bbox": {"bbox": [-20, 35, 35, 70]}}, "bbox", "at most 5,000,000 km2"),
        ({"collection": "nations", "bbox": {"bbox": [-8, 39.5, -7.9, 39.6]}}, "collection", "any feature of the bbox"),
        ({"aoi": _BOX, "since": "2019"}, "since", '"2019"; allowed: a whole number'),
        ({"aoi": _BOX, "since": 2023}, "since", "2023 is not a year of clcplus before 2023; allowed: 2021, 2019, 2001"),
        ({"aoi": _BOX, "since": 2020}, "since", "2020 is not a year .*; allowed: 2021, 2019, 2001"),
        (
            {"aoi": _BOX, "since": 2021},
            "since",
            "the pixels of 2021 are not those of 2023; allowed: a year on the same",
        ),
        ({"aoi": _BOX, "year": 2001, "since": 1999}, "since", "allowed: none"),
        ({"aoi": _BOX, "year": 1999}, "year", "no year 1999"),
        ({"aoi": _BOX, "series": "snow"}, "series", "allowed: clcplus"),
        ({"nation": "Poland", "classes": [1]}, "classes", "is unknown; allowed: aoi, park"),
    ],
)
def test_an_invalid_input_is_named_with_the_allowed_values(
    catalogue: Catalogue, given: dict[str, Any], name: str, expected: str
) -> None:
    with pytest.raises(InvalidInput, match=expected) as refused:
        process().check(given, catalogue)
    assert refused.value.input == name


def test_an_ambiguous_name_is_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    layer = Layer("twins", 4326, (Column("name", "TEXT"),))
    with write_geopackage(tmp_path / "twins.gpkg", layer) as writer:
        here = shapely.box(19.8, 50.1, 19.9, 50.3)
        writer.add([1, 2, 3], np.array([here, here, here]), [["Twin"], ["TWIN"], [None]])
    twins = Catalogue(catalogue.products, (FeatureSource("parks", tmp_path / "twins.gpkg"),))
    with pytest.raises(
        InvalidInput, match=r"not the name or id of exactly one feature; allowed: Twin \(1\), TWIN \(2\)$"
    ):
        process().check({"park": "twin"}, twins)
    for name in ("2", "3"):
        assert process().check({"park": name}, twins)["park"] == name


def test_without_a_collection_of_parks_there_is_no_park(catalogue: Catalogue) -> None:
    with pytest.raises(InvalidInput, match="no collection of features 'parks'; allowed: none"):
        process().check({"park": _PARK}, Catalogue(catalogue.products))


def test_a_broken_source_is_a_server_error(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(BrokenSource):
        process().check({"aoi": _BOX, "year": 2001}, catalogue)
    with pytest.raises(BrokenSource):
        process().check({"aoi": _BOX, "year": 2019, "since": 2001}, catalogue)
    missing = FeatureSource("parks", tmp_path / "no.gpkg")
    with pytest.raises(BrokenSource):
        process().check({"park": _PARK}, Catalogue(catalogue.products, (missing,)))


@pytest.fixture
def heights(tmp_path: Path) -> Path:
    """Return a configuration of a raster of two bands, as a product of values and the one product of classes."""
    values = surface(2, "float32")
    values[1, :, :] = np.nan
    written(tmp_path / "heights.tif", values)
    raster = {"type": "coverage", "name": "plugins.cog.CogProvider", "data": "heights.tif"}
    bands = [{"name": "height", "title": "Height", "unit": "m"}, {"name": "empty"}]
    collection = {"type": "collection", "providers": [{**raster, "bands": bands}]}
    product = {"title": "Heights", "year": 2020, "series": "heights", "raster": "heights", "attribution": "Somebody"}
    document = {"resources": {"heights": collection}, "products": {"heights": product}}
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(document))
    return path


def _in_degrees(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    to_degrees = Transformer.from_crs(3035, 4326, always_xy=True)
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return {"type": "Polygon", "coordinates": [[list(to_degrees.transform(*corner)) for corner in corners]]}


def test_a_product_of_values_is_measured(heights: Path) -> None:
    measured = AreaStatistics({"name": "area-statistics", "configuration": str(heights)})
    aoi = _in_degrees(4_900_200, 3_096_000, 4_900_400, 3_099_800)
    kind, document = measured.execute({"aoi": aoi})
    assert (kind, document["unit"]) == ("application/json", "that of each property; every pixel has the same weight")
    height, empty = document["features"][0]["values"]
    expected = surface(1, "float32")[0, 10:200, 10:20]
    assert {**height, "mean": 0, "deviation": 0} == {
        "property": "height",
        "title": "Height",
        "unit": "m",
        "mean": 0,
        "minimum": pytest.approx(expected.min()),
        "maximum": pytest.approx(expected.max()),
        "deviation": 0,
        "pixels": 1900,
    }
    assert height["mean"] == pytest.approx(expected.mean())
    assert (empty["title"], empty["mean"], empty["pixels"]) == ("band2", None, 0)
    as_text = {"statistics": {"format": {"mediaType": "text/csv"}}}
    _, table = measured.execute({"aoi": aoi}, as_text)
    [first, second] = csv.DictReader(io.StringIO(table))
    assert (first["property"], first["unit"], first["pixels"], second["mean"]) == ("height", "m", "1900", "")
    _, chart = measured.execute({"aoi": aoi}, {"statistics": {"format": {"mediaType": "image/svg+xml"}}})
    assert "Height: mean 17.8286 m, from 3.42857 to 32.2286 m" in chart
    assert "band2: no data" in chart


def test_what_is_for_classes_is_refused_for_values(heights: Path) -> None:
    aoi, catalogue = _in_degrees(4_900_200, 3_096_000, 4_900_400, 3_099_800), read_catalogue(heights)
    for inputs, name, found in (
        ({"aoi": aoi, "since": 2019}, "since", "has values, not classes; allowed: no earlier year"),
        ({"aoi": _BOX}, "aoi", "Heights does not reach there"),
    ):
        with pytest.raises(InvalidInput, match=found) as refused:
            process().check(inputs, catalogue)
        assert refused.value.input == name
    for other in (ExtractProduct({"name": "extract-product"}), EstimateProduct({"name": "estimate-product"})):
        with pytest.raises(InvalidInput, match="heights has values, not classes; allowed: a series of classes"):
            other.check({"product": "Raster", "aoi": aoi}, catalogue)
