"""The interface by which our routes ask a provider of features, besides pygeoapi's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any, ClassVar, Literal, Protocol

from plugins.crs import CRS84, Box, Crs
from products.vector.query import Selection
from products.vector.times import TimeColumns

Feature = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """Which items, and how: `boxes` is None for everywhere, `properties` None for all."""

    boxes: Sequence[Box] | None = None
    selection: Selection = field(default_factory=Selection)
    limit: int = 10
    offset: int = 0
    crs: Crs = CRS84
    properties: frozenset[str] | None = None
    geometry: bool = True


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Some of the `matched` items as GeoJSON features."""

    features: Sequence[Feature]
    matched: int


@dataclass(frozen=True, slots=True)
class ItemCount:
    """How many items were written, of how many that match."""

    returned: int
    matched: int


class FeatureProvider(Protocol):
    """A provider that our items routes ask directly; any other is asked through pygeoapi.

    It is made once and used by many threads; what it reads is looked at anew where the file has changed.
    """

    reads: ClassVar[Literal["feature"]]
    data: str

    @property
    def systems(self) -> tuple[Crs, ...]:
        """The systems that items can be asked for in, the default first."""

    @property
    def crs_list(self) -> list[str]:
        """The URIs of `systems`."""

    @property
    def storage_crs_uri(self) -> str:
        """The URI of the system of the stored coordinates, empty where it has none."""

    @property
    def geometry_name(self) -> str:
        """The name of the geometry among the fields."""

    @property
    def times(self) -> TimeColumns | None:
        """The columns that say when an item is, None where there are none: then it matches every time."""

    @property
    def time_extent(self) -> tuple[datetime | None, datetime | None] | None:
        """The first and the last moment of all items, None for an open end; None where it is not known."""

    def get_fields(self) -> Mapping[str, Any]:
        """Return the attributes as JSON schemas by name. Raises ProviderConnectionError."""

    def find(self, query: ItemQuery) -> ItemPage:
        """Return a page of items. Raises RequestTooLarge where looking for them takes too long."""

    def write(self, query: ItemQuery, file: IO[bytes]) -> ItemCount:
        """Write a page of items as JSON, a comma between two. Raises RequestTooLarge, OSError."""

    def get(self, identifier: str, *, crs: Crs = CRS84) -> Feature:
        """Return one item. Raises ProviderItemNotFoundError."""
