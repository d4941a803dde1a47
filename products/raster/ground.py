"""How much of the ellipsoid the pixels of a raster cover."""

from dataclasses import dataclass, field

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

from products.raster.tiff import TILE
from products.raster.warp import node_weights

_CELLS = 16
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
