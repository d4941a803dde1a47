"""The statistics of places as a JSON document; the table and the chart are views of it."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from products.catalogue import MeasuredBand, Product
from products.classes import NODATA, Classes, by_value, name_of
from products.places import Place
from products.raster.measured import AreaValues
from products.raster.statistics import ClassChanges, ClassCounts, Numbers
from products.raster.values import ValueRaster

_NO_DATA = "No data"
_NO_DATA_COLOUR = "#ffffff"
_UNKNOWN_COLOUR = "#000000"
_EXACT = "Every pixel of full resolution whose centre lies in the area was counted."
_ESTIMATED = (
    "Counted in an overview: each of its pixels stands for {0} x {0} of full resolution and has the class that most of "
    "these have, so that narrow and scattered classes come out too small. A class is off by at most its margin_km2, in "
    "95 of 100 cases, as {1} blocks show that were read at full resolution too."
)

_MEASURED = "Every pixel of full resolution whose centre lies in the area was read."
_SAMPLED = "Read in an overview: each of its pixels stands for {0} x {0} of full resolution."

Feature = dict[str, Any]


def document(product: Product, since: Product | None, features: Sequence[Feature]) -> dict[str, Any]:
    """Return the whole document: the product and the places."""
    compared = {} if since is None else {"since": since.year}
    if product.bands:
        unit = "that of each property; every pixel has the same weight"
    else:
        unit = "km2 on the ellipsoid; per cent of what has data"
    return {
        "title": product.title,
        "series": product.series,
        "year": product.year,
        **compared,
        "unit": unit,
        "attribution": product.attribution,
        "features": list(features),
    }


def describe_counts(place: Place, counts: ClassCounts, classes: Classes) -> Feature:
    """Return the statistics of one place; every class of the product is named, also where there is none of it."""
    return {**_head(place, counts, counts.square_metres), "classes": _rows(counts, classes)}


def describe_values(place: Place, measured: AreaValues, bands: Sequence[MeasuredBand], raster: ValueRaster) -> Feature:
    """Return the statistics of the bands in one place; those of a band without data are null."""
    values = []
    for number, (band, each) in enumerate(zip(bands, measured.bands, strict=True)):
        unit = band.unit or raster.units[number]
        values.append(
            {
                "property": band.name,
                "title": band.title or raster.names[number],
                **({"unit": unit} if unit else {}),
                "mean": each.mean,
                "minimum": each.minimum,
                "maximum": each.maximum,
                "deviation": each.deviation,
                "pixels": each.pixels,
            }
        )
    return {
        "id": place.id,
        "name": place.name,
        **({"repaired": place.area.repaired} if place.area.repaired else {}),
        "km2": _km2(place.area.km2 * 1e6),
        "pixels": measured.pixels,
        "exact": measured.exact,
        "overview": measured.overview,
        "accuracy": _MEASURED if measured.exact else _SAMPLED.format(measured.overview),
        "values": values,
    }


def describe_changes(place: Place, changes: ClassChanges, before: Classes, after: Classes) -> Feature:
    """Return the statistics of one place in the later year, those of the earlier, and what became of what."""
    earlier, later = _along(changes, 1), _along(changes, 0)
    return {
        **_head(place, changes, later.square_metres),
        "classes": _rows(later, after),
        "classes_since": _rows(earlier, before),
        "changes": _pairs(changes, before, after),
        "changed_km2": _km2(_changed(changes.square_metres)),
    }


def _head(place: Place, counts: ClassCounts, square_metres: Numbers) -> Feature:
    some = float(square_metres[:NODATA].sum())
    accuracy = _EXACT if counts.exact else _ESTIMATED.format(counts.overview, counts.checked)
    return {
        "id": place.id,
        "name": place.name,
        **({"repaired": place.area.repaired} if place.area.repaired else {}),
        "km2": _km2(place.area.km2 * 1e6),
        "data_km2": _km2(some),
        "no_data_km2": _km2(square_metres[NODATA]),
        "exact": counts.exact,
        "overview": counts.overview,
        "accuracy": accuracy,
    }


def _along(changes: ClassChanges, axis: int) -> ClassCounts:
    """Return the counts of one of the two years; of several margins together their sum."""
    return ClassCounts(
        changes.pixels.sum(axis),
        changes.square_metres.sum(axis),
        changes.margin.sum(axis),
        changes.overview,
        changes.checked,
    )


def _rows(counts: ClassCounts, classes: Classes) -> list[Feature]:
    whole = counts.square_metres[:NODATA].sum()
    known = by_value(classes)
    values = [value for value in range(NODATA) if value in known or counts.pixels[value]]
    return [
        {**_class(value, classes), **_amount(counts, value), "percent": _percent(counts.square_metres[value], whole)}
        for value in values
    ]


def _pairs(changes: ClassChanges, before: Classes, after: Classes) -> list[Feature]:
    whole = changes.square_metres[:NODATA, :NODATA].sum()
    pairs = [(int(one), int(other)) for one, other in np.argwhere(changes.pixels) if (one, other) != (NODATA, NODATA)]
    return [
        {
            "from": _class(pair[0], before),
            "to": _class(pair[1], after),
            **_amount(changes, pair),
            "percent": None if NODATA in pair else _percent(changes.square_metres[pair], whole),
        }
        for pair in pairs
    ]


def _changed(square_metres: Numbers) -> float:
    both = square_metres[:NODATA, :NODATA]
    return float(both.sum() - np.trace(both))


def _class(value: int, classes: Classes) -> Mapping[str, Any]:
    """Return value, name and colour; a value that is no class is called by its number."""
    if value == NODATA:
        return {"value": value, "name": _NO_DATA, "colour": _NO_DATA_COLOUR}
    known = by_value(classes).get(value)
    return {"value": value, "name": name_of(value, classes), "colour": known.hex if known else _UNKNOWN_COLOUR}


def _amount(counts: ClassCounts, at: Any) -> Mapping[str, Any]:
    amount = {"km2": _km2(counts.square_metres[at]), "pixels": int(counts.pixels[at])}
    return amount if counts.exact else {**amount, "margin_km2": _km2(counts.margin[at])}


def _km2(square_metres: float) -> float:
    return round(float(square_metres) / 1e6, 6)


def _percent(part: float, whole: float) -> float:
    return round(100 * float(part) / float(whole), 4) if whole else 0.0


MEDIA_TYPE = "text/csv"
_COUNTED = ("km2", "percent", "pixels", "margin_km2")
_CLASSES = ("feature_id", "feature", "year", "class", "class_name", "colour", *_COUNTED, "exact", "overview")
_MEASURES = ("mean", "minimum", "maximum", "deviation", "pixels")
_VALUES = ("feature_id", "feature", "year", "property", "title", "unit", *_MEASURES, "exact", "overview")
_FROM_TO = ("from_year", "from_class", "from_name", "to_year", "to_class", "to_name")
_CHANGES = ("feature_id", "feature", *_FROM_TO, *_COUNTED, "exact", "overview")


def as_csv(document: Mapping[str, Any]) -> str:
    """Return the classes, changes or values of the document, with a row of names; no data is class 255."""
    compared = "since" in document
    text = io.StringIO()
    of_values = any("values" in feature for feature in document["features"])
    columns, rows = (_CHANGES, _changes) if compared else (_VALUES, _values) if of_values else (_CLASSES, _classes)
    table = csv.DictWriter(text, columns, extrasaction="ignore")
    table.writeheader()
    for feature in document["features"]:
        table.writerows(rows(document, feature))
    return text.getvalue()


def _values(document: Mapping[str, Any], feature: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for row in feature["values"]:
        yield {**_place(feature), "year": document["year"], **row}


def _classes(document: Mapping[str, Any], feature: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for row in feature["classes"]:
        yield {**_place(feature), "year": document["year"], "class": row["value"], "class_name": row["name"], **row}
    empty = {"class": 255, "class_name": "No data", "km2": feature["no_data_km2"]}
    yield {**_place(feature), "year": document["year"], **empty}


def _changes(document: Mapping[str, Any], feature: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for row in feature["changes"]:
        pair = {"from_class": row["from"]["value"], "from_name": row["from"]["name"]}
        pair |= {"to_class": row["to"]["value"], "to_name": row["to"]["name"]}
        yield {**_place(feature), "from_year": document["since"], "to_year": document["year"], **pair, **row}


def _place(feature: Mapping[str, Any]) -> dict[str, Any]:
    exact = "true" if feature["exact"] else "false"
    return {"feature_id": feature["id"], "feature": feature["name"], "exact": exact, "overview": feature["overview"]}
