"""The provider of coverages in Cloud-Optimized GeoTIFFs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pygeoapi.provider.base import BaseProvider, ProviderConnectionError

from auth.policy import refuse_beyond, visible_area
from plugins.cog_facts import CogFacts, fields_of, is_unlike, lost_class, read_facts, years_of
from plugins.coverage_arguments import NativeFormat, check_names, check_time, pixels_asked, provider_at
from plugins.coverage_formats import coverage_json
from plugins.coverage_query import AXES, MAX_VALUES_AS_TEXT, scaled_down
from plugins.coverages import Band, NamedStyle, Pixels, Size
from plugins.crs import Box, Crs, Interval
from plugins.refusals import bounded
from plugins.styles import channels_of, ramps_of
from products.classes import CLASSES, NODATA, Classes
from products.errors import BrokenSource, InvalidArea
from products.limits import MAX_PIXELS
from products.operation import Bounds, reproject, transformer
from products.raster.blocks import RasterBlocks
from products.raster.cog import Grid, OpenRasters, check_classes, shifts
from products.raster.geotiff import GeoTiff
from products.raster.nearest import read_nearest
from products.raster.picture import RED_GREEN_BLUE, Coloured, coloured
from products.raster.ramps import Ramp
from products.raster.scaled import Method, Values, Wanted, open_scaled
from products.raster.values import check_values
from products.raster.visible import Visible, VisibleBlocks, visible
from products.sources import is_one_file

_STEP = 1e-3
"""Share of a box's shorter side over which the density of pixels is measured around its centre."""
_CROSS_X, _CROSS_Y = np.array([-1, 1, 0, 0]), np.array([0, 0, -1, 1])
_OF_VALUES: Sequence[Method] = ("linear", "nearest", "cubic", "mean", "minimum", "maximum", "median", "mode")
_PIXEL_ON_SCREEN = 0.00028
"""The pixel size in metres that the OGC defines for scale denominators."""
_PICTURE_BYTES = 16_777_216
"""A quarter of the maximum bytes of values that are read for a picture."""


class CogProvider(BaseProvider):
    """Reads windows and overviews; it opens the file at its first use, and then may raise ProviderConnectionError."""

    reads: ClassVar[Literal["coverage"]] = "coverage"

    def __init__(self, provider_def: dict[str, Any]) -> None:
        super().__init__(provider_def)  # type: ignore[no-untyped-call]
        self.classes: Classes = () if provider_def.get("bands") else provider_def.get("classes", CLASSES)
        self.axes = [name for axis in AXES for name in dict.fromkeys((axis, axis.capitalize(), axis.upper()))]
        self.ramps = ramps_of(provider_def)
        self._definition = provider_def
        self.years: Mapping[int, str] = years_of(provider_def)
        self.year = next((year for year, data in self.years.items() if data == self.data), None)
        self._at: dict[int, Self] = {}
        self._format = NativeFormat(provider_def)
        self._pinned: CogFacts | None = None
        self._files = OpenRasters()
        self._blocks: RasterBlocks | None = None
        """The current version of the file, opened for the first tile."""
        self.filename = f"{Path(self.data).stem}{self._format.suffix}"

    def now(self) -> Self:
        """Return a provider with the facts about the current file, which is not examined again until it is read."""
        known = self._pinned or self._read_known()
        now = self._pinned_to(known)
        now._at = self._of_years(known)  # noqa: SLF001 - it is one of us
        return now

    def _pinned_to(self, known: CogFacts) -> Self:
        same = copy(self)
        same._pinned, same._blocks = known, None  # noqa: SLF001 - it is one of us
        return same

    def _of_year(self, year: int, newest: CogFacts) -> Self:
        """Return the provider of a year with the bands and styles of the newest, so that a colour means one value.

        Raises ProviderConnectionError if its file is not on the same grid.
        """
        other = copy(self)
        other.data, other.year = self.years[year], year
        other.filename = f"{Path(other.data).stem}{self._format.suffix}"
        known = other._read_known()  # noqa: SLF001 - it is one of us
        if is_unlike(known, newest):
            raise ProviderConnectionError(f"years: {year}: {Path(other.data).name} is not on the grid of the others")
        return other._pinned_to(replace(known, bands=newest.bands, styles=newest.styles))  # noqa: SLF001 - one of us

    def at(self, asked: Interval) -> Self | None:
        """Return the provider of the newest year that intersects an interval, or None."""
        meeting = [year for year in self.years if asked[0].year <= year <= asked[1].year]
        return self._at[meeting[-1]] if meeting else None

    @property
    def _known(self) -> CogFacts:
        """The facts about the current file. Raises ProviderConnectionError, also if those of the years differ."""
        if self._pinned is not None:
            return self._pinned
        known = self._read_known()
        self._of_years(known)
        return known

    def _of_years(self, newest: CogFacts) -> dict[int, Self]:
        """Return the providers of the years.

        Raises ProviderConnectionError if their files differ in grid or type, or have the same name.
        """
        names = {Path(data).name if is_one_file(data) else data for data in self.years.values()}
        if self.years and (self.year is None or len(names) < len(self._definition["years"])):
            raise ProviderConnectionError("years: the file of `data` is not among them, or a year or a name is twice")
        return {year: self._of_year(year, newest) for year in self.years}

    def _read_known(self) -> CogFacts:
        try:
            return read_facts(Path(self.data), self._definition, self.classes)
        except BrokenSource as error:
            raise ProviderConnectionError(str(error)) from error

    @property
    def grid(self) -> Grid:
        """The grid of the file's pixels."""
        return self._known.grid

    @property
    def native(self) -> Crs:
        """The CRS of the stored pixels."""
        return self._known.whole.crs

    @property
    def whole(self) -> Box:
        """The box of the whole coverage."""
        return self._known.whole

    @property
    def systems(self) -> tuple[Crs, ...]:
        """The CRSs of answers, its own first."""
        return self._known.systems

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
        """The scale at which a pixel of the coverage is a pixel of the screen."""
        return self.grid.nominal / _PIXEL_ON_SCREEN

    @property
    def lost_class(self) -> str:
        """Return a message about a class whose value the file declares as no data; empty if there is none."""
        return lost_class(self._known, self.classes, Path(self.data).name)

    @property
    def bands(self) -> tuple[Band, ...]:
        """The fields: the class, or the configured bands."""
        return self._known.bands

    @property
    def styles(self) -> tuple[NamedStyle, ...]:
        """The styles that it can be drawn in, the default one first."""
        return self._known.styles

    def channels(self, bands: Sequence[Band], rescale: tuple[float, float] | None) -> tuple[Ramp, ...]:
        """Return three bands as red, green and blue."""
        values = self._known.values
        return channels_of(bands, values, rescale) if values else ()

    def get_fields(self) -> dict[str, Any]:
        """Return the one field, the class, with codes and names; or the configured bands."""
        return fields_of(self._known, self.classes)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields, for pygeoapi."""
        return self.get_fields()

    @property
    def _coverage_properties(self) -> dict[str, Any]:
        """The properties that `pygeoapi.api.collection.gen_collection` uses."""
        grid = self.grid
        width, height = grid.sides
        return {"width": grid.width, "height": grid.height, "resx": width, "resy": height}

    def size_of(self, box: Box) -> Size:
        """Return how many pixels of the file are along the box's sides; in another CRS estimated at its centre."""
        west, south, east, north = box.bbox
        across, up = self._density(box)
        return max(1, round((east - west) * across)), max(1, round((north - south) * up))

    def _density(self, box: Box) -> tuple[float, float]:
        """Return the file's pixels per unit of the box's CRS along x and y, where box and coverage intersect."""
        width, height = self._known.sides
        if box.crs.epsg == self.grid.epsg:
            return 1 / width, 1 / height
        inside = self.inside(box) or self._whole_in(box.crs)
        if inside is None:
            return 0.0, 0.0
        west, south, east, north = inside.bbox
        step = _STEP * min(east - west, north - south)
        x, y = (west + east) / 2 + step * _CROSS_X, (south + north) / 2 + step * _CROSS_Y
        there = np.array(transformer(box.crs.epsg, self.grid.epsg).transform(x, y)) / [[width], [height]]
        across, up = np.hypot(*(there[:, 1::2] - there[:, 0::2])) / (2 * step)
        return (float(across), float(up)) if np.isfinite((across, up)).all() else (0.0, 0.0)

    def inside(self, box: Box) -> Box | None:
        """Return the part of a box in the coverage, also across the antimeridian, or None.

        None also for a coverage without a place in the box's CRS, such as one at a pole in Web Mercator.
        """
        whole = self._whole_in(box.crs)
        if whole is None:
            return None
        parts = []
        for shift in shifts(box.bbox, whole.bbox, box.crs.epsg):
            part = box.moved(shift).cut(whole)
            parts += [part.moved(-shift).bbox] if part else []
        if not parts:
            return None
        west, south, east, north = zip(*parts, strict=True)
        return Box((min(west), min(south), max(east), max(north)), box.crs)

    def _whole_in(self, crs: Crs) -> Box | None:
        try:
            return self.whole.to(crs)
        except ValueError:
            return None

    def snap(self, box: Box) -> Box | None:
        """Return the box of whole pixels of the coverage around a box in the native system; None for one outside.

        A box that intersects the coverage in one CRS may be outside in another, as transformed envelopes grow.
        """
        left, bottom, _, _ = self.whole.bbox
        width, height = self._known.sides
        west, south, east, north = box.bbox
        first, last = _whole((west - left) / width, (east - left) / width)
        lowest, highest = _whole((south - bottom) / height, (north - bottom) / height)
        around = (left + first * width, bottom + lowest * height, left + last * width, bottom + highest * height)
        return self.inside(Box(around, box.crs))

    @property
    def dtype(self) -> str:
        """The type of the values, as numpy calls it."""
        return self._known.values.dtype if self._known.values else "uint8"

    @property
    def methods(self) -> Sequence[Method]:
        """Classes are never averaged."""
        return ("nearest", "mode") if self.classes else _OF_VALUES

    @contextmanager
    def open(
        self,
        box: Box,
        size: Size,
        *,
        bands: Sequence[Band] = (),
        method: Method = "nearest",
        limit: int = MAX_PIXELS,
    ) -> Iterator[Pixels]:
        """Open the box in exactly that size, no data outside of the file; without `bands` all of them."""
        seen = self._visible(box.bbox, box.crs.epsg)
        source, bands, values = Path(self.data), tuple(bands) or self.bands, self._known.values
        numbers = [band.number for band in bands]
        fill, dtype = (values.fill, values.dtype) if values else (NODATA, "uint8")
        is_full = values and not values.masked and seen is None and self._holds(box)
        nodata = self.grid.nodata if is_full else fill
        if box.crs.epsg == self.grid.epsg and size == self.size_of(box):
            method = "nearest"
        check = check_values if values else check_classes
        wanted = Wanted(box.bbox, box.crs.epsg, size, fill, dtype, numbers, method, seen)
        titles = [band.title for band in bands]
        tiff = GeoTiff(
            size,
            np.dtype(dtype),
            wanted.transform,
            box.crs.epsg,
            nodata,
            titles,
            classes=self.classes,
            is_rgb=tuple(band.colour for band in bands[:3]) == RED_GREEN_BLUE,
            has_alpha=len(bands) == 4 and bands[3].colour == "alpha",  # noqa: PLR2004 - red, green, blue, opacity
        )
        try:
            with open_scaled(partial(self._files.reading, source, check), self.grid, wanted, limit=limit) as reader:
                yield Pixels(size, tiff.dtype, tiff.transform, box.crs, bands, nodata, self.classes, reader.rows, tiff)
        except BrokenSource as error:
            raise ProviderConnectionError(str(error)) from error

    def _holds(self, box: Box) -> bool:
        """Return whether a box is completely in the coverage, as far as is known without its pixels."""
        return box.crs.epsg == self.grid.epsg and self.inside(box) == box

    def _visible(self, bbox: Bounds, crs: int | str) -> Visible | None:
        """Return the visible area of the caller of this request, None for all. Raises RestrictionUnsupported."""
        area = visible_area()
        if area is None:
            return None
        seen = visible(area, self.grid)
        refuse_beyond(lambda: seen.holds(reproject(bbox, crs, self.grid.epsg)))
        return seen

    def read(self, box: Box, size: Size) -> Pixels:
        """Return the box in exactly that size, nearest pixels, read at once."""
        with self.open(box, size) as pixels:
            values = pixels.values
        return replace(pixels, rows=lambda first, last: values[:, first:last])

    def read_steps(self, bbox: Bounds, crs: int | str, size: Size, ramp: Ramp) -> NDArray[np.uint8] | None:
        """Return the nearest values in the bbox as steps of a ramp, or None."""
        kind = np.promote_types(self.dtype, "float32")
        wanted = Wanted(bbox, crs, size, math.nan, kind.name, [ramp.band], visible=self._visible(bbox, crs))
        values = self._read_values(wanted, _PICTURE_BYTES // kind.itemsize)
        steps = None if values is None else ramp.steps(values[0], None)
        return None if steps is None or (steps == NODATA).all() else steps

    def read_colours(self, bbox: Bounds, crs: int | str, size: Size, channels: Sequence[Ramp]) -> Coloured | None:
        """Return the nearest values of bands in the bbox as red, green, blue and opacity, or None."""
        kind, nodata = np.promote_types(self.dtype, "float32"), self.grid.nodata
        fill = math.nan if nodata is None else nodata
        bands = [each.band for each in channels]
        wanted = Wanted(bbox, crs, size, fill, kind.name, bands, visible=self._visible(bbox, crs))
        values = self._read_values(wanted, _PICTURE_BYTES // kind.itemsize // len(bands))
        if values is None:
            return None
        picture = coloured(values, channels, nodata)
        return picture if picture[..., 3].any() else None

    def _read_values(self, wanted: Wanted, limit: int) -> Values | None:
        """Return values for a picture, of as many pixels as the limit or the picture has; None outside of the CRS."""
        open_ = partial(self._files.reading, Path(self.data), check_values if self._known.values else check_classes)
        try:
            with open_scaled(open_, self.grid, wanted, limit=max(limit, math.prod(wanted.size))) as reader:
                return reader.rows(0, wanted.size[1])
        except InvalidArea:
            return None
        except BrokenSource as error:
            raise ProviderConnectionError(str(error)) from error

    def read_tile(self, bbox: Bounds, crs: int | str, size: Size) -> NDArray[np.uint8] | None:
        """Return the classes in the bbox, by the blocks of the open file; None if its index has none of them there."""
        seen = self._visible(bbox, crs)
        if not is_one_file(self.data):
            wanted = Wanted(bbox, crs, size, NODATA, visible=seen)
            values = self._read_values(wanted, MAX_PIXELS)
            return None if values is None or (values[0] == NODATA).all() else values[0]
        try:
            if self._blocks is None:
                self._blocks = RasterBlocks(Path(self.data))
            blocks = self._blocks if seen is None else VisibleBlocks(self._blocks, seen)
            return read_nearest(blocks, bbox, crs, size)
        except BrokenSource as error:
            raise ProviderConnectionError(str(error)) from error

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
        """Return the pixels for pygeoapi's handlers: CoverageJSON, or bytes of the configured format.

        A too large answer is scaled down, like in our own route. Raises ProviderInvalidQueryError for an invalid query,
        ProviderNoDataError outside of the coverage.
        """
        check_names(properties, self.fields)
        if self.years and datetime_:
            return provider_at(self, datetime_).query(properties, subsets, bbox, bbox_crs, format_=format_)
        check_time(datetime_)
        encode = self._format.encoder(format_)
        box = pixels_asked(self, bbox=bbox, bbox_crs=bbox_crs, subsets=subsets or {})
        with bounded():
            pixels = self.read(box, scaled_down(self.size_of(box), MAX_PIXELS if encode else MAX_VALUES_AS_TEXT))
        return encode(pixels) if encode else coverage_json(pixels)


def _whole(low: float, high: float) -> tuple[int, int]:
    """Return the integers around two numbers, the second above the first; a millionth beyond an integer is ignored."""
    first = math.floor(low + 1e-6)
    return first, max(first + 1, math.ceil(high - 1e-6))
