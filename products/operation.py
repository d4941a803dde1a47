"""How coordinates of one CRS become those of another: the best operation there is, never a ballpark one."""

import math
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.aoi import AreaOfInterest
from pyproj.enums import TransformDirection
from pyproj.exceptions import ProjError
from pyproj.transformer import TransformerGroup

from products.errors import InvalidArea, OutsideCrs
from products.outline import Polygonal

MAX_ACCURACY = 11.0
"""Metres to which an operation must be accurate: Malta's, of 10 m, follows one of 1 m; all others are far better."""

MERCATOR = re.compile("(Popular Visualisation Pseudo )?Mercator")
"""Methods whose metres are shorter the nearer they are to a pole; x follows longitude alone, y latitude."""

_WGS84 = 4326
_ANTIMERIDIAN = 180
_MERCATOR = 3857
_MERCATOR_WORLD = 2 * math.pi * 6_378_137
"""Metres round the equator in Web Mercator."""
_MERCATOR_LATITUDE = 85.06
"""Where Web Mercator's area of use ends."""
_MERCATOR_TOP = 6_378_137 * math.asinh(math.tan(math.radians(_MERCATOR_LATITUDE)))
_ENVELOPE_POINTS = 41
_BOXES = 4_096
"""Boxes whose envelopes in another CRS are remembered: that of a raster is asked for by every request."""
_ORDER = " (with axis order normalized for visualization)"

_NOWHERE = (math.inf, math.inf, -math.inf, -math.inf)

Coordinates = NDArray[np.float64]
Bounds = tuple[float, float, float, float]
"""West, south, east, north: x before y in every CRS; one that crosses the antimeridian goes on beyond 180 degrees."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A way from one CRS to another, x before y; `accuracy` in metres, as PROJ states it, summed over its steps."""

    name: str
    accuracy: float
    steps: tuple[Transformer, ...]

    def transform(self, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
        """Return the coordinates in the target CRS. Raises InvalidArea where they have no place in it."""
        for step in self.steps:
            x, y = _run(step, x, y, TransformDirection.FORWARD)
        return x, y

    def back(self, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
        """Return coordinates of the target CRS in the source CRS. Raises InvalidArea where they have no place in it."""
        for step in reversed(self.steps):
            x, y = _run(step, x, y, TransformDirection.INVERSE)
        return x, y

    def project[Geometry: (Polygonal, NDArray[np.object_])](self, geometry: Geometry) -> Geometry:
        """Return a geometry, or an array of them, with its vertices in the target CRS."""
        projected: Geometry = shapely.transform(geometry, lambda points: np.column_stack(self.transform(*points.T)))
        return projected


@cache
def operation_between(source: int, target: int, within: Bounds | None = None) -> Operation:
    """Return the best operation between two EPSG codes `within` a box of longitudes and latitudes.

    Installed grids are used. Where PROJ knows no direct way of a stated accuracy that is enough, it goes by WGS 84.
    Raises InvalidArea where there is none either.
    """
    if source == target:
        return Operation("none: the coordinates are the source's", 0.0, ())
    for ways in (((source, target),), ((source, _WGS84), (_WGS84, target))):
        steps = tuple(step for way in ways if (step := _best(*way, within)))
        accuracy = math.fsum(step.accuracy for step in steps)
        if len(steps) == len(ways) and accuracy <= MAX_ACCURACY:
            return Operation(", then ".join(step.description.removesuffix(_ORDER) for step in steps), accuracy, steps)
    raise InvalidArea(f"There is no operation from EPSG:{source} to EPSG:{target} that is accurate enough.")


def _best(source: int, target: int, within: Bounds | None) -> Transformer | None:
    """Return the first good operation whose area of use meets the box, else the first good one anywhere."""
    for area in (AreaOfInterest(*within), None) if within else (None,):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # PROJ names better grids that are not installed
            group = TransformerGroup(
                source,
                target,
                always_xy=True,
                allow_ballpark=False,
                area_of_interest=area,  # type: ignore[arg-type]  # remove when pyproj has one class
            )
        if good := [each for each in group.transformers if 0 <= each.accuracy <= MAX_ACCURACY]:
            return good[0]
    return None


def _run(
    step: Transformer, x: Coordinates, y: Coordinates, direction: TransformDirection
) -> tuple[Coordinates, Coordinates]:
    try:
        there = step.transform(x, y, errcheck=True, direction=direction)
    except ProjError as error:
        raise InvalidArea(f"The coordinates cannot be transformed: {error}") from error
    return np.asarray(there[0], np.float64), np.asarray(there[1], np.float64)


@dataclass(frozen=True, slots=True)
class ByWgs84:
    """A way by WGS 84, each half of it by the best operation at each place."""

    there: Transformer
    onward: Transformer

    def transform(self, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
        """Return the coordinates in the target CRS, infinite where they have no place in it."""
        across, up = self.onward.transform(*self.there.transform(x, y))
        return across, up


@cache
def transformer(source: int | str, target: int | str) -> Transformer | ByWgs84:
    """Return what takes x and y from one system to another, by PROJ's best operation, never a ballpark one.

    PROJ has no direct one between the datums of two continents, such as NAD83 and ETRS89: these go by WGS 84. Of a
    system that the EPSG has no code for the datum may be unknown: it is taken for that of the other, as there is no
    better. Raises ProjError.
    """
    try:
        return Transformer.from_crs(source, target, always_xy=True, allow_ballpark=False)
    except ProjError:
        if not (isinstance(source, int) and isinstance(target, int)):
            return Transformer.from_crs(source, target, always_xy=True)
        if _WGS84 in (source, target):
            raise
    halves = (source, _WGS84), (_WGS84, target)
    return ByWgs84(*(Transformer.from_crs(*half, always_xy=True, allow_ballpark=False) for half in halves))


@cache
def period_of(epsg: int | str) -> float | None:
    """Return after how many units x comes to the same meridian again; None where it does not go round the Earth."""
    if epsg == _MERCATOR:
        return _MERCATOR_WORLD
    crs = CRS.from_user_input(epsg)
    return 2 * math.pi / crs.axis_info[0].unit_conversion_factor if crs.is_geographic else None


@cache
def metres_of_unit(epsg: int | str) -> float:
    """Return how many metres a unit of a CRS is, as it counts them; a degree is one of the equator."""
    crs = CRS.from_user_input(epsg)
    unit = float(crs.axis_info[0].unit_conversion_factor)
    return unit * crs.ellipsoid.semi_major_metre if crs.is_geographic and crs.ellipsoid else unit


@lru_cache(_BOXES)
def reproject(box: Bounds, source: int | str, target: int | str) -> Bounds:
    """Return the envelope of a box in another CRS, found along its edges; in Web Mercator it ends at 85.06 degrees.

    Raises InvalidArea where there is none: OutsideCrs if the box is not in its area of use.
    """
    if source == target:
        return box
    if target == _MERCATOR and period_of(source) is None:
        degrees = reproject(box, source, _WGS84)
        if degrees[2] > _ANTIMERIDIAN:
            return reproject(degrees, _WGS84, target)
    try:
        operation = transformer(source, target)
        found = _hull(_envelope(part, operation, target) for part in _parts(box, source, target))
    except ProjError as error:
        raise InvalidArea(f"The bbox cannot be expressed in {_named(target)}: {error}") from error
    if not (found[0] <= found[2] and found[1] <= found[3]):
        raise OutsideCrs(
            f"The bbox cannot be expressed in {_named(target)}: it lies outside of where that can be used."
        )
    return found


def _named(crs: int | str) -> str:
    return f"EPSG:{crs}" if isinstance(crs, int) else CRS.from_user_input(crs).name


def _parts(box: Bounds, source: int | str, target: int | str) -> list[tuple[Bounds, float]]:
    """Return the box, cut where the target's x begins anew, each part with what is to be added to its x there."""
    west, south, east, north = box
    if target == _MERCATOR and CRS.from_user_input(source).is_geographic:
        top = _MERCATOR_LATITUDE * _degrees(source)
        south, north = max(south, -top), min(north, top)
        if south > north:
            return []
    here, there = period_of(source), period_of(target)
    if here is None or there is None:
        return [((west, south, east, north), 0)]
    if east - west >= here:
        return [((-here / 2, south, here / 2, north), 0)]
    shift = math.floor(west / here + 0.5) * here
    west, east = west - shift, east - shift
    if east <= here / 2:
        return [((west, south, east, north), 0)]
    return [((west, south, here / 2, north), 0), ((-here / 2, south, east - here, north), there)]


def is_northing_first(crs: CRS) -> bool:
    """Return whether coordinates of a CRS have the northing (latitude) first.

    At the poles both axes point north (EPSG:3031), or south (EPSG:32661): there their names say it.
    """
    first, *others = crs.axis_info
    if others and first.direction == others[0].direction:
        return first.name.lower().startswith("northing")
    return first.direction.lower() == "north"


def _degrees(epsg: int | str) -> float:
    """Return how many units of a geographic CRS a degree is."""
    return math.radians(1) / CRS.from_user_input(epsg).axis_info[0].unit_conversion_factor


def _envelope(part: tuple[Bounds, float], operation: Transformer | ByWgs84, target: int | str) -> Bounds:
    box, added = part
    found = _NOWHERE
    if isinstance(operation, Transformer):
        found = operation.transform_bounds(*box, densify_pts=_ENVELOPE_POINTS)
    if not all(map(math.isfinite, found)):
        found = _sampled(box, operation)
    west, south, east, north = found
    if west > east:
        east += period_of(target) or 0
    if target == _MERCATOR:
        south, north = max(south, -_MERCATOR_TOP), min(north, _MERCATOR_TOP)
    return west + added, south, east + added, north


def _sampled(box: Bounds, operation: Transformer | ByWgs84) -> Bounds:
    """Return the envelope of those points of a box that have a place: a pole has none in most systems."""
    west, south, east, north = box
    x, y = np.meshgrid(np.linspace(west, east, _ENVELOPE_POINTS), np.linspace(south, north, _ENVELOPE_POINTS))
    there = np.array(operation.transform(x.ravel(), y.ravel()))
    there = there[:, np.isfinite(there).all(axis=0)]
    if not there.size:
        return _NOWHERE
    return (*there.min(axis=1).tolist(), *there.max(axis=1).tolist())


def _hull(boxes: Iterable[Bounds]) -> Bounds:
    """Return the box around all; around none, one that holds nothing."""
    boxes = [*boxes] or [_NOWHERE]
    west, south, east, north = zip(*boxes, strict=True)
    return min(west), min(south), max(east), max(north)
