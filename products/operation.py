"""How coordinates of one CRS become those of another: the best operation there is, never a ballpark one."""

import math
import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from pyproj.aoi import AreaOfInterest
from pyproj.enums import TransformDirection
from pyproj.exceptions import ProjError
from pyproj.transformer import TransformerGroup

from products.errors import InvalidArea
from products.outline import Polygonal

MAX_ACCURACY = 11.0
"""Metres to which an operation must be accurate: Malta's, of 10 m, follows one of 1 m; all others are far better."""

_WGS84 = 4326
_ORDER = " (with axis order normalized for visualization)"

Coordinates = NDArray[np.float64]
Box = tuple[float, float, float, float]
"""West, south, east, north in degrees."""


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
def operation_between(source: int, target: int, within: Box | None = None) -> Operation:
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


def _best(source: int, target: int, within: Box | None) -> Transformer | None:
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
