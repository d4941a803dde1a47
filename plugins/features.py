"""The interface of feature providers for our routes, in addition to pygeoapi's."""

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
"""The count of matching items: none; exact if it is cheap, else estimated; always exact."""


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """The requested items and properties: `boxes` is None for everywhere, `properties` None for all.

    A page begins after the first `offset` items, or at the position `after` of an earlier page.
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
    """A vector tile: its box in a CRS, x before y, the name of its layer, and its maximum number of features.

    A feature that is not larger than the part `least` of the box's side is left out, but points are not. `dissolved`:
    polygons of a layer with classes are dissolved by class instead, and all of them count.
    """

    bounds: Bounds
    crs: Crs
    layer: str
    most: int
    least: float = 1 / 512
    dissolved: bool = False

    @property
    def around(self) -> Box:
        """The box with a margin, so that outlines meet those of the next tile."""
        west, south, east, north = self.bounds
        margin = (east - west) * BUFFER / EXTENT
        return Box((west - margin, south - margin, east + margin, north + margin), self.crs)


@dataclass(frozen=True, slots=True)
class PageSummary:
    """The number of items of a page, that of matching items, and the positions before and after the page.

    `matched` is None if it is not requested, and `estimated` is whether it is estimated. `next` and `previous` are
    positions for `ItemQuery.after`. `more` is whether there are items after the page, also if an item has no position.
    """

    returned: int
    matched: int | None
    estimated: bool = False
    more: bool = False
    next: Position | None = None
    previous: Position | None = None


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Items as GeoJSON features, in batches."""

    features: Sequence[Feature]
    summary: PageSummary


class FeatureProvider(Protocol):
    """A provider that our items routes call directly; others are called through pygeoapi.

    It is created once and used by many threads; `now` is called once for each version of its file.
    """

    reads: ClassVar[Literal["feature"]]
    data: str
    edited: bool
    """Whether its items can be changed; then it is an EditableProvider, too."""

    def now(self) -> Self:
        """Return a provider with the facts about the current file, read once. Raises like `get_fields`."""

    @property
    def systems(self) -> tuple[Crs, ...]:
        """The CRSs of answers, the default first."""

    @property
    def crs_list(self) -> list[str]:
        """The URIs of `systems`."""

    @property
    def storage_crs_uri(self) -> str:
        """The URI of the CRS of the stored coordinates, empty if it has none."""

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
        """The columns of an item's time, None if there are none: then it matches every time."""

    @property
    def time_extent(self) -> tuple[datetime | None, datetime | None] | None:
        """The first and the last instant of all items, None for an open end; None if unknown."""

    def get_fields(self) -> Mapping[str, Any]:
        """Return the attributes as JSON schemas by name. Raises ProviderConnectionError."""

    def get_domains(self, properties: Sequence[str] = ()) -> tuple[dict[str, list[Any]], bool]:
        """Return the values of properties in the visible items, except properties with too many values."""

    def find(self, query: ItemQuery) -> ItemPage:
        """Return a page of items. Raises RequestTooLarge if the search takes too long."""

    def texts(self, query: ItemQuery) -> tuple[list[bytes], PageSummary]:
        """Return a page of items as JSON. Raises RequestTooLarge if the search takes too long."""

    def stored_tile(self, query: TileQuery) -> bytes | None:
        """Return the tile if it was made when the data was loaded, None otherwise."""

    def tile(self, query: TileQuery) -> bytes:
        """Return a Mapbox Vector Tile of the visible items, which may be empty. Raises RequestTooLarge."""

    def write(self, query: ItemQuery, file: IO[bytes]) -> PageSummary:
        """Write a page of items as JSON, separated by commas. Raises RequestTooLarge, OSError."""

    def get(self, identifier: str, *, crs: Crs = CRS84) -> Feature:
        """Return one item. Raises ProviderItemNotFoundError."""
