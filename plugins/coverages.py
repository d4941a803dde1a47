"""The interface by which our routes ask a provider of coverages, besides pygeoapi's own."""

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
from products.raster.picture import Style, palette_of, png
from products.raster.ramps import Colours, Ramp
from products.raster.scaled import Method, Values

Size = tuple[int, int]
"""Pixels across and down."""


@dataclass(frozen=True, slots=True)
class Band:
    """A field of a coverage: its name, what it is called, and the band of the file, counted from 1."""

    name: str
    title: str
    number: int = 1
    unit: str = ""
    limits: tuple[float, float] = (0, 255)
    """The values that the first and the last colour of a picture stand for."""


@dataclass(frozen=True, slots=True)
class NamedStyle:
    """A style of a coverage: its id, its title, and how it has the coverage drawn."""

    id: str
    title: str
    drawing: Style


@dataclass(frozen=True, slots=True)
class Pixels:
    """Pixels north up: `transform` is affine, from column and row to x and y; `size` is across and down.

    `rows` returns those from one row up to, but without, another, of shape (bands, rows, columns). A value of `nodata`
    means that there is none. With `classes` the one band has their values.
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
    """The same as a GeoTIFF."""

    @property
    def values(self) -> Values:
        """All of them, of shape (bands, rows, columns)."""
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
        """Return a PNG in `style`, on a background or none."""
        return png(self.codes, palette_of(replace(self.style, background=background)))


class CoverageProvider(Protocol):
    """A provider that our coverage and map routes ask directly; any other is asked through pygeoapi.

    It is made once and used by many threads; `now` is asked once for each state of its file.
    """

    reads: ClassVar[Literal["coverage"]]
    data: str
    classes: Classes
    years: Mapping[int, str]
    """The files by their years, the earliest first; none of a coverage of one file. All have one grid."""
    year: int | None
    """The year of `data`."""

    def now(self) -> Self:
        """Return a provider with the facts about the current file, read once. Raises as `get_fields`."""

    def at(self, asked: Interval) -> Self | None:
        """Return the provider of the newest of the years that meet an interval, None where none does."""

    @property
    def grid(self) -> Grid:
        """The grid of all pixels. Raises ProviderConnectionError."""

    @property
    def native(self) -> Crs:
        """The system that the pixels are stored in."""

    @property
    def whole(self) -> Box:
        """All of the coverage."""

    @property
    def systems(self) -> tuple[Crs, ...]:
        """The systems that it can be asked for in, its own first."""

    @property
    def crs_list(self) -> list[str]:
        """The URIs of `systems`."""

    @property
    def storage_crs_uri(self) -> str:
        """The URI of `native`."""

    @property
    def scale_denominator(self) -> float:
        """The scale at which a pixel of the coverage is one on the screen."""

    @property
    def lost_class(self) -> str:
        """Which class no pixel has, as the file says that its value means no data; empty where there is none."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """The fields. Raises ProviderConnectionError."""

    @property
    def styles(self) -> tuple[NamedStyle, ...]:
        """The styles that it can be drawn in, the default one first. Raises ProviderConnectionError."""

    @property
    def ramps(self) -> Mapping[str, Colours]:
        """The ramps that values can be drawn in, by name."""

    def get_fields(self) -> Mapping[str, Any]:
        """Return the values as JSON schemas by name. Raises ProviderConnectionError."""

    def size_of(self, box: Box) -> Size:
        """Return how many of the coverage's pixels lie along the box's sides."""

    def inside(self, box: Box) -> Box | None:
        """Return what of a box lies in the coverage, None where nothing does. Raises ValueError."""

    def snap(self, box: Box) -> Box | None:
        """Return the box of whole pixels of the coverage around a box in the native system; None for one outside.

        What meets the coverage in one system may lie beside it in another: envelopes grow when they are transformed.
        """

    @property
    def dtype(self) -> str:
        """The type of the values, as numpy calls it."""

    @property
    def methods(self) -> Sequence[Method]:
        """The ways in which it can be scaled, the default first."""

    def open(
        self, box: Box, size: Size, *, bands: Sequence[Band], method: Method, limit: int
    ) -> AbstractContextManager[Pixels]:
        """Open the box in exactly that size, no data outside; its rows are read as they are asked for.

        Raises RequestTooLarge for more pixels than the limit, ProviderConnectionError, also when rows are read.
        """

    def read(self, box: Box, size: Size) -> Pixels:
        """Return the box in exactly that size, read at once. Raises as `open`."""

    def read_steps(self, bbox: Bounds, crs: int | str, size: Size, ramp: Ramp) -> NDArray[np.uint8] | None:
        """Return the nearest values in the bbox of a CRS, as `read_tile`, but as steps of a ramp."""

    def read_tile(self, bbox: Bounds, crs: int | str, size: Size) -> NDArray[np.uint8] | None:
        """Return the nearest classes in the bbox of a CRS, x before y; None if it is known that there are none.

        The CRS is an EPSG code, or what PROJ reads. Raises RequestTooLarge, ProviderConnectionError.
        """
