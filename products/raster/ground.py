"""How much of the ellipsoid the pixels of a raster cover, and how many of them an outline holds."""

from dataclasses import dataclass, field

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

from products.outline import Polygonal
from products.raster.tiff import TILE
from products.raster.warp import node_weights

_CELLS = 16
_EDGES = 65_536
_ELLIPSOID = Geod(ellps="GRS80")


@dataclass(frozen=True, slots=True)
class Ground:
    """The square metres of the ellipsoid that pixels in a CRS cover."""

    crs: CRS
    equal: bool = field(init=False)
    """A pixel of a certain size covers the same everywhere."""

    def __post_init__(self) -> None:
        operation = self.crs.coordinate_operation
        method = operation.method_name if operation else ""
        object.__setattr__(self, "equal", "Equal Area" in method and "Spherical" not in method)

    def square_metres(self, transform: Affine) -> NDArray[np.float64]:
        """Return them for each of 512 x 512 pixels; where all are equal an array of one.

        Between nodes 32 pixels apart they are interpolated.
        """
        if self.equal:
            unit = self.crs.axis_info[0].unit_conversion_factor
            return np.array([abs(transform.determinant) * unit**2])
        columns, rows = np.meshgrid(*[np.linspace(0, TILE, _CELLS + 1)] * 2)
        weights = node_weights(_CELLS)
        interpolated: NDArray[np.float64] = weights @ self._at(transform, columns, rows) @ weights.T
        return interpolated

    def _at(self, transform: Affine, columns: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the square metres of pixels round these places: in radians their size, times that of a radian."""
        degrees = Transformer.from_crs(self.crs, self.crs.geodetic_crs, always_xy=True)

        def at(right: float, down: float) -> NDArray[np.float64]:
            x = transform.c + transform.a * (columns + right)
            y = transform.f + transform.e * (rows + down)
            return np.radians(degrees.transform(x, y))

        east, south = at(0.5, 0) - at(-0.5, 0), at(0, 0.5) - at(0, -0.5)
        latitude = at(0, 0)[1]
        ellipsoid = self.crs.get_geod() or _ELLIPSOID
        radian = ellipsoid.b**2 * np.cos(latitude) / (1 - ellipsoid.es * np.sin(latitude) ** 2) ** 2
        covered: NDArray[np.float64] = np.abs(east[0] * south[1] - east[1] * south[0]) * radian
        return covered


def centres_inside(geometry: Polygonal, transform: Affine) -> int:
    """Return how many pixels of an endless grid have their centre inside: on each row those left of an edge, signed."""
    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(geometry)))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    columns, rows = ~transform @ (points[:, 0], points[:, 1])
    edges = np.flatnonzero(ring[1:] == ring[:-1])
    return abs(sum(_left_of(columns, rows, edges[k : k + _EDGES]) for k in range(0, len(edges), _EDGES)))


def _left_of(columns: NDArray[np.float64], rows: NDArray[np.float64], edges: NDArray[np.intp]) -> int:
    begin, end = rows[edges] - 0.5, rows[edges + 1] - 0.5
    first, last = np.ceil(np.minimum(begin, end)), np.ceil(np.maximum(begin, end))
    count = (last - first).astype(np.int64)
    edge = np.repeat(np.arange(len(edges)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    share = (row - begin[edge]) / (end - begin)[edge]
    column = columns[edges][edge] + share * (columns[edges + 1] - columns[edges])[edge]
    return int((np.ceil(column - 0.5) * np.sign(end - begin)[edge]).sum())
