"""Items as text sequences (RFC 8142), CSV and JSON-FG, each made from the GeoJSON that a provider writes."""

import csv
import json
import re
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
        parted = [_parted(item) for item in items]
        rows = [
            [_cell(each.get("id")), *(_cell(each["properties"].get(name)) for name in table.attributes)]
            for each, _ in parted
        ]
        if places and rows:
            outlines = [outline for _, outline in parted]
            for row, cells in zip(rows, _xy(outlines) if table.points else _wkt(outlines), strict=True):
                row.extend(cells)
        yield _lines(rows)


def _parted(item: bytes) -> tuple[Mapping[str, Any], bytes | None]:
    """Return a feature without its geometry, and this as JSON; coordinates, most of an item, are not parsed."""
    head, _, rest = item.partition(b'"geometry":')
    outline, _, properties = rest.partition(b',"properties":')
    return json.loads(b'%s"properties":%s' % (head, properties)), None if outline == b"null" else outline


def _xy(outlines: Sequence[bytes | None]) -> Iterator[Sequence[Any]]:
    for each in _read(outlines):
        yield ("", "") if each is None or each.geom_type != "Point" else (each.x, each.y)


def _wkt(outlines: Sequence[bytes | None]) -> Iterator[Sequence[str]]:
    texts = [None if each is None else _as_wkt(each) for each in outlines]
    others = [each if text is None else None for each, text in zip(outlines, texts, strict=True)]
    for text, other in zip(texts, shapely.to_wkt(_read(others), rounding_precision=-1), strict=True):
        yield (text or other or "",)


def _read(outlines: Sequence[bytes | None]) -> Any:
    geometries = shapely.from_geojson([None if each is None else each.decode() for each in outlines])
    geometries[shapely.is_empty(geometries)] = None
    return geometries


def _as_wkt(outline: bytes) -> str | None:
    """Return a line or polygon as WKT by its text alone, None for what differs by more than signs."""
    head, _, rest = outline.partition(b'","coordinates":[')
    name, places = _WKT.get(head), rest[:-2]
    if name is None or places[: places.find(b"]")].count(b",") != 1:  # x and y
        return None
    text = places.replace(b"],[", b"|").replace(b",", b" ").replace(b"|", b", ").translate(_PARENTHESES)
    return f"{name} {_WHOLE.sub(b'', text).decode()}"


_WKT = {
    f'{{"type":"{name}'.encode(): name.upper() for name in ("LineString", "Polygon", "MultiLineString", "MultiPolygon")
}
_PARENTHESES = bytes.maketrans(b"[]", b"()")
_WHOLE = re.compile(rb"\.0(?=[ ,)])")
"""The decimal of a whole number."""


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


def _end(value: Any, bound: int) -> str:
    found = _instant(value)
    if found is None:
        return ".."
    return str(found["interval"][bound] if "interval" in found else next(iter(found.values())))
