"""The statistics as a table: CSV (RFC 4180), one row a class, or a change from class to class, of each place."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

MEDIA_TYPE = "text/csv"
_COUNTED = ("km2", "percent", "pixels", "margin_km2")
_CLASSES = ("feature_id", "feature", "year", "class", "class_name", "colour", *_COUNTED, "exact", "overview")
_FROM_TO = ("from_year", "from_class", "from_name", "to_year", "to_class", "to_name")
_CHANGES = ("feature_id", "feature", *_FROM_TO, *_COUNTED, "exact", "overview")


def as_csv(document: Mapping[str, Any]) -> str:
    """Return the document's classes, or its changes where it has any, with a row of names; no data is class 255."""
    compared = "since" in document
    text = io.StringIO()
    table = csv.DictWriter(text, _CHANGES if compared else _CLASSES, extrasaction="ignore")
    table.writeheader()
    for feature in document["features"]:
        table.writerows(_changes(document, feature) if compared else _classes(document, feature))
    return text.getvalue()


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
