"""The provider of coverages that are Cloud-Optimized GeoTIFFs."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pygeoapi.provider.base import BaseProvider, ProviderConnectionError

from plugins.crs import CRS84, Box, Crs, crs_of
from plugins.restriction import refuse_restriction
from products.classes import CLASSES, Classes
from products.errors import BrokenSource
from products.raster.cog import Grid, read_grid, read_scaled

_METRES_A_DEGREE = 111_320
_PIXEL_ON_SCREEN = 0.00028
"""Metres, as the OGC takes it for scale denominators."""

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pixels:
    """Class values, north up: `transform` is affine, from column and row to x and y."""

    values: NDArray[np.uint8]
    transform: Affine
    crs: Crs
    classes: Classes = CLASSES


class CogProvider(BaseProvider):
    """Reads windows and overviews; opens nothing until it is used, then raises ProviderConnectionError."""

    reads: ClassVar = "coverage"

    def __init__(self, provider_def: dict[str, Any]) -> None:
        super().__init__(provider_def)  # type: ignore[no-untyped-call]
        self.classes: Classes = provider_def.get("classes", CLASSES)

    @cached_property
    def grid(self) -> Grid:
        """The grid of the file's pixels."""
        try:
            return read_grid(Path(self.data))
        except BrokenSource as error:
            raise ProviderConnectionError(str(error)) from error

    @property
    def native(self) -> Crs:
        """The system that the pixels are stored in."""
        return crs_of(self.grid.epsg)

    @property
    def whole(self) -> Box:
        """All of the coverage."""
        grid = self.grid
        return Box(grid.bounds, crs_of(grid.epsg))

    @property
    def systems(self) -> tuple[Crs, ...]:
        """The systems that it can be asked for in, its own first."""
        native = self.native
        return (native, *(crs for crs in (CRS84, crs_of(4326), crs_of(3857)) if crs != native))

    @property
    def crs_list(self) -> list[str]:
        """The URIs of `systems`."""
        return [crs.uri for crs in self.systems]

    @property
    def storage_crs_uri(self) -> str:
        """The URI of `native`."""
        return self.native.uri

    @property
    def scale_denominator(self) -> float:
        """The scale at which a pixel of the coverage is one on the screen."""
        return self.grid.resolution / _PIXEL_ON_SCREEN

    def get_fields(self) -> dict[str, Any]:
        """Return the one field: the class, with codes and names."""
        _ = self.grid  # raises for a broken file
        classes = [{"const": entry.value, "title": entry.name} for entry in self.classes]
        return {"class": {"type": "integer", "title": "Land-cover class", "oneOf": classes}}

    @property
    def fields(self) -> dict[str, Any]:
        """The fields, for pygeoapi."""
        return self.get_fields()

    @property
    def _coverage_properties(self) -> dict[str, Any]:
        """What `pygeoapi.api.collection.gen_collection` asks for."""
        grid = self.grid
        return {"width": grid.width, "height": grid.height, "resx": grid.resolution, "resy": grid.resolution}

    def size_of(self, box: Box) -> Size:
        """Return about how many of the file's pixels lie along the box's sides."""
        west, south, east, north = box.bbox
        across, up = _metres(box.crs, (south + north) / 2)
        unit = self.grid.resolution
        return max(1, round((east - west) * across / unit)), max(1, round((north - south) * up / unit))

    def snap(self, box: Box) -> Box:
        """Return the box of whole pixels around a box in the native system."""
        left, bottom, _, _ = self.whole.bbox
        unit = self.grid.resolution
        west, south, east, north = box.bbox
        return Box(
            (
                left + math.floor((west - left) / unit + 1e-6) * unit,
                bottom + math.floor((south - bottom) / unit + 1e-6) * unit,
                left + math.ceil((east - left) / unit - 1e-6) * unit,
                bottom + math.ceil((north - bottom) / unit - 1e-6) * unit,
            ),
            box.crs,
        )

    def read(self, box: Box, size: Size) -> Pixels:
        """Return the box in exactly that size, nearest pixels; 255 outside of the file. Raises RequestTooLarge."""
        refuse_restriction()
        try:
            values, transform, _ = read_scaled(Path(self.data), box.bbox, box.crs.epsg, size)
        except BrokenSource as error:
            raise ProviderConnectionError(str(error)) from error
        return Pixels(values, transform, box.crs, self.classes)


def _metres(crs: Crs, middle: float) -> tuple[float, float]:
    """Return how many metres on the ground one unit is, along x and y, in the middle of a box."""
    if crs.epsg == CRS84.epsg:
        return _METRES_A_DEGREE * max(math.cos(math.radians(middle)), 0.01), _METRES_A_DEGREE
    if crs.epsg == 3857:  # noqa: PLR2004 - Web Mercator stretches by the latitude
        shrunk = 1 / math.cosh(middle / 6_378_137)
        return shrunk, shrunk
    return 1, 1
