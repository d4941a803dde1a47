"""Products as STAC 1.1.0: a collection for each series, an item for each product and year."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import shapely
from shapely.geometry import mapping

from auth.access import Action
from plugins.coverages import CoverageProvider
from plugins.crs import CRS84, Box, Interval, boxes_of, interval_of
from products.catalogue import Product
from products.package.documents import CLASSIFICATION, FILE, PROJECTION, stac_classes
from routes.common.about import listed_products
from routes.http.media_types import COG, GEOJSON
from routes.pages.respond import OGC, link
from routes.records.record import is_allowed, license_of
from routes.resources import FAILURES, Collection, Resources, ends_of

VERSION = "1.1.0"
_JSON = "application/json"
_PLACES = 7
"""Decimal places of degrees; the last one is a centimetre."""
_WORLD = (-180.0, -90.0, 180.0, 90.0)


@dataclass(frozen=True, slots=True)
class StacItem:
    """A product, which is of one year; without a `provider` its raster cannot be read at present."""

    product: Product
    raster: Collection
    boxes: tuple[Box, ...]
    provider: CoverageProvider | None

    @property
    def id(self) -> str:
        """The id of the product."""
        return self.product.id

    @property
    def year(self) -> int:
        """The year of the product."""
        return self.product.year

    @property
    def series(self) -> str:
        """The id of its collection."""
        return self.product.series

    @property
    def time(self) -> Interval:
        """The first and the last instant."""
        return interval_of("/".join(ends_of(self.year, self.year)))

    @property
    def bbox(self) -> list[float]:
        """West, south, east, north; across the antimeridian west is above east."""
        west, south, _, north = self.boxes[0].bbox
        return [west, south, self.boxes[-1].bbox[2], north]

    @property
    def geometry(self) -> shapely.Geometry:
        """The box as a geometry."""
        return shapely.union_all([shapely.box(*each.bbox) for each in self.boxes])


def items_of(resources: Resources) -> Iterator[StacItem]:
    """Yield the items that the caller may discover, in the order of the products; call it in a thread."""
    for product in listed_products(resources):
        raster = resources.collections[product.collections[0]]
        provider = _readable(raster)
        if provider is not None and provider.years:
            provider = provider.at(interval_of(f"{product.year:04}-06-30"))
        yield StacItem(product, raster, _boxes(raster, provider), provider)


def _readable(raster: Collection) -> CoverageProvider | None:
    if "coverage" not in raster.kinds - raster.foreign or raster.failure() is not None:
        return None
    return raster.readable_coverage()


def _boxes(raster: Collection, provider: CoverageProvider | None) -> tuple[Box, ...]:
    if provider is not None:
        try:
            bbox = [round(edge, _PLACES) for edge in provider.whole.to(CRS84).as_written]
            return boxes_of(bbox, CRS84)
        except FAILURES:
            pass
    return boxes_of(raster.configured["extents"]["spatial"]["bbox"] or _WORLD, CRS84)


def item_document(resources: Resources, item: StacItem) -> dict[str, Any]:
    """Return an item, with assets and links to what the caller may read of it."""
    place, product = f"{resources.url}/stac-api", item.product
    of_series = f"{place}/collections/{quote(item.series)}"
    begin, end = ends_of(item.year, item.year)
    assets = dict(_assets(resources, item))
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [PROJECTION, CLASSIFICATION, *([FILE] if "data" in assets else [])],
        "id": item.id,
        "collection": item.series,
        "geometry": dict(mapping(item.geometry)),
        "bbox": item.bbox,
        "properties": {
            "datetime": None,
            "start_datetime": begin,
            "end_datetime": end,
            "title": product.title,
            "description": description_of(item),
            "license": "other",
            "attribution": product.attribution,
            **_grid(item.provider),
            **_classes(item),
        },
        "assets": assets,
        "links": [
            link(f"{of_series}/items/{quote(item.id)}", "self", GEOJSON, "This item"),
            link(place, "root", _JSON, "STAC API"),
            link(of_series, "parent", _JSON, "The collection"),
            link(of_series, "collection", _JSON, "The collection"),
            license_of(resources, product),
            link(item.raster.url, "related", _JSON, f"{item.raster.title} in OGC API"),
            *_links(resources, item),
        ],
    }


def description_of(item: StacItem) -> str:
    """Return the description of the product, or else of its collection."""
    return item.product.abstract or str(item.raster.configured["description"])


def _grid(provider: CoverageProvider | None) -> dict[str, Any]:
    """Return the members of the projection extension, and the side of a pixel on the ground."""
    if provider is None:
        return {}
    grid = provider.grid
    return {
        "gsd": grid.metres,
        "proj:code": f"EPSG:{grid.epsg}",
        "proj:bbox": list(grid.bounds),
        "proj:shape": [grid.height, grid.width],
        "proj:transform": list(grid.transform)[:6],
    }


def _classes(item: StacItem) -> dict[str, Any]:
    classes = item.product.classes if item.provider is None else item.provider.classes
    return {"classification:classes": stac_classes(classes)} if classes else {}


def _assets(resources: Resources, item: StacItem) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the files and documents that the caller may have. A file is never cut to an area."""
    raster, provider = item.raster, item.provider
    about = f"{resources.url}/products/{quote(item.product.id)}"
    if provider is not None and is_allowed(resources, Action.DOWNLOAD, raster.id, whole=True):
        source = Path(provider.data)
        yield (
            "data",
            {
                "href": f"{raster.url}/files/{quote(source.name)}",
                "type": COG,
                "title": "The whole raster as one file, by range",
                "roles": ["data"],
                "data_type": provider.dtype,
                **({} if provider.grid.nodata is None else {"nodata": provider.grid.nodata}),
                "file:size": source.stat().st_size,
            },
        )
    if provider is not None and is_allowed(resources, Action.READ_MAP, raster.id):
        at = f"&datetime={item.year:04}-06-30" if provider.years else ""
        legend = f"{raster.url}/styles/default/legend?f=png"
        yield "legend", _asset(legend, "image/png", "The legend", "legend")
        yield "thumbnail", _asset(f"{raster.url}/map?f=png&width=400{at}", "image/png", "A small picture", "thumbnail")
    iso = _asset(f"{about}/iso", "text/xml", "ISO 19139", "metadata")
    yield "iso-19139", {**iso, "roles": ["metadata", "iso-19115"]}


def _asset(href: str, media_type: str, title: str, role: str) -> dict[str, Any]:
    return {"href": href, "type": media_type, "title": title, "roles": [role]}


def _links(resources: Resources, item: StacItem) -> Iterator[dict[str, Any]]:
    """Yield the links to the services of OGC API that the caller may use."""
    raster = item.raster
    if item.provider is not None and is_allowed(resources, Action.READ_COVERAGE, raster.id):
        yield link(f"{raster.url}/coverage", f"{OGC}/coverage", _JSON, "The pixels by window and scale")
    if item.provider is not None and is_allowed(resources, Action.READ_TILES, raster.id):
        yield link(f"{raster.url}/map/tiles", f"{OGC}/tilesets-map", _JSON, "Map tiles")


def collection_document(resources: Resources, items: Sequence[StacItem]) -> dict[str, Any]:
    """Return the collection of a series, of which these are all items."""
    newest = max(items, key=lambda each: each.year)
    place, series = f"{resources.url}/stac-api", newest.series
    here = f"{place}/collections/{quote(series)}"
    provider = resources.api.config["metadata"]["provider"]
    licence = license_of(resources, newest.product)
    years = [each.year for each in items]
    keywords = dict.fromkeys(str(word) for each in items for word in each.raster.configured.get("keywords") or ())
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "id": series,
        "title": newest.product.title if len(items) == 1 else f"{newest.product.title}, and {len(items) - 1} more",
        "description": f"{description_of(newest)} {newest.product.attribution}",
        "keywords": list(keywords),
        "license": "other",
        "providers": [{"name": provider["name"], "roles": ["host"], **_web(provider)}],
        "extent": {
            "spatial": {"bbox": _extents(items)},
            "temporal": {"interval": [list(ends_of(min(years), max(years)))]},
        },
        "links": [
            link(here, "self", _JSON, "This collection"),
            link(place, "root", _JSON, "STAC API"),
            link(place, "parent", _JSON, "STAC API"),
            link(f"{here}/items", "items", GEOJSON, "The items"),
            licence,
        ],
    }


def _web(provider: Mapping[str, Any]) -> dict[str, str]:
    return {"url": provider["url"]} if str(provider["url"]).startswith(("http://", "https://")) else {}


def _extents(items: Sequence[StacItem]) -> list[list[float]]:
    """Return the box around all items, and that of each if there are several."""
    every = [list(each) for each in dict.fromkeys(tuple(item.bbox) for item in items)]
    if len(every) == 1:
        return every
    whole = shapely.union_all([each.geometry for each in items]).bounds
    return [list(whole), *every]
