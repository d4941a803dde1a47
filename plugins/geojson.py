"""Features as GeoJSON, in any system; and boxes as areas of a layer."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from plugins.crs import Box, Crs, transformer

_DEGREE_DECIMALS = 7
_METRE_DECIMALS = 2
_POINTS_A_SIDE = 100
_LEAST = 1e-9


def geojson_geometries(geometries: NDArray[Any], source: Crs, target: Crs) -> list[dict[str, Any] | None]:
    """Return the geometries in another system, its axes in its own order, to the centimetre.

    Outer rings run counterclockwise in x and y (RFC 7946, 3.1.6).
    """
    moved = _transform(shapely.orient_polygons(geometries), source, target)
    decimals = _DEGREE_DECIMALS if target.epsg == 4326 else _METRE_DECIMALS  # noqa: PLR2004 - degrees
    written = np.round(shapely.get_coordinates(moved), decimals)
    written = shapely.set_coordinates(moved, written[:, ::-1] if target.northing_first else written)
    return [text and json.loads(text) for text in shapely.to_geojson(written)]


def area_of(boxes: Sequence[Box], whole: Box) -> Any:
    """Return what the boxes cover of a whole, in the whole's system, their edges followed; empty for nothing."""
    return shapely.union_all([_part(box, whole) for box in boxes])


def _part(box: Box, whole: Box) -> Any:
    """Cut the box first: it may go beyond where the whole's system can be used, and there is nothing."""
    west, south, east, north = whole.to(box.crs).bbox
    margin = max(east - west, north - south) / 100
    around = Box((west - margin, south - margin, east + margin, north + margin), box.crs)
    part = _widened(box).cut(around)
    if part is None:
        return shapely.Polygon()
    outline = shapely.box(*part.bbox)
    densified = shapely.segmentize(outline, outline.length / _POINTS_A_SIDE)
    return _transform(np.array([densified], dtype=object), box.crs, whole.crs)[0]


def _widened(box: Box) -> Box:
    """Return the box with an inside, even where it is a point."""
    west, south, east, north = box.bbox
    return Box((west - _LEAST, south - _LEAST, east + _LEAST, north + _LEAST), box.crs)


def _transform(geometries: NDArray[Any], source: Crs, target: Crs) -> NDArray[Any]:
    """Return the geometries in another system, x before y."""
    if source.epsg == target.epsg:
        return geometries
    x, y = shapely.get_coordinates(geometries).T
    points = np.column_stack(transformer(source.epsg, target.epsg).transform(x, y))
    return np.asarray(shapely.set_coordinates(geometries.copy(), points))
