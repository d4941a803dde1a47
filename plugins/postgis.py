"""The provider of features in PostgreSQL with PostGIS."""

import json
from collections.abc import Callable, Hashable, Sequence
from contextlib import closing
from copy import copy
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import IO, Any, ClassVar, Literal, Self

import numpy as np
import shapely
from pygeoapi.provider.base import (
    ProviderConnectionError,
    ProviderItemNotFoundError,
    ProviderRequestEntityTooLargeError,
)
from pyproj.exceptions import CRSError

from plugins.crs import Box, Crs
from plugins.editing import Draft, EditedLayer, Expected
from plugins.features import Feature, ItemPage, ItemQuery, PageSummary, TileQuery
from plugins.geojson import area_of
from plugins.item_arguments import Coordinates, OnlyLanguage, Transformation
from plugins.layer_provider import MOST_VALUES, LayerProvider
from plugins.postgis_columns import Sql, json_schema
from plugins.postgis_edit import TableEditor
from plugins.postgis_facts import SECONDS_OF_LOOKING, LiveFacts, TableFacts, as_provider_error
from plugins.postgis_filters import filters_of
from plugins.postgis_page import PageOfTable
from plugins.postgis_query import OF_RINGS, Form, both
from plugins.postgis_tiles import tile_tables
from products.errors import RequestTooLarge
from products.vector.dissolving import MOST_DISSOLVED, ClassGrid
from products.vector.query import Count, Selection
from products.vector.times import TimeColumns
from sql.reading import StatementTooLong, TableChanged
from sql.tables import FeatureTable

_DISSOLVED_AT_ONCE = 2_000
"""Polygons that are read together."""


class PostgisProvider(LayerProvider):
    """Reads one table or view; it connects at its first use, and then may raise ProviderConnectionError.

    `data` is the address of the database, as for pygeoapi's PostgreSQL provider. An item's id is the value of
    `id_field`, else of the primary key; its geometry that of `geom_field`, else of the first such column; its time that
    of `time_field`, one column or those of begin and end, else of `time_columns`. `storage_crs` replaces the column's
    CRS. Columns that the role may not read do not exist here.
    """

    reads: ClassVar[Literal["feature"]] = "feature"
    counting = "cheap"

    def __init__(self, provider_def: dict[str, Any]) -> None:
        try:
            super().__init__({**provider_def, "data": ""})  # type: ignore[no-untyped-call]  # its log shows `data`
            self._coordinates = Coordinates(provider_def)
            self._language = OnlyLanguage(provider_def)
        except (CRSError, ValueError) as error:
            raise ProviderConnectionError(f"storage_crs: {error}") from error
        self.table: str = provider_def["table"]
        self._live = LiveFacts(provider_def)
        self._pinned: TableFacts | None = None
        self.editable = False  # the handlers of pygeoapi then refuse all writes
        self.edited = provider_def.get("editable") is True

    def now(self) -> Self:
        """Return a provider with the facts about the table as it is now."""
        same = copy(self)
        same._pinned = self._live.now()  # noqa: SLF001 - it is one of us
        return same

    def version(self) -> Hashable | None:
        """Return a value that changes with the facts about the table, and from time to time; None if it is unread."""
        return self._live.version()

    @property
    def _known(self) -> TableFacts:
        """The facts about the table."""
        return self._live.now() if self._pinned is None else self._pinned

    def _fitting[T](self, answer: Callable[[], T]) -> T:
        """Return an answer; if the table has changed, its facts are read again and the call is repeated once."""
        with as_provider_error():
            try:
                return answer()
            except TableChanged:
                self._live.forget()
                self._pinned = None
                return answer()

    @property
    def feature_table(self) -> FeatureTable:
        """The table that is read."""
        return self._known.table

    @property
    def times(self) -> TimeColumns | None:
        """The columns of an item's time, None if there are none: then it matches every time."""
        return self._known.times

    @property
    def time_extent(self) -> tuple[datetime | None, datetime | None] | None:
        """The first and the last instant of all items, None for an open end; None if the search takes too long."""
        with as_provider_error():
            return self._known.time_extent()

    @property
    def native(self) -> Crs:
        """The CRS of the stored coordinates; PostGIS has x before y."""
        return self._known.native

    @property
    def systems(self) -> tuple[Crs, ...]:
        """The CRSs of answers, the default first."""
        return self._known.systems

    @property
    def geometry_name(self) -> str:
        """The name of the column of the geometry."""
        return self._known.table.geometry.name

    @property
    def geometry_type(self) -> str:
        """The declared type of the geometries in lower case, such as `multipolygon`; `geometry` for any."""
        return self._known.table.shape

    @property
    def id_type(self) -> str:
        """The JSON type of an item's id."""
        return str(json_schema(self._known.table.key)["type"])

    def get_fields(self) -> dict[str, Any]:
        """Return the attributes with their JSON types."""
        return {name: dict(described) for name, described in self._known.fields.items()}

    def find(self, query: ItemQuery) -> ItemPage:
        """Return a page of items. Raises RequestTooLarge if the search takes too long, FilterError."""
        items, summary = self.texts(query)
        return ItemPage(list(map(json.loads, items)), summary)

    def texts(self, query: ItemQuery) -> tuple[list[bytes], PageSummary]:
        """Return a page of items as JSON. Raises like `find`."""

        def found() -> tuple[list[bytes], PageSummary]:
            page = self._page(query)
            return [item for items in page for item in items], self._summary(page, query)

        return self._fitting(found)

    def stored_tile(self, query: TileQuery) -> bytes | None:
        """Return the tile of small scale of the table's tile tables, None without them or for a part of the rows."""
        known = self._known
        tables = tile_tables(known, query)
        if tables is None or not query.dissolved or filters_of(known.query, known.fields, ()):
            return None
        with as_provider_error():
            try:
                return tables.stored(known, query)
            except TableChanged:
                self._live.forget()
                return None

    def tile(self, query: TileQuery) -> bytes:
        """Return a Mapbox Vector Tile made by PostGIS. Raises RequestTooLarge if it takes too long."""

        def made() -> bytes:
            known = self._known
            area = area_of([query.around], Box(known.extent(), known.native))
            if area.is_empty:
                return b""
            filters = filters_of(known.query, known.fields, ())
            if query.dissolved and known.classes and known.table.shape in OF_RINGS:
                names = [each.name for each in known.classes]
                return self._grid(query, area, filters).tile(query.layer, names)
            tables = tile_tables(known, query)
            if tables is not None and tables.valid(known.pool):
                sql, values = tables.tile(known, query, filters)
            else:
                sql, values = known.query.tile(known.shown, area, query, filters)
            [(content,)] = known.pool.rows(sql, values)
            return bytes(content or b"")

        return self._fitting(made)

    @property
    def class_columns(self) -> list[str]:
        """The columns by which tiles of small scales dissolve polygons, none for a table without classes."""
        return [each.name for each in self._known.classes]

    def class_grid(self, query: TileQuery) -> ClassGrid | None:
        """Return the areas of the classes in a tile, None without any. Raises like `tile`."""

        def made() -> ClassGrid | None:
            known = self._known
            area = area_of([query.around], Box(known.extent(), known.native))
            return None if area.is_empty else self._grid(query, area, filters_of(known.query, known.fields, ()))

        return self._fitting(made)

    def _grid(self, query: TileQuery, area: Any, filters: Sequence[Sql]) -> ClassGrid:
        known, count = self._known, 0
        grid = ClassGrid(query.bounds, query.crs.name, area.bounds, known.native.name)
        sql, values = known.query.outlines(known.classes, area, grid.small, filters)
        classes: dict[bytes, tuple[Any, ...]] = {}
        with closing(known.pool.pieces(sql, values, size=_DISSOLVED_AT_ONCE)) as pieces:
            for rows in pieces:
                count += len(rows)
                if count > MOST_DISSOLVED:
                    raise RequestTooLarge(f"the tile has more than {MOST_DISSOLVED:,} items; ask for a larger scale")
                for kind in {row[0] for row in rows} - classes.keys():
                    classes[kind] = tuple(json.loads(kind))
                outlines = np.asarray(shapely.from_wkb([bytes(row[2]) for row in rows], on_invalid="ignore"))
                small = shapely.get_type_id(outlines) == shapely.GeometryType.POINT
                kinds = [classes[row[0]] for row in rows]
                areas = np.array([row[1] for row in rows])
                grid.add([kinds[place] for place in np.flatnonzero(~small)], outlines[~small])
                some = [kinds[place] for place in np.flatnonzero(small)]
                grid.add_small(some, shapely.get_coordinates(outlines[small]), areas[small])
        return grid

    def write(self, query: ItemQuery, file: IO[bytes]) -> PageSummary:
        """Write a page of items as JSON, separated by commas, with only a few of them in memory.

        Raises RequestTooLarge if the search takes too long, OSError.
        """

        def written() -> PageSummary:
            page, comma = self._page(query), b""
            for items in page:
                file.write(comma + b",".join(items))
                comma = b","
            return self._summary(page, query)

        return self._fitting(written)

    def _page(self, query: ItemQuery) -> PageOfTable:
        known, wanted = self._known, query.properties
        shown = tuple(each for each in known.shown if wanted is None or each.name in wanted)
        form = Form(self._coordinates.ordered(query.crs), shown, query.geometry)
        selection = self._selection(known, query)
        filters = filters_of(known.query, known.fields, selection.filters)
        return PageOfTable(known.pool, known.query, selection, form, query.limit, query.offset, query.after, filters)

    def _selection(self, known: TableFacts, query: ItemQuery) -> Selection:
        if query.boxes is None:
            return query.selection
        extent = known.extent()
        area = area_of(query.boxes, Box(extent, known.native))
        if shapely.contains(area, shapely.box(*extent)):
            return query.selection
        return replace(query.selection, area=area, unplaced=known.has_unplaced())

    def _summary(self, page: PageOfTable, query: ItemQuery) -> PageSummary:
        count = None if query.counting == "none" else self._count(page, exact=query.counting == "exact")
        return PageSummary(
            page.returned,
            None if count is None else count.number,
            estimated=count is not None and count.estimated,
            more=page.more_after,
            next=page.last if page.more_after else None,
            previous=replace(page.first, backwards=True) if page.first and page.more_before else None,
        )

    def _count(self, page: PageOfTable, *, exact: bool) -> Count:
        """Return how many items match, from the page if it has all of them."""
        if page.limit and page.after is None and not page.more_after and (page.returned or not page.offset):
            return Count(page.offset + page.returned)
        key = ("count", exact, page.query.where(page.selection), page.filters)
        return self._known.recent(key, lambda: page.count(exact=exact))

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
        target = crs or self._coordinates.target(crs_transform_spec)

        def found() -> list[Feature]:
            known = self._known
            form = Form(target, known.shown, geometry=True)
            page = PageOfTable(
                known.pool,
                known.query,
                Selection(),
                form,
                limit=1,
                filters=filters_of(known.query, known.fields, ()),
                identifier=identifier,
            )
            return [json.loads(item) for items in page for item in items]

        try:
            alike = self._fitting(found)
        except RequestTooLarge as error:
            raise ProviderRequestEntityTooLargeError(str(error)) from error
        if not alike:
            raise ProviderItemNotFoundError(identifier)
        return alike[0]

    def seen(self, identifier: str, *, crs: Crs) -> tuple[Feature, str]:
        """Return an item and its entity tag, which is not newer than the item."""
        tag = self._fitting(lambda: self._editor.tag(identifier))
        return self.get(identifier, crs=crs), tag

    def drafts(self) -> EditedLayer:
        """Return what a draft has to fit."""
        known = self._known
        return EditedLayer(known.fields, known.table.shape, known.native)

    def insert(self, draft: Draft) -> tuple[str, str]:
        """Add an item, and return its id and entity tag."""
        return self._changed(lambda: self._editor.insert(draft))

    def change(self, identifier: str, draft: Draft, expected: Expected) -> str:
        """Write a draft into an item, and return its new entity tag."""
        return self._changed(lambda: self._editor.change(identifier, draft, expected))

    def remove(self, identifier: str, expected: Expected) -> None:
        """Delete an item."""
        self._changed(lambda: self._editor.remove(identifier, expected))

    def _changed[T](self, change: Callable[[], T]) -> T:
        with as_provider_error():
            try:
                return change()
            finally:
                self._known.forget()

    @property
    def _editor(self) -> TableEditor:
        return TableEditor(self._known)

    def get_domains(
        self,
        properties: Sequence[str] = (),
        current: bool = False,  # noqa: FBT001, FBT002 - pygeoapi's signature
    ) -> tuple[dict[str, list[Any]], bool]:
        """Return the values of the properties of visible items, and True; without properties with too many values."""
        del current
        domains = {}
        for name in self._known.fields:
            if name in (properties or self._known.fields):
                domains[name] = self._fitting(partial(self._values, name))
        return {name: values for name, values in domains.items() if values}, True

    def _values(self, name: str) -> list[Any]:
        """Return the values of a property in their order, none if they are too many or bytes."""
        known = self._known
        column = known.query.column(name)
        if column.type == "bytea":
            return []
        try:
            where, values = both(filters_of(known.query, known.fields, ()))
            sql = known.query.distinct(column, where)
            rows = known.pool.rows(sql, (*values, MOST_VALUES + 1), seconds=SECONDS_OF_LOOKING)
        except StatementTooLong:
            return []
        return [json.loads(row[0]) for row in rows if row[0] is not None] if len(rows) <= MOST_VALUES else []
