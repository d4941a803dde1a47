"""The pixels of a raster that a caller with an area rule sees: those with their centre in the area."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from products.area import Area
from products.classes import NODATA
from products.operation import Bounds
from products.outline import Polygonal
from products.raster.blocks import Level, RasterBlocks
from products.raster.cog import Grid, Pixels
from products.raster.cut import on_raster
from products.raster.fill import Part


@dataclass(frozen=True, slots=True, eq=False)
class Visible:
    """An area in the CRS of a raster."""

    geometry: Polygonal
    _part: Part = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shapely.prepare(self.geometry)
        object.__setattr__(self, "_part", Part.of(self.geometry))

    def shown[T: np.generic](self, values: NDArray[T], transform: Affine, fill: Any) -> NDArray[T]:
        """Return pixels of shape (..., rows, columns), north up, with `fill` outside of the area.

        `transform` is that of their own level, from its columns and rows to coordinates. So a result in any CRS or size
        has no value from outside.
        """
        height, width = values.shape[-2:]
        west, north = transform @ (0, 0)
        east, south = transform @ (width, height)
        part = self._part.within((west, south, east, north)) if width and height else None
        if part is None:
            return np.full_like(values, fill)
        return (
            values if part.whole else np.where(part.mask(transform, (height, width)), values, values.dtype.type(fill))
        )

    def holds(self, bounds: Bounds) -> bool:
        """Return whether a box in the CRS is completely in the area."""
        return bool(shapely.covers(self.geometry, shapely.box(*bounds)))


@dataclass(frozen=True, slots=True, eq=False)
class VisibleBlocks:
    """An open raster of which only visible pixels are read."""

    raster: RasterBlocks
    visible: Visible

    @property
    def grid(self) -> Grid:
        """The grid of its pixels."""
        return self.raster.grid

    @property
    def levels(self) -> tuple[Level, ...]:
        """The raster, then its overviews."""
        return self.raster.levels

    def level(self, step: float) -> int:
        """Return the index of the coarsest level that is not coarser than `step` pixels of the raster."""
        return self.raster.level(step)

    def window(self, number: int, left: int, top: int, right: int, bottom: int) -> tuple[Pixels, int, int] | None:
        """Return the visible pixels of a window of a level, and its begin; 255 for all others."""
        found = self.raster.window(number, left, top, right, bottom)
        if found is None:
            return None
        pixels, column, row = found
        pixels = pixels[top - row : bottom - row, left - column : right - column]
        level = self.levels[number]
        scale = Affine.scale(self.grid.width / level.width, self.grid.height / level.height)
        place = self.grid.transform @ scale @ Affine.translation(left, top)
        return self.visible.shown(pixels, place, NODATA), left, top


@lru_cache(64)
def visible(area: Area, grid: Grid) -> Visible:
    """Return an area in the CRS of a raster. Raises InvalidArea if it cannot be expressed there."""
    return Visible(on_raster(area.project(grid.epsg), grid))
