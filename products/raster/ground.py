"""The area on the ellipsoid of pixels and polygons of a CRS."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod, Proj, Transformer

from products.area import square_metres_below
from products.operation import MERCATOR
from products.raster.tiff import TILE
from products.raster.warp import node_weights
from products.vector.blob import Geometries

_CELLS = 16
_CHORD = 1_000
"""Metres between two points of an edge that is transformed to another projection."""
_BASE = 100_000
"""Units of a Mercator projection over which its scale of longitudes is measured."""
_ELLIPSOID = Geod(ellps="GRS80")


@dataclass(frozen=True, slots=True)
class Ground:
    """The square metres on the ellipsoid of pixels in a CRS."""

    crs: CRS
    equal: bool = field(init=False)
    """Whether a pixel of some size covers the same area everywhere."""

    def __post_init__(self) -> None:
        operation = self.crs.coordinate_operation
        method = operation.method_name if operation else ""
        object.__setattr__(self, "equal", "Equal Area" in method and "Spherical" not in method)

    def square_metres(self, transform: Affine) -> NDArray[np.float64]:
        """Return them for each of 512 x 512 pixels; if all are equal, an array of one.

        They are interpolated between nodes 32 pixels apart.
        """
        if self.equal:
            unit = self.crs.axis_info[0].unit_conversion_factor
            return np.array([abs(transform.determinant) * unit**2])
        columns, rows = np.meshgrid(*[np.linspace(0, TILE, _CELLS + 1)] * 2)
        weights = node_weights(_CELLS)
        interpolated: NDArray[np.float64] = weights @ self._at(transform, columns, rows) @ weights.T
        return interpolated

    def areas(self, polygons: Geometries) -> NDArray[np.float64]:
        """Return the square metres of polygons whose edges are straight in the CRS.

        If the CRS is not equal-area, they are projected to one that is: a cylindrical one if the edges of pixels follow
        longitude and latitude, else one around the middle of all, with a point per kilometre.
        """
        unit = self.crs.axis_info[0].unit_conversion_factor
        if self.equal:
            return np.asarray(shapely.area(polygons) * unit**2)
        method = self.crs.coordinate_operation.method_name if self.crs.coordinate_operation else ""
        if self.crs.is_geographic or MERCATOR.match(method):
            return np.asarray(shapely.area(shapely.transform(polygons, self._on_cylinder)))
        dense = shapely.segmentize(polygons, _CHORD / unit)
        return np.asarray(shapely.area(shapely.transform(dense, self._round(_middle(polygons)))))

    def _on_cylinder(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points in the cylindrical equal-area projection: their longitudes, and the area below each."""
        ellipsoid = self.crs.get_geod() or _ELLIPSOID
        if self.crs.is_geographic:
            longitude, latitude = points.T * self.crs.axis_info[0].unit_conversion_factor
        else:
            x, y = points.T
            begin, end = self._radians(x[0] + np.array([0, _BASE]), y[[0, 0]])[0]
            longitude = (end - begin) % (2 * np.pi) * (x - x[0]) / _BASE  # they continue beyond the antimeridian
            latitude = self._radians(x, y)[1]
        return np.column_stack([longitude, square_metres_below(latitude, ellipsoid)])

    def _round(self, middle: tuple[float, float]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """Return the transformation of points to the equal-area projection around a point."""
        ellipsoid = self.crs.get_geod() or _ELLIPSOID
        longitude, latitude = np.degrees(self._radians(*np.array([middle]).T)).ravel().tolist()
        azimuthal = Proj({"proj": "laea", "lat_0": latitude, "lon_0": longitude, "a": ellipsoid.a, "b": ellipsoid.b})
        return lambda points: np.column_stack(azimuthal(*np.degrees(self._radians(*points.T))))

    def _radians(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return longitudes and latitudes, of shape (2, …); a CRS may be in degrees or grads."""
        geodetic = self.crs.geodetic_crs or self.crs
        there = Transformer.from_crs(self.crs, geodetic, always_xy=True).transform(x, y)
        radians: NDArray[np.float64] = np.array(there) * geodetic.axis_info[0].unit_conversion_factor
        return radians

    def _at(self, transform: Affine, columns: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the square metres of pixels at these points: their size in square radians times a radian's area."""

        def at(right: float, down: float) -> NDArray[np.float64]:
            x = transform.c + transform.a * (columns + right)
            y = transform.f + transform.e * (rows + down)
            return self._radians(x, y)

        east, south = at(0.5, 0) - at(-0.5, 0), at(0, 0.5) - at(0, -0.5)
        latitude = at(0, 0)[1]
        ellipsoid = self.crs.get_geod() or _ELLIPSOID
        radian = ellipsoid.b**2 * np.cos(latitude) / (1 - ellipsoid.es * np.sin(latitude) ** 2) ** 2
        covered: NDArray[np.float64] = np.abs(east[0] * south[1] - east[1] * south[0]) * radian
        return covered


def _middle(polygons: Geometries) -> tuple[float, float]:
    west, south, east, north = shapely.total_bounds(polygons)
    return (west + east) / 2, (south + north) / 2
