"""The process that measures the classes of an area."""

from collections.abc import Mapping
from typing import Any, ClassVar, override

import shapely

from auth.policy import Extent
from processes.areas import AREA, BOX, NATION
from processes.base import Processor
from processes.errors import InvalidInput
from processes.messages import shown
from processes.order import ORDER
from processes.product_choice import PRODUCT_INPUTS, product_of
from products.area import Area
from products.catalogue import Catalogue, Product
from products.errors import AreaTooLarge, InvalidArea, RequestTooLarge, UnknownPlace
from products.limits import MAX_PLACES
from products.places import PARKS, Place, places_of, source_of
from products.raster.cover import has_data
from products.raster.measured import has_values
from products.raster.statistics import same_grid

_WAYS = ("aoi", "park", "nation", "collection")
_ALLOWED_PLACES = "exactly one of aoi, park, nation, or collection with bbox"
_NAMED: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 200}


class AreaStatistics(Processor):
    """Count the pixels of each class in an area, and the change of classes since an earlier year; or measure values."""

    work = "orchestration.work.area_statistics"
    raster = "cut"
    quick = True
    of_values = True
    files = False

    description: ClassVar[Mapping[str, Any]] = {
        "id": "area-statistics",
        "version": "1.0.0",
        "title": "Area by class",
        "description": "How much of an area, a park, a nation, or of each feature of a collection in a box has which "
        f"class, in km2 on the ellipsoid and in per cent. Give {_ALLOWED_PLACES}. With an earlier year also what "
        "became of what, class by class. Up to 100,000 km2 of data every pixel is counted, above it those of an "
        "overview; the result says which, and how exact it is. Of a product of values, such as heights, it has the "
        "mean, the least and the greatest value and the standard deviation of each band.",
        "keywords": ["land cover", "CLC+ Backbone", "statistics", "area", "change"],
        "jobControlOptions": ["sync-execute", "async-execute", "dismiss"],
        "outputTransmission": ["value", "reference"],
        "inputs": {
            "aoi": {
                "title": "Area of interest",
                "description": "An area, at most 5,000,000 km2, in longitude and latitude (WGS 84). Edges are straight "
                "in longitude and latitude; a pixel belongs to the area when its centre does.",
                "minOccurs": 0,
                "schema": AREA,
            },
            "park": {
                "title": "Park",
                "description": f"Name, in any case, or id of a feature of the collection {PARKS}.",
                "minOccurs": 0,
                "schema": _NAMED,
            },
            "nation": {**NATION, "minOccurs": 0},
            "collection": {
                "title": "Collection",
                "description": "A collection of polygons; each that meets the bbox is measured, whole, at most "
                f"{MAX_PLACES}.",
                "minOccurs": 0,
                "schema": _NAMED,
            },
            "bbox": {
                "title": "Bounding box",
                "description": "Which features of the collection: those that meet it.",
                "minOccurs": 0,
                "schema": BOX,
            },
            "since": {
                "title": "Earlier year",
                "description": "A year of the series to compare with: what became of what, class by class.",
                "minOccurs": 0,
                "schema": {"type": "integer"},
            },
            **PRODUCT_INPUTS,
            **ORDER,
        },
        "outputs": {
            "statistics": {
                "title": "The statistics",
                "description": "By place and class, or from class to class: as JSON, as a table, or as a chart in the "
                "colours of the classes.",
                "schema": {
                    "oneOf": [
                        {"type": "object", "contentMediaType": "application/json"},
                        {"type": "string", "contentMediaType": "text/csv"},
                        {"type": "string", "contentMediaType": "image/svg+xml"},
                    ]
                },
            }
        },
        "example": {
            "inputs": {"park": "Białowieski National Park"},
            "outputs": {"statistics": {"format": {"mediaType": "image/svg+xml"}}},
        },
    }

    @override
    def check(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
        """Return the inputs as they are stored; for a park with the collection that it is read from."""
        checked = super().check(inputs, catalogue)
        return {**checked, "collection": PARKS} if "park" in checked else checked

    @override
    def place(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> Extent:
        """Return the extent of all places."""
        places = _places(_way(inputs), inputs, catalogue)
        if len(places) == 1:
            return places[0].area
        return Area(shapely.union_all([place.area.geometry for place in places]))

    @override
    def reads(self, inputs: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the collection of the named features."""
        collection = PARKS if "park" in inputs else inputs.get("collection")
        return (collection,) if isinstance(collection, str) else ()

    @override
    def check_more(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> None:
        """Refuse places that are invalid, too large, too many or without data, and years that cannot be compared."""
        way = _way(inputs)
        places = _places(way, inputs, catalogue)
        product = product_of(inputs, catalogue)
        if product.bands:
            _check_values(way, places, product, inputs)
            return
        products = [product]
        if "since" in inputs:
            products.append(_earlier(inputs["since"], product, catalogue))
        for each in products:
            _check_data(way, places, each)


def _way(inputs: Mapping[str, Any]) -> str:
    """Return the one input that names the places; a park may also name its collection."""
    given = [way for way in _WAYS if way in inputs]
    if given == ["park", "collection"] and inputs["collection"] == PARKS:
        given = ["park"]
    if len(given) != 1:
        name = given[0] if given else "aoi"
        raise InvalidInput(name, f"inputs: {' and '.join(given) or 'no place'} given; allowed: {_ALLOWED_PLACES}")
    if (given[0] == "collection") is not ("bbox" in inputs):
        raise InvalidInput("bbox", "input 'bbox': goes together with collection; allowed: both or neither")
    return given[0]


def _places(way: str, inputs: Mapping[str, Any], catalogue: Catalogue) -> tuple[Place, ...]:
    name = "bbox" if way == "collection" else way
    try:
        if way == "collection":
            _check_collection(inputs["collection"], catalogue)
        return places_of({key: inputs[key] for key in (way, "bbox") if key in inputs}, catalogue)
    except (InvalidArea, AreaTooLarge, RequestTooLarge, UnknownPlace) as error:
        raise InvalidInput(name, f"input '{name}': {error}") from error


def _check_collection(collection: str, catalogue: Catalogue) -> None:
    try:
        source_of(collection, catalogue)
    except UnknownPlace as error:
        raise InvalidInput("collection", f"input 'collection': {error}") from error


def _earlier(year: int, product: Product, catalogue: Catalogue) -> Product:
    """Return the product of the earlier year. Raises InvalidInput if its pixels do not match those of the later one."""
    others = {each.year: each for each in catalogue.products if each.series == product.series}
    there = ", ".join(str(other) for other in catalogue.years(product.series) if other < product.year)
    if year >= product.year or year not in others:
        problem = f"{shown(year)} is not a year of {product.series} before {product.year}; allowed: {there or 'none'}"
        raise InvalidInput("since", f"input 'since': {problem}")
    if not same_grid(others[year].raster, product.raster):
        problem = f"the pixels of {year} are not those of {product.year}; allowed: a year on the same grid"
        raise InvalidInput("since", f"input 'since': {problem}")
    return others[year]


def _check_values(way: str, places: tuple[Place, ...], product: Product, inputs: Mapping[str, Any]) -> None:
    if "since" in inputs:
        raise InvalidInput(
            "since", f"input 'since': {product.series} has values, not classes; allowed: no earlier year"
        )
    if not any(has_values(product.raster, place.area) for place in places):
        problem = f"{product.title} does not reach there; allowed: a place that it covers"
        raise InvalidInput(way, f"input '{way}': {problem}")


def _check_data(way: str, places: tuple[Place, ...], product: Product) -> None:
    if any(has_data(product.raster, place.area) for place in places):
        return
    where = places[0].name if way in {"park", "nation"} else "the area" if way == "aoi" else "any feature of the bbox"
    raise InvalidInput(
        way,
        f"input '{way}': there is nothing of {product.title} in {where}; allowed: a place that has some of it",
    )
