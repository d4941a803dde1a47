"""The provider of coverages that are Cloud-Optimized GeoTIFFs."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from pygeoapi.provider.base import BaseProvider, ProviderConnectionError, ProviderNoDataError

from plugins.coverage_arguments import NativeFormat, box_asked, check_names, check_time
from plugins.coverage_formats import coverage_json
from plugins.coverage_query import AXES, MAX_VALUES_AS_TEXT, scaled_down, whole_pixels
from plugins.coverages import Pixels, Size
from plugins.crs import CRS84, Box, Crs, crs_of
from plugins.refusals import bounded, refused
from plugins.restriction import refuse_restriction
from products.classes import CLASSES, Classes
from products.errors import BrokenSource
from products.limits import MAX_PIXELS
from products.operation import transformer
from products.raster.cog import Grid, read_grid, read_scaled, turns

_STEP = 1e-3
"""Part of a box's shorter side: how far round its middle the density of pixels is measured."""
_CROSS_X, _CROSS_Y = np.array([-1, 1, 0, 0]), np.array([0, 0, -1, 1])
_PIXEL_ON_SCREEN = 0.00028
"""Metres, as the OGC takes it for scale denominators."""


class CogProvider(BaseProvider):
    """Reads windows and overviews; opens nothing until it is used, then raises ProviderConnectionError."""

    reads: ClassVar[Literal["coverage"]] = "coverage"

    def __init__(self, provider_def: dict[str, Any]) -> None:
        super().__init__(provider_def)  # type: ignore[no-untyped-call]
        self.classes: Classes = provider_def.get("classes", CLASSES)
        self.axes = [name for axis in AXES for name in dict.fromkeys((axis, axis.capitalize(), axis.upper()))]
        self._format = NativeFormat(provider_def)
        self.filename = f"{Path(self.data).stem}{self._format.suffix}"

    @property
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
        return self.grid.nominal / _PIXEL_ON_SCREEN

    @property
    def lost_class(self) -> str:
        """Say which class no pixel has, as the file says that its value means no data; empty where there is none."""
        lost = next((each for each in self.classes if each.value == self.grid.nodata), None)
        if lost is None:
            return ""
        return (
            f"{Path(self.data).name} says that {lost.value} is no data, so no pixel has the class {lost.name!r}; "
            f"`landcast product add` makes a file that keeps the class (--nodata none) or not (--nodata {lost.value})"
        )

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
        width, height = grid.sides
        return {"width": grid.width, "height": grid.height, "resx": width, "resy": height}

    def size_of(self, box: Box) -> Size:
        """Return how many of the file's pixels lie along the box's sides: in another system about, as in its middle."""
        west, south, east, north = box.bbox
        across, up = self._density(box)
        return max(1, round((east - west) * across)), max(1, round((north - south) * up))

    def _density(self, box: Box) -> tuple[float, float]:
        """Return the file's pixels in a unit of the box's system along x and y, where box and coverage meet."""
        width, height = self.grid.sides
        if box.crs.epsg == self.grid.epsg:
            return 1 / width, 1 / height
        west, south, east, north = (self.inside(box) or self.whole.to(box.crs)).bbox
        step = _STEP * min(east - west, north - south)
        x, y = (west + east) / 2 + step * _CROSS_X, (south + north) / 2 + step * _CROSS_Y
        there = np.array(transformer(box.crs.epsg, self.grid.epsg).transform(x, y)) / [[width], [height]]
        across, up = np.hypot(*(there[:, 1::2] - there[:, 0::2])) / (2 * step)
        return (float(across), float(up)) if np.isfinite((across, up)).all() else (0.0, 0.0)

    def inside(self, box: Box) -> Box | None:
        """Return what of a box lies in the coverage, also where it crosses the antimeridian; None where nothing does.

        Raises ValueError where the coverage has no place in the box's system.
        """
        whole = self.whole.to(box.crs)
        parts = []
        for turn in turns(box.bbox, whole.bbox, box.crs.epsg):
            part = box.moved(turn).cut(whole)
            parts += [part.moved(-turn).bbox] if part else []
        if not parts:
            return None
        west, south, east, north = zip(*parts, strict=True)
        return Box((min(west), min(south), max(east), max(north)), box.crs)

    def snap(self, box: Box) -> Box:
        """Return the box of whole pixels around a box in the native system, of one at least."""
        left, bottom, _, _ = self.whole.bbox
        width, height = self.grid.sides
        west, south, east, north = box.bbox
        first, last = _whole((west - left) / width, (east - left) / width)
        lowest, highest = _whole((south - bottom) / height, (north - bottom) / height)
        return Box(
            (left + first * width, bottom + lowest * height, left + last * width, bottom + highest * height), box.crs
        )

    def read(self, box: Box, size: Size) -> Pixels:
        """Return the box in exactly that size, nearest pixels; 255 outside of the file. Raises RequestTooLarge."""
        refuse_restriction()
        try:
            values, transform, _ = read_scaled(Path(self.data), box.bbox, box.crs.epsg, size)
        except BrokenSource as error:
            raise ProviderConnectionError(str(error)) from error
        return Pixels(values, transform, box.crs, self.classes)

    def query(
        self,
        properties: Sequence[str] = (),
        subsets: Mapping[str, Sequence[Any]] = MappingProxyType({}),
        bbox: Sequence[float] = (),
        bbox_crs: str | int | None = None,
        datetime_: str | None = None,
        *,
        format_: str = "json",
    ) -> bytes | dict[str, Any]:
        """Return the pixels as pygeoapi's handlers ask for them: CoverageJSON, or bytes of the configured format.

        What would be too large is scaled down, as our own route does. Raises ProviderInvalidQueryError for what cannot
        be answered, ProviderNoDataError outside of the coverage.
        """
        check_names(properties, self.fields)
        check_time(datetime_)
        encode = self._format.encoder(format_)
        with refused("bbox"):
            inside = self.inside(box_asked(self, bbox=bbox, bbox_crs=bbox_crs, subsets=subsets or {}))
            box = inside and whole_pixels(self, inside.to(self.native))
        if box is None:
            raise ProviderNoDataError(user_msg="there is nothing of the coverage")
        with bounded():
            pixels = self.read(box, scaled_down(self.size_of(box), MAX_PIXELS if encode else MAX_VALUES_AS_TEXT))
        return encode(pixels) if encode else coverage_json(pixels)


def _whole(low: float, high: float) -> tuple[int, int]:
    """Return the whole numbers around two, the second above the first; a millionth beyond one is that one."""
    first = math.floor(low + 1e-6)
    return first, max(first + 1, math.ceil(high - 1e-6))
