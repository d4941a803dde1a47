"""The interface by which our routes ask a provider of coverages, besides pygeoapi's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from plugins.crs import Box, Crs
from products.classes import CLASSES, Classes
from products.raster.cog import Grid

Size = tuple[int, int]
"""Pixels across and down."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """Class values, north up: `transform` is affine, from column and row to x and y."""

    values: NDArray[np.uint8]
    transform: Affine
    crs: Crs
    classes: Classes = CLASSES


class CoverageProvider(Protocol):
    """A provider that our coverage and map routes ask directly; any other is asked through pygeoapi.

    It is made once and used by many threads; what it reads is looked at anew where the file has changed.
    """

    reads: ClassVar[Literal["coverage"]]
    data: str
    classes: Classes

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

    def get_fields(self) -> Mapping[str, Any]:
        """Return the values as JSON schemas by name. Raises ProviderConnectionError."""

    def size_of(self, box: Box) -> Size:
        """Return how many of the coverage's pixels lie along the box's sides."""

    def inside(self, box: Box) -> Box | None:
        """Return what of a box lies in the coverage, None where nothing does. Raises ValueError."""

    def snap(self, box: Box) -> Box:
        """Return the box of whole pixels around a box in the native system."""

    def read(self, box: Box, size: Size) -> Pixels:
        """Return the box in exactly that size, nearest pixels; 255 outside. Raises RequestTooLarge."""
