"""The interface of coverage providers for our routes, in addition to pygeoapi's."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from plugins.crs import Box, Crs, Interval
from products.classes import Classes, Rgb
from products.operation import Bounds
from products.raster.cog import Grid
from products.raster.geotiff import GeoTiff
from products.raster.picture import RED_GREEN_BLUE, Coloured, Style, coloured, encoded, over, palette_of
from products.raster.ramps import Colours, Ramp
from products.raster.scaled import Method, Values

Size = tuple[int, int]
"""Pixels across and down."""


@dataclass(frozen=True, slots=True)
class Band:
    """A field of a coverage: its name, its title, and the band of the file, counted from 1.

    `colour` is the band's colour interpretation, such as "red"; empty without one.
    """

    name: str
    title: str
    number: int = 1
    unit: str = ""
    limits: tuple[float, float] = (0, 255)
    """The values of the first and the last colour of a picture."""
    colour: str = ""


@dataclass(frozen=True, slots=True)
class NamedStyle:
    """A style of a coverage: its id, its title, and its drawing."""

    id: str
    title: str
    drawing: Style


@dataclass(frozen=True, slots=True)
class Pixels:
    """Pixels north up: `transform` is affine, from column and row to x and y; `size` is across and down.

    `rows` returns those from one row up to, but excluding, another, of shape (bands, rows, columns). `nodata` is the
    value for no data. With `classes` the one band has their values.
    """

    size: Size
    dtype: np.dtype[Any]
    transform: Affine
    crs: Crs
    bands: tuple[Band, ...]
    nodata: float | None
    classes: Classes
    rows: Callable[[int, int], Values]
    tiff: GeoTiff
    """The pixels as a GeoTIFF."""

    @property
    def values(self) -> Values:
        """All pixels, of shape (bands, rows, columns)."""
        return self.rows(0, self.size[1])

    @property
    def style(self) -> Style:
        """The colours of the classes, or the default ramp for the first of the bands."""
        return Style(self.classes, ramp=None if self.classes else Ramp(self.bands[0].number, *self.bands[0].limits))

    @property
    def codes(self) -> NDArray[np.uint8]:
        """The values of the classes, or of the first band steps of a ramp, of shape (rows, columns); 255 is no data."""
        values: NDArray[np.uint8] = self.values[0]
        return values if self.style.ramp is None else self.style.ramp.steps(values, self.nodata)

    def picture(self, background: Rgb | None = None) -> bytes:
        """Return a PNG in `style`, with or without a background; of red, green and blue bytes in these colours."""
        places = {band.colour: index for index, band in enumerate(self.bands)}
        if self.dtype == np.uint8 and places.keys() >= set(RED_GREEN_BLUE):
            indices = [places[each] for each in (*RED_GREEN_BLUE, "alpha") if each in places]
            channels = [Ramp(index + 1, 0, 255) for index in indices]
            return encoded(over(coloured(self.values[indices], channels, self.nodata), background))
        return encoded((self.codes, palette_of(replace(self.style, background=background))))


class CoverageProvider(Protocol):
    """A provider that our coverage and map routes call directly; others are called through pygeoapi.

    It is created once and used by many threads; `now` is called once for each version of its file.
    """

    reads: ClassVar[Literal["coverage"]]
    data: str
    classes: Classes
    years: Mapping[int, str]
    """The files by year, the earliest first; empty for a coverage of one file. All have the same grid."""
    year: int | None
    """The year of `data`."""

    def now(self) -> Self:
        """Return a provider with the facts about the current file, read once. Raises like `get_fields`."""

    def at(self, asked: Interval) -> Self | None:
        """Return the provider of the newest year that intersects an interval, or None."""

    @property
    def grid(self) -> Grid:
        """The grid of all pixels. Raises ProviderConnectionError."""

    @property
    def native(self) -> Crs:
        """The CRS of the stored pixels."""

    @property
    def whole(self) -> Box:
        """The box of the whole coverage."""

    @property
    def systems(self) -> tuple[Crs, ...]:
        """The CRSs of answers, its own first."""

    @property
    def crs_list(self) -> list[str]:
        """The URIs of `systems`."""

    @property
    def storage_crs_uri(self) -> str:
        """The URI of `native`."""

    @property
    def scale_denominator(self) -> float:
        """The scale at which a pixel of the coverage is a pixel of the screen."""

    @property
    def lost_class(self) -> str:
        """A message about a class whose value the file declares as no data; empty if there is none."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """The fields. Raises ProviderConnectionError."""

    @property
    def styles(self) -> tuple[NamedStyle, ...]:
        """The styles that it can be drawn in, the default one first. Raises ProviderConnectionError."""

    @property
    def ramps(self) -> Mapping[str, Colours]:
        """The ramps that values can be drawn in, by name."""

    def channels(self, bands: Sequence[Band], rescale: tuple[float, float] | None) -> tuple[Ramp, ...]:
        """Return three bands as red, green and blue, from one value to another, and the raster's opacity."""

    def get_fields(self) -> Mapping[str, Any]:
        """Return the values as JSON schemas by name. Raises ProviderConnectionError."""

    def size_of(self, box: Box) -> Size:
        """Return how many pixels of the coverage are along the box's sides."""

    def inside(self, box: Box) -> Box | None:
        """Return the part of a box in the coverage, or None, also where the coverage has no place in the CRS."""

    def snap(self, box: Box) -> Box | None:
        """Return the box of whole pixels of the coverage around a box in the native system; None for one outside.

        A box that intersects the coverage in one CRS may be outside in another, as transformed envelopes grow.
        """

    @property
    def dtype(self) -> str:
        """The type of the values, as numpy calls it."""

    @property
    def methods(self) -> Sequence[Method]:
        """The methods of interpolation, the default first."""

    def open(
        self, box: Box, size: Size, *, bands: Sequence[Band], method: Method, limit: int
    ) -> AbstractContextManager[Pixels]:
        """Open the box in exactly that size, no data outside; its rows are read when they are requested.

        Raises RequestTooLarge for more pixels than the limit, ProviderConnectionError, also when rows are read.
        """

    def read(self, box: Box, size: Size) -> Pixels:
        """Return the box in exactly that size, read at once. Raises like `open`."""

    def read_steps(self, bbox: Bounds, crs: int | str, size: Size, ramp: Ramp) -> NDArray[np.uint8] | None:
        """Return the nearest values in the bbox of a CRS like `read_tile`, but as steps of a ramp."""

    def read_colours(self, bbox: Bounds, crs: int | str, size: Size, channels: Sequence[Ramp]) -> Coloured | None:
        """Return the nearest values of three or four bands like `read_tile`, but as red, green, blue and opacity."""

    def read_tile(self, bbox: Bounds, crs: int | str, size: Size) -> NDArray[np.uint8] | None:
        """Return the nearest classes in the bbox of a CRS, x before y; None if there are certainly none.

        The CRS is an EPSG code, or a definition for PROJ. Raises RequestTooLarge, ProviderConnectionError.
        """
