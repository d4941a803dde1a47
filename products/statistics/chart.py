"""The statistics as a picture: bars in the colours of the classes, or tables of what became of what."""

from collections.abc import Mapping, Sequence
from typing import Any

from products.statistics.drawing import Drawing, amount, percent, shortened
from products.statistics.matrix import draw_changes

_WIDTH = 900
_LEFT, _LONG = 290, 420
_ROW, _BAR = 30, 20

Rows = Sequence[Mapping[str, Any]]


def as_svg(document: Mapping[str, Any]) -> str:
    """Return one place's classes as bars, several places as a bar each, their changes, or values as text."""
    features = document["features"]
    drawing = Drawing(_WIDTH)
    if any("values" in feature for feature in features):
        _draw_values(drawing, document)
    elif "since" in document:
        draw_changes(drawing, document)
    elif len(features) == 1:
        _draw_one(drawing, document, features[0])
    else:
        _draw_several(drawing, document)
    drawing.y += 8
    drawing.paragraph([*dict.fromkeys(feature["accuracy"] for feature in features), document["attribution"]])
    return drawing.finish(_title(document), _description(document))


def _title(document: Mapping[str, Any]) -> str:
    features = document["features"]
    place = features[0]["name"] if len(features) == 1 else f"{len(features)} places"
    since = f", changes since {document['since']}" if "since" in document else ""
    return f"{document['title']}: {place}{since}"


def _description(document: Mapping[str, Any]) -> str:
    """Return a description of what the picture shows."""
    if any("values" in feature for feature in document["features"]):
        return " ".join(f"{feature['name']}: {'; '.join(_measures(feature))}." for feature in document["features"])
    return " ".join(f"{feature['name']}: {_said(_present(feature))}." for feature in document["features"])


def _measures(feature: Mapping[str, Any]) -> list[str]:
    """Return a line for each band."""
    return [_measure(row) for row in feature["values"]]


def _measure(row: Mapping[str, Any]) -> str:
    if row["mean"] is None:
        return f"{row['title']}: no data"
    unit = f" {row['unit']}" if "unit" in row else ""
    return f"{row['title']}: mean {row['mean']:.6g}{unit}, from {row['minimum']:.6g} to {row['maximum']:.6g}{unit}"


def _draw_values(drawing: Drawing, document: Mapping[str, Any]) -> None:
    drawing.heading(_title(document), [])
    for feature in document["features"]:
        drawing.paragraph([feature["name"], *_measures(feature)])


def _said(rows: Rows) -> str:
    return ", ".join(f"{row['name']} {amount(row['km2'])} km² ({percent(row['percent'])})" for row in rows) or "no data"


def _present(feature: Mapping[str, Any]) -> Rows:
    return [row for row in feature["classes"] if row["pixels"]]


def _extent(feature: Mapping[str, Any]) -> str:
    empty = f", {amount(feature['no_data_km2'])} km² without data" if feature["no_data_km2"] else ""
    return f"{amount(feature['data_km2'])} km² with data{empty}"


def _draw_one(drawing: Drawing, document: Mapping[str, Any], feature: Mapping[str, Any]) -> None:
    drawing.heading(_title(document), [_extent(feature)])
    drawing.y += 16
    rows = _present(feature)
    longest = max((row["percent"] for row in rows), default=0)
    for row in rows:
        length = max(1.0, _LONG * row["percent"] / longest)
        drawing.text(_LEFT - 10, drawing.y + 15, shortened(row["name"], _LEFT - 30), text_anchor="end")
        drawing.box((_LEFT, drawing.y), (length, _BAR), row["colour"])
        label = f"{amount(row['km2'])} km² · {percent(row['percent'])}"
        drawing.text(_LEFT + length + 8, drawing.y + 15, label)
        drawing.y += _ROW


def _draw_several(drawing: Drawing, document: Mapping[str, Any]) -> None:
    drawing.heading(_title(document), ["Per cent of what has data"])
    features = document["features"]
    _draw_legend(drawing, [row for feature in features for row in _present(feature)])
    for feature in features:
        drawing.text(_LEFT - 10, drawing.y + 15, shortened(feature["name"], _LEFT - 30), text_anchor="end")
        x = float(_LEFT)
        for row in _present(feature):
            length = _LONG * row["percent"] / 100
            tip = f"{row['name']}: {amount(row['km2'])} km², {percent(row['percent'])}"
            drawing.box((x, drawing.y), (length, _BAR), row["colour"], tip=tip)
            x += length
        drawing.text(_LEFT + _LONG + 8, drawing.y + 15, f"{amount(feature['data_km2'])} km²")
        drawing.y += _ROW


def _draw_legend(drawing: Drawing, rows: Rows) -> None:
    drawing.y += 14
    classes = sorted({(row["value"], row["name"], row["colour"]) for row in rows})
    for number, (_, name, colour) in enumerate(classes):
        x = 20 + number % 3 * (_WIDTH - 40) / 3
        drawing.box((x, drawing.y), (14, 14), colour)
        drawing.text(x + 20, drawing.y + 12, shortened(name, _WIDTH / 3 - 50, 12), size=12)
        if number % 3 == 2 or number == len(classes) - 1:  # noqa: PLR2004 - the last of three beside each other
            drawing.y += 22
    drawing.y += 8
