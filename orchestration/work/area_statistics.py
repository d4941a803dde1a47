"""Measure areas by class, and the change of classes since an earlier year."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import shapely

from orchestration.job import Manifest, Output
from orchestration.work import JobContext, Part, Piece, Work, product_of, seen_of
from products.area import Area
from products.catalogue import Product
from products.places import Place, places_of
from products.progress import Report
from products.raster.measured import measure_values
from products.raster.statistics import count_changes, count_classes
from products.raster.values import read_values
from products.statistics.chart import as_svg
from products.statistics.document import as_csv, describe_changes, describe_counts, describe_values, document

_TEXTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {"text/csv": as_csv, "image/svg+xml": as_svg}


def _plan(context: JobContext) -> Sequence[Part]:
    places = places_of(context.order.inputs, context.catalogue(context.configuration))
    return [_part(each.id, each.name, each.area.within(seen_of(context))) for each in places]


def _part(id_: str, name: str, area: Area) -> Part:
    return {"id": id_, "name": name, "outline": area.geometry.wkb_hex, "repaired": area.repaired}


def _make(part: Part, context: JobContext) -> Piece:
    place = Place(part["id"], part["name"], Area(shapely.from_wkb(part["outline"]), part["repaired"]))
    product, since = product_of(context), _earlier(context)

    def report(fraction: float, message: str) -> None:
        context.report(fraction, f"{place.name}: {message}")

    return _measured(place, product, since, report)


def _measured(place: Place, product: Product, since: Product | None, report: Report) -> Piece:
    if product.bands:
        measured = measure_values(product.raster, place.area, bands=len(product.bands), report=report)
        return describe_values(place, measured, product.bands, read_values(product.raster))
    if since is None:
        return describe_counts(place, count_classes(product.raster, place.area, report=report), product.classes)
    changes = count_changes((since.raster, product.raster), place.area, report=report)
    return describe_changes(place, changes, since.classes, product.classes)


def _earlier(context: JobContext) -> Product | None:
    inputs = context.order.inputs
    if "since" not in inputs:
        return None
    return context.catalogue(context.configuration).find(inputs["series"], inputs["since"])


def _assemble(pieces: Sequence[Piece], context: JobContext) -> Manifest:
    statistics = document(product_of(context), _earlier(context), [dict(piece) for piece in pieces])
    asked = (context.order.outputs or {}).get("statistics", {}).get("format", {}).get("mediaType")
    if asked in _TEXTS:
        return (Output("statistics", _TEXTS[asked](statistics), asked),)
    return (Output("statistics", statistics),)


WORK = Work(_plan, _make, _assemble)
