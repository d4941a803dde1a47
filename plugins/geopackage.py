"""The provider of features in a GeoPackage."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import replace
from datetime import datetime
from itertools import repeat
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, Self

import numpy as np
import shapely
from pygeoapi.provider.base import (
    ProviderConnectionError,
    ProviderItemNotFoundError,
    ProviderRequestEntityTooLargeError,
)
from pyproj.exceptions import CRSError, ProjError

from auth.policy import MISFIT, RestrictionUnsupported, row_rules
from plugins.crs import Box, Crs
from plugins.editing import Draft, EditedLayer, Expected
from plugins.features import Feature, ItemPage, ItemQuery, PageSummary, TileQuery
from plugins.geojson import (
    NO_GEOMETRY,
    ItemRow,
    area_of,
    geojson_texts,
    least_size,
    plain,
    stored,
    text_of,
    transformed,
    whole_of,
)
from plugins.geopackage_edit import LayerEditor
from plugins.geopackage_facts import LayerFacts, facts_of
from plugins.item_arguments import Coordinates, OnlyLanguage, Transformation
from plugins.layer_provider import MOST_VALUES, LayerOptions, LayerProvider
from products.errors import BrokenSource, RequestTooLarge
from products.vector.counting import count_cheaply
from products.vector.cql import Filter, FilterError
from products.vector.cql_sql import Sql, where
from products.vector.cql_sqlite import GeoPackageDialect
from products.vector.dissolving import ClassGrid
from products.vector.drawing import drawn
from products.vector.geopackage import Batch, Reader, layer_of, read_geopackage
from products.vector.layer import Layer
from products.vector.meeting import extent_of, time_extent
from products.vector.mvt import Encoder
from products.vector.query import Count, PageOfFeatures, Search, Selection, distinct, search
from products.vector.times import TimeColumns

_LOGGER = logging.getLogger(__name__)
_SECONDS = 20
"""CPU seconds after which a query is ended."""
_SIZED = frozenset(f"{many}{kind}" for many in ("", "MULTI") for kind in ("LINESTRING", "CURVE", "POLYGON", "SURFACE"))
"""Geometry types without points, whose envelopes decide whether one is visible."""

_POLYGONS = {"POLYGON", "MULTIPOLYGON"}


class GeoPackageProvider(LayerProvider):
    """Reads one layer; it opens the file at its first use, and then may raise ProviderConnectionError.

    `table` names the layer in a file of several. An item's id is the value of the configured `id_field`, else of
    the primary key, else SQLite's rowid; its time that of `time_field`, one column or those of begin and end, else of
    `time_columns`. `storage_crs` replaces the file's CRS.
    """

    reads: ClassVar[Literal["feature"]] = "feature"
    counting = "exact"

    def __init__(self, provider_def: dict[str, Any]) -> None:
        try:
            super().__init__(provider_def)  # type: ignore[no-untyped-call]
            self._coordinates = Coordinates(provider_def)
            self._language = OnlyLanguage(provider_def)
        except (CRSError, ValueError) as error:
            raise ProviderConnectionError(f"storage_crs: {error}") from error
        self.table: str | None = provider_def.get("table")
        self._options = LayerOptions.read(provider_def)
        self._last: LayerFacts | None = None
        self._pinned: LayerFacts | None = None
        self.editable = False  # the handlers of pygeoapi then refuse all writes
        self.edited = provider_def.get("editable") is True

    def now(self) -> Self:
        """Return a provider with the facts about the current file, which is not examined again until it is read."""
        same = copy(self)
        same._pinned = self._known  # noqa: SLF001 - of the same class
        return same

    @property
    def _known(self) -> LayerFacts:
        """The facts about the layer in the current file."""
        if self._pinned is not None:
            return self._pinned
        with _as_provider_error():
            layer = layer_of(Path(self.data), self.table, self.id_field)
            if self._last is None or self._last.layer is not layer:
                self._last = facts_of(layer, self._options)
        return self._last

    @property
    def layer(self) -> Layer:
        """The layer that is read."""
        return self._known.layer

    @property
    def times(self) -> TimeColumns | None:
        """The columns of an item's time, None if there are none: then it matches every time."""
        return self._known.times

    @property
    def time_extent(self) -> tuple[datetime | None, datetime | None] | None:
        """The first and the last instant of all items, None for an open end; None if unknown."""
        known = self._known
        with _as_provider_error():
            return (
                None
                if known.times is None
                else time_extent(Path(self.data), known.layer.table, known.layer.key, known.times)
            )

    @property
    def native(self) -> Crs:
        """The CRS of the stored coordinates; GeoPackages have x before y."""
        return self._known.native

    @property
    def systems(self) -> tuple[Crs, ...]:
        """The CRSs of answers, the default first."""
        return self._known.systems

    @property
    def geometry_name(self) -> str:
        """The name of the column of the geometry."""
        return self._known.layer.geometry

    @property
    def geometry_type(self) -> str:
        """The declared type of the geometries in lower case, such as `multipolygon`; `geometry` for any."""
        return self._known.layer.geometry_type.lower()

    @property
    def id_type(self) -> str:
        """The JSON type of an item's id."""
        known = self._known
        return "integer" if known.id_column is None else str(known.columns[known.id_column]["type"])

    def get_fields(self) -> dict[str, Any]:
        """Return the attributes with their JSON types."""
        return {name: dict(field) for name, field in self._known.fields.items()}

    def find(self, query: ItemQuery) -> ItemPage:
        """Return a page of items. Raises RequestTooLarge if the search takes too long, FilterError."""
        with self._open() as reader:
            page = self._page(reader, query)
            features = [whole_of(row) for batch in page for row in self._features(batch, query)]
            return ItemPage(features, self._summary(page, query))

    def texts(self, query: ItemQuery) -> tuple[list[bytes], PageSummary]:
        """Return a page of items as JSON. Raises like `find`."""
        with self._open() as reader:
            page = self._page(reader, query)
            items = [text_of(row).encode() for batch in page for row in self._features(batch, query)]
            return items, self._summary(page, query)

    def stored_tile(self, query: TileQuery) -> None:
        """Return None: a GeoPackage has no tiles of features."""
        del query

    def tile(self, query: TileQuery) -> bytes:
        """Return a Mapbox Vector Tile. Raises RequestTooLarge if the search takes too long."""
        with self._open() as reader:
            extent = extent_of(reader)
            area = None if extent is None else area_of([query.around], Box(extent, self.native))
            if area is None or area.is_empty:
                return b""
            searched = search(reader, Selection(area=area), self._filters(reader, ()))
            if query.dissolved and self._known.classes and reader.layer.geometry_type in _POLYGONS:
                return self._dissolved(searched, query)
            least = least_size(query, area, self.native)
            sized = reader.layer.geometry_type in _SIZED
            tile = Encoder(query.layer, [each.name for each in self._known.shown])
            for batch in searched.largest(query.most, least if sized else -1, self._damaged):
                self._draw(tile, batch, query, least)
            return tile.content()

    def _dissolved(self, searched: Search, query: TileQuery) -> bytes:
        """Return the tile with a feature for each class."""
        known, names = self._known, [each.name for each in self._known.classes]
        with _as_provider_error():
            grid = ClassGrid(query.bounds, query.crs.name, searched.selection.area.bounds, known.native.name)
        for batch in searched.everything(names, self._damaged):
            columns = zip(*batch.rows, strict=True)
            values = [map(each.value, column) for each, column in zip(known.classes, columns, strict=True)]
            grid.add(list(zip(*values, strict=True)), batch.geometries)
        return grid.tile(query.layer, names)

    def _draw(self, tile: Encoder, batch: Batch, query: TileQuery, least: float) -> None:
        """Add features to a tile, except those that are too small to see; a point never is."""
        known = self._known
        west, south, east, north = shapely.bounds(batch.geometries).T
        seen = (np.fmax(east - west, north - south) > least) | (shapely.get_dimensions(batch.geometries) == 0)
        places = np.flatnonzero(seen)
        with _as_provider_error():
            moved = transformed(shapely.force_2d(batch.geometries[places]), known.native, query.crs)
        rows = [batch.rows[place] for place in places.tolist()]
        keys = [batch.keys[place] for place in places.tolist()]
        ids = keys if known.id_place is None else [row[known.id_place] for row in rows]
        tile.add(
            drawn(moved, query.bounds), ids, [[each.value(row[each.place]) for row in rows] for each in known.shown]
        )

    def write(self, query: ItemQuery, file: IO[bytes]) -> PageSummary:
        """Write a page of items as JSON, separated by commas, with only a few of them in memory.

        Raises RequestTooLarge if the search takes too long, FilterError, OSError.
        """
        with self._open() as reader:
            page = self._page(reader, query)
            comma = b""
            for batch in page:
                file.write(comma + ",".join(map(text_of, self._features(batch, query))).encode())
                comma = b","
            return self._summary(page, query)

    def _page(self, reader: Reader, query: ItemQuery) -> PageOfFeatures:
        selection = self._selection(reader, query)
        searched = search(reader, selection, self._filters(reader, selection.filters))
        return PageOfFeatures(searched, query.limit, query.offset, query.after, self._damaged)

    def _filters(self, reader: Reader, given: Sequence[Filter]) -> list[Sql]:
        """Return the filters and the caller's row rules in SQL; rules may use every column."""
        known = self._known
        name = self.geometry_name if "geometry" in known.columns else "geometry"  # its name in the queryables
        rules = row_rules(name)
        if not rules and not given:
            return []
        dialect = GeoPackageDialect(reader, known.native.name)
        try:
            found = [where(each, known.columns, name, dialect) for each in rules]
        except FilterError as error:
            raise RestrictionUnsupported(MISFIT) from error
        return found + [where(each, known.fields, name, dialect) for each in given]

    def _summary(self, page: PageOfFeatures, query: ItemQuery) -> PageSummary:
        count = None if query.counting == "none" else self._count(page, exact=query.counting == "exact")
        return PageSummary(
            page.returned,
            None if count is None else count.number,
            estimated=count is not None and count.estimated,
            more=page.more_after,
            next=page.last if page.more_after else None,
            previous=replace(page.first, backwards=True) if page.first and page.more_before else None,
        )

    def _count(self, page: PageOfFeatures, *, exact: bool) -> Count:
        """Return how many items match, from the page if it has the last of them."""
        if page.limit and page.after is None and not page.more_after and (page.returned or not page.offset):
            return Count(page.offset + page.returned)
        return self._counted(page.search, exact=exact)

    def _counted(self, searched: Search, *, exact: bool) -> Count:
        """Return how many items are selected, cached for recent searches of the same version of the file."""
        counts, key = self._known.counts, searched.key
        known = counts.get(key)
        if known is None or (exact and known.estimated):
            known = Count(searched.count()) if exact else count_cheaply(searched, lambda: self._all(searched.reader))
            counts.put(key, known)
        return known

    def _all(self, reader: Reader) -> int:
        return self._counted(search(reader, Selection()), exact=True).number

    def get(  # type: ignore[override] # an unknown argument is a mistake
        self,
        identifier: str,
        *,
        crs: Crs | None = None,
        language: object | None = None,
        crs_transform_spec: Transformation | None = None,
    ) -> Feature:
        """Return one item, for pygeoapi and, with `crs`, for our own route. Raises ProviderItemNotFoundError."""
        if language is not None:
            self._language.check(language)
        query = ItemQuery(crs=crs or self._coordinates.target(crs_transform_spec))
        try:
            alike = self._alike(identifier, query)
        except RequestTooLarge as error:
            raise ProviderRequestEntityTooLargeError(str(error)) from error
        for written in alike:
            if str(written.id) == identifier:
                return whole_of(written)
        raise ProviderItemNotFoundError(identifier)

    def seen(self, identifier: str, *, crs: Crs) -> tuple[Feature, str]:
        """Return an item and its entity tag, which is not newer than the item."""
        with self._open() as reader:
            tag = self._editor.tag(reader, identifier)
        return self.get(identifier, crs=crs), tag

    def drafts(self) -> EditedLayer:
        """Return what a draft has to fit."""
        return EditedLayer(self._known.fields, self.geometry_type, self.native)

    def insert(self, draft: Draft) -> tuple[str, str]:
        """Add an item, and return its id and entity tag."""
        with _as_provider_error():
            return self._editor.insert(draft)

    def change(self, identifier: str, draft: Draft, expected: Expected) -> str:
        """Write a draft into an item, and return its new entity tag."""
        with _as_provider_error():
            return self._editor.change(identifier, draft, expected)

    def remove(self, identifier: str, expected: Expected) -> None:
        """Delete an item."""
        with _as_provider_error():
            self._editor.remove(identifier, expected)

    @property
    def _editor(self) -> LayerEditor:
        return LayerEditor(Path(self.data), self._known, lambda reader: self._filters(reader, ()))

    def get_domains(
        self,
        properties: Sequence[str] = (),
        current: bool = False,  # noqa: FBT001, FBT002 - pygeoapi's signature
    ) -> tuple[dict[str, list[Any]], bool]:
        """Return the current values of the properties, and True; without properties with too many values.

        They are those of the items that the caller may see.
        """
        del current
        domains = {}
        with self._open() as reader:
            seen = search(reader, Selection(), self._filters(reader, ()))
            for column in self._known.shown:
                if column.name in (properties or self._known.fields) and not column.is_blob:
                    with suppress(RequestTooLarge):
                        found = distinct(seen, column.name, most=MOST_VALUES)
                        domains[column.name] = [column.value(value) for value in found or ()]
        return {name: values for name, values in domains.items() if values}, True

    def _selection(self, reader: Reader, query: ItemQuery) -> Selection:
        extent = None if query.boxes is None else extent_of(reader)
        if query.boxes is None or extent is None:
            return query.selection
        area = area_of(query.boxes, Box(extent, self.native))
        everything = shapely.contains(area, shapely.box(*extent))
        return query.selection if everything else replace(query.selection, area=area, unplaced=True)

    def _features(self, batch: Batch, query: ItemQuery) -> Iterator[ItemRow]:
        known, wanted = self._known, query.properties
        shown = [each for each in known.shown if wanted is None or each.name in wanted]
        ids = batch.keys if known.id_place is None else [row[known.id_place] for row in batch.rows]
        outlines: Iterable[str] = repeat(NO_GEOMETRY)
        if query.geometry:
            with _as_provider_error():
                crs = self._coordinates.ordered(query.crs) if self._coordinates.always_xy else query.crs
                outlines = geojson_texts(batch.geometries, known.native, crs)
        for id_, outline, row in zip(ids, outlines, batch.rows, strict=False):
            yield ItemRow(plain(id_), outline, {each.name: each.value(row[each.place]) for each in shown})

    def _alike(self, identifier: str, query: ItemQuery) -> list[ItemRow]:
        """Return the items whose id may be the identifier, as SQLite treats several values as equal."""
        with self._open() as reader:
            selection = Selection(equal={self._known.id_column or reader.layer.key: stored(identifier)})
            found = search(reader, selection, self._filters(reader, ())).page(_ALIKE, 0, damaged=self._damaged)
            return list(self._features(found, query))

    def _damaged(self, key: Any, reason: str) -> None:
        _LOGGER.warning("%s, row %s: the geometry cannot be read: %s", Path(self.data).name, key, reason)

    @contextmanager
    def _open(self) -> Iterator[Reader]:
        layer = self._known.layer
        with (
            _as_provider_error(),
            read_geopackage(Path(self.data), layer=layer, seconds=_SECONDS) as reader,
        ):
            yield reader


_ALIKE = 10
"""Maximum number of ids that are equal for SQLite, such as 1 and 1.0, and are compared exactly."""


@contextmanager
def _as_provider_error() -> Iterator[None]:
    """Convert an error of a file to pygeoapi's ProviderConnectionError."""
    try:
        yield
    except (BrokenSource, ProjError) as error:
        raise ProviderConnectionError(str(error)) from error
