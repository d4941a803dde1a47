"""What is said of the server and its products: terms and attribution, accessibility, and a page for each product.

The texts are those of the configuration; the templates `terms.html` and `accessibility.html` can be the operator's.
"""

import logging
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import shapely
from starlette.requests import Request
from starlette.responses import Response

from products.catalogue import Product
from products.package.documents import iso_document
from products.package.metadata import describe_product
from routes.guard import NOTHING, GuardedRoute
from routes.http.problem import NOT_FOUND, Problem
from routes.pages.respond import both_forms, link, respond
from routes.pages.translator import noted
from routes.query.parameters import allow_parameters
from routes.resources import FAILURES, Resources, listed_processes, resources_of

_XML = "text/xml"
_LOGGER = logging.getLogger(__name__)
_RASTER = ("Cloud-Optimized GeoTIFF", "GeoTIFF", "CoverageJSON", "PNG")
_VECTOR = ("GeoPackage", "GeoJSON", "JSON-FG", "CSV")
_ORDER = (noted("ZIP with a Cloud-Optimized GeoTIFF or a GeoPackage, and metadata after ISO 19139 and STAC"),)


def get_terms(request: Request) -> Response:
    """Answer with the terms of use, the licence, and what must be said of each product that the caller sees."""
    allow_parameters(request)
    resources = resources_of(request)
    metadata = resources.api.config["metadata"]
    licence, terms = metadata["license"], metadata["identification"]["terms_of_service"]
    document = {
        "title": noted("Terms and attribution"),
        "terms": terms,
        "licence": {name: licence[name] for name in ("name", "url") if licence.get(name)},
        "products": [
            {name: value for name, value in _texts(each).items() if name in {"id", "title", "attribution", "licence"}}
            for each in listed_products(resources)
        ],
        "links": [
            *both_forms(f"{resources.url}/about/terms"),
            *([link(terms, "terms-of-service", "text/html", "Terms of use")] if str(terms).startswith("http") else []),
            link(f"{resources.url}/static/licenses.txt", "license", "text/plain", "Licences of what the pages load"),
        ],
    }
    return respond(request, document, page="terms.html", only_page={"provider": metadata["provider"]})


def get_accessibility(request: Request) -> Response:
    """Answer with the accessibility statement, of which the page has the text."""
    allow_parameters(request)
    resources = resources_of(request)
    metadata = resources.api.config["metadata"]
    contact = {name: metadata["contact"][name] for name in ("name", "email", "url") if metadata["contact"].get(name)}
    document = {
        "title": noted("Accessibility statement"),
        "standard": "EN 301 549 V3.2.1 (WCAG 2.1, level AA)",
        "status": "partially conformant",
        "contact": contact,
        "links": both_forms(f"{resources.url}/about/accessibility"),
    }
    only_page = {"provider": metadata["provider"], "release": version("landcast")}
    return respond(request, document, page="accessibility.html", only_page=only_page)


def get_product(request: Request) -> Response:
    """Answer with what is known of a product. Raises Problem 404 where the caller sees none of this id."""
    allow_parameters(request)
    resources, product = resources_of(request), _asked_product(request)
    document = {
        **_texts(product),
        "year": product.year,
        "series": product.series,
        "version": product.version,
        "classes": [{"value": each.value, "name": each.name, "colour": each.hex} for each in product.classes],
        "formats": list(_formats(product, resources)),
        "links": [
            *both_forms(f"{resources.url}/products/{product.id}"),
            link(f"{resources.url}/products/{product.id}/iso", "describedby", _XML, "Its metadata, ISO 19139"),
            *(_collection_link(each, resources) for each in _shown(product, resources)),
            *([link(product.licence, "license", "text/html", "Licence")] if product.licence else []),
        ],
    }
    return respond(request, document, page="product.html")


def get_iso(request: Request) -> Response:
    """Answer with the metadata of a product as ISO 19139. Raises Problem: 404 as `get_product`, 503."""
    allow_parameters(request, one_form=True)
    resources = resources_of(request)
    product = _asked_product(request)
    raster = resources.collections[product.collections[0]]
    bbox = raster.configured["extents"]["spatial"]["bbox"]
    half = len(bbox) // 2
    try:
        metadata = describe_product(product, shapely.box(*bbox[:2], *bbox[half : half + 2]))
    except FAILURES as error:
        _LOGGER.exception("product %s cannot be described", product.id)
        detail = f"the raster of product {product.id!r} cannot be read at present"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "60"}) from error
    return Response(iso_document(metadata), media_type=_XML)


def _asked_product(request: Request) -> Product:
    name = request.path_params["product_id"]
    product = next((each for each in _seen_products(resources_of(request)) if each.id == name), None)
    if product is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no product {name[:80]!r}", type_=NOT_FOUND)
    return product


def product_of(resources: Resources, collection: str) -> str | None:
    """Return the id of the product that the collection shows, None without one that the caller sees."""
    return next((each.id for each in listed_products(resources) if collection in each.collections), None)


def _seen_products(resources: Resources) -> tuple[Product, ...]:
    return resources.catalogue.seen({each.id for each in resources.visible_collections()}).products


def listed_products(resources: Resources) -> list[Product]:
    """Return the products that lists name to the caller, whose rasters they may discover."""
    return [each for each in _seen_products(resources) if each.listed]


def _texts(product: Product) -> dict[str, str]:
    """Return the texts that the configuration has; without a citation it is made of the others."""
    made = f"{product.source or product.title}, {product.year}, version {product.version}. {product.attribution}."
    texts = {
        "id": product.id,
        "title": product.title,
        "abstract": product.abstract,
        "source": product.source,
        "lineage": product.lineage,
        "accuracy": product.accuracy,
        "citation": product.citation or made,
        "attribution": product.attribution,
        "licence": product.licence,
    }
    return {name: text for name, text in texts.items() if text}


def _shown(product: Product, resources: Resources) -> list[str]:
    """Return the product's collections that are listed for the caller."""
    listed = {each.id for each in resources.listed_collections()}
    return [each for each in product.collections if each in listed]


def _collection_link(name: str, resources: Resources) -> Mapping[str, Any]:
    title = resources.collections[name].title
    return link(f"{resources.url}/collections/{name}", "data", "application/json", title)


def _formats(product: Product, resources: Resources) -> Iterator[Mapping[str, Any]]:
    """Yield how the product can be had: as raster, as polygons, as an order."""
    for name in _shown(product, resources):
        formats = _RASTER if name == product.collections[0] else _VECTOR
        yield {
            "title": resources.collections[name].title,
            "formats": formats,
            "href": f"{resources.url}/collections/{name}",
        }
    if "extract-product" in listed_processes(resources.api):
        process = resources.processor("extract-product")
        href = f"{resources.url}/processes/extract-product"
        yield {"title": str(process.metadata["title"]), "formats": _ORDER, "href": href}


routes = [
    GuardedRoute("/about/terms", get_terms, needs=NOTHING, threads="light"),
    GuardedRoute("/about/accessibility", get_accessibility, needs=NOTHING, threads="light"),
    GuardedRoute("/products/{product_id}", get_product, needs=NOTHING, threads="light"),
    GuardedRoute("/products/{product_id}/iso", get_iso, needs=NOTHING, threads="light"),
]
