"""Items as text sequences (RFC 8142), CSV and JSON-FG, each made from the GeoJSON that a provider writes."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import shapely

from plugins.crs import CRS84, Crs
from products.vector.times import TimeColumns

_JSON_FG = "http://www.opengis.net/spec/json-fg-1/1.0/conf/core"
_DAY, _YEAR = len("2023-12-31"), 4
Pieces = Iterable[Sequence[bytes]]
"""Items as GeoJSON, in batches."""


def as_sequence(pieces: Pieces) -> Iterator[bytes]:
    """Yield a GeoJSON text sequence: each item between a record separator and a line feed."""
    for items in pieces:
        yield b"".join(b"\x1e" + item + b"\n" for item in items)


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a table of items; `geometry` is the name of its geometry, if any; that of points is x and y."""

    id: str
    attributes: tuple[str, ...]
    geometry: str | None
    points: bool


def as_csv(pieces: Pieces, table: Table) -> Iterator[bytes]:
    """Yield the lines of a table (RFC 4180): id, attributes, and the geometry as WKT or x and y."""
    places = [] if table.geometry is None else ["x", "y"] if table.points else [table.geometry]
    yield _lines([[table.id, *table.attributes, *places]])
    for items in pieces:
        features = [json.loads(item) for item in items]
        rows = [
            [_cell(each.get("id")), *(_cell(each["properties"].get(name)) for name in table.attributes)]
            for each in features
        ]
        if places and rows:
            placed = [item.decode() if each["geometry"] else None for item, each in zip(items, features, strict=True)]
            for row, cells in zip(rows, _places(placed, points=table.points), strict=True):
                row.extend(cells)
        yield _lines(rows)


def _places(items: Sequence[str | None], *, points: bool) -> Iterator[Sequence[Any]]:
    geometries = shapely.from_geojson(items)
    geometries[shapely.is_empty(geometries)] = None
    if not points:
        yield from ([text or ""] for text in shapely.to_wkt(geometries, rounding_precision=-1))
        return
    for each in geometries:
        yield ("", "") if each is None or each.geom_type != "Point" else (each.x, each.y)


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    text = StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def as_json_fg(
    items: Sequence[bytes], described: Mapping[str, Any], kind: str, crs: Crs, times: TimeColumns | None
) -> dict[str, Any]:
    """Return a page as JSON-FG 1.0: with the time of each item, and with `place` in a CRS other than CRS84."""
    elsewhere = crs.uri != CRS84.uri
    time_of = _time_of(times)
    features = []
    for item in items:
        feature = json.loads(item)
        geometry = feature.pop("geometry")
        placed = {"geometry": None, "place": geometry} if elsewhere else {"geometry": geometry, "place": None}
        features.append({**feature, "time": time_of(feature["properties"]), **placed})
    system = {"coordRefSys": crs.uri} if elsewhere else {}
    return {**described, "conformsTo": [_JSON_FG], "featureType": kind, **system, "features": features}


def _time_of(times: TimeColumns | None) -> Callable[[Mapping[str, Any]], Any]:
    if times is None:
        return lambda _properties: None
    if times.single:
        return lambda properties: _instant(properties.get(times.begin))
    return lambda properties: _interval(properties.get(times.begin), properties.get(times.end))


def _instant(value: Any) -> Any:
    """Return the time of a value that is a day, an instant or a year, otherwise None."""
    text = str(value)
    if len(text) == _YEAR and text.isdecimal():
        return {"interval": [f"{text}-01-01", f"{text}-12-31"]}
    if not isinstance(value, str) or len(value) < _DAY:
        return None
    return {"date": value} if len(value) == _DAY else {"timestamp": value}


def _interval(begin: Any, end: Any) -> Any:
    ends = [_end(begin, 0), _end(end, 1)]
    return None if ends == ["..", ".."] else {"interval": ends}


def _end(value: Any, which: int) -> str:
    found = _instant(value)
    if found is None:
        return ".."
    return str(found["interval"][which] if "interval" in found else next(iter(found.values())))
