"""The interface by which our routes ask a provider of features, besides pygeoapi's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any, ClassVar, Literal, Protocol, Self

from plugins.crs import CRS84, Box, Crs
from products.operation import Bounds
from products.vector.drawing import BUFFER, EXTENT
from products.vector.query import Position, Selection
from products.vector.times import TimeColumns

Feature = dict[str, Any]
Counting = Literal["none", "cheap", "exact"]
"""How many items match: not wanted; exact where that is cheap and estimated elsewhere; exact whatever it costs."""


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """Which items, and how: `boxes` is None for everywhere, `properties` None for all.

    A page begins after the first `offset` items, or at the place `after`, which an earlier page has named.
    """

    boxes: Sequence[Box] | None = None
    selection: Selection = field(default_factory=Selection)
    limit: int = 10
    offset: int = 0
    after: Position | None = None
    counting: Counting = "cheap"
    crs: Crs = CRS84
    properties: frozenset[str] | None = None
    geometry: bool = True


@dataclass(frozen=True, slots=True)
class TileQuery:
    """A vector tile: its box in a system, x before y, the name of its layer, and how many features it has at most.

    A feature that is not larger than the part `least` of the box's side is left out, but points are not.
    """

    bounds: Bounds
    crs: Crs
    layer: str
    most: int
    least: float = 1 / 512

    @property
    def around(self) -> Box:
        """The box with what is drawn beyond its edges, so that outlines meet those of the next tile."""
        west, south, east, north = self.bounds
        margin = (east - west) * BUFFER / EXTENT
        return Box((west - margin, south - margin, east + margin, north + margin), self.crs)


@dataclass(frozen=True, slots=True)
class PageSummary:
    """How many items a page has, of how many that match, and what comes before and after it.

    `matched` is None where it is not wanted, and `estimated` says whether it is only about so many. `next` and
    `previous` are places for `ItemQuery.after`. `more` says whether items come after the page, also where an item
    there has no place that could be named.
    """

    returned: int
    matched: int | None
    estimated: bool = False
    more: bool = False
    next: Position | None = None
    previous: Position | None = None


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Some items as GeoJSON features."""

    features: Sequence[Feature]
    summary: PageSummary


class FeatureProvider(Protocol):
    """A provider that our items routes ask directly; any other is asked through pygeoapi.

    It is made once and used by many threads; `now` is asked once for each state of its file.
    """

    reads: ClassVar[Literal["feature"]]
    data: str

    def now(self) -> Self:
        """Return a provider with the facts about the current file, read once. Raises as `get_fields`."""

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
    def geometry_type(self) -> str:
        """The declared type of the geometries in lower case, such as `multipolygon`; `geometry` for any."""

    @property
    def id_type(self) -> str:
        """The JSON type of an item's id."""

    @property
    def times(self) -> TimeColumns | None:
        """The columns that say when an item is, None where there are none: then it matches every time."""

    @property
    def time_extent(self) -> tuple[datetime | None, datetime | None] | None:
        """The first and the last moment of all items, None for an open end; None where it is not known."""

    def get_fields(self) -> Mapping[str, Any]:
        """Return the attributes as JSON schemas by name. Raises ProviderConnectionError."""

    def get_domains(self, properties: Sequence[str] = ()) -> tuple[dict[str, list[Any]], bool]:
        """Return the values of properties in the items that the caller may see, but of those that have too many."""

    def find(self, query: ItemQuery) -> ItemPage:
        """Return a page of items. Raises RequestTooLarge where looking for them takes too long."""

    def texts(self, query: ItemQuery) -> tuple[list[bytes], PageSummary]:
        """Return a page of items as JSON. Raises RequestTooLarge where looking for them takes too long."""

    def tile(self, query: TileQuery) -> bytes:
        """Return a Mapbox Vector Tile of what the caller may see, empty without any. Raises RequestTooLarge."""

    def write(self, query: ItemQuery, file: IO[bytes]) -> PageSummary:
        """Write a page of items as JSON, a comma between two. Raises RequestTooLarge, OSError."""

    def get(self, identifier: str, *, crs: Crs = CRS84) -> Feature:
        """Return one item. Raises ProviderItemNotFoundError."""
