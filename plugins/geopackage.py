"""The provider of features that are in a GeoPackage."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from itertools import repeat
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

import shapely
from pygeoapi.provider.base import BaseProvider, ProviderConnectionError, ProviderItemNotFoundError
from pyproj.exceptions import CRSError, ProjError

from plugins.crs import CRS84, Box, Crs, crs_of, epsg_of, foreign_crs
from plugins.features import Feature, ItemCount, ItemPage, ItemQuery
from plugins.geojson import NO_GEOMETRY, area_of, geojson_texts
from plugins.geopackage_json import ItemRow, converted, json_type, plain, stored, text_of, whole_of
from plugins.item_arguments import (
    Coordinates,
    OnlyLanguage,
    Transformation,
    names_of,
    page_of,
    refuse_unanswered,
    selection_of,
)
from plugins.refusals import bounded
from plugins.restriction import refuse_restriction
from products.classes import CLASSES, Classes
from products.errors import BrokenSource, RequestTooLarge
from products.operation import transformer
from products.vector.geopackage import Batch, Reader, layer_of, read_geopackage
from products.vector.layer import Column, Layer
from products.vector.query import Selection, distinct, extent_of, search
from products.vector.times import TimeColumns, extent_sql, moment, time_columns
from products.whole import cached_by_file

_LOGGER = logging.getLogger(__name__)
_SECONDS = 20
"""A query that takes longer is ended."""
_SECONDS_OF_EXTENT = 2


class GeoPackageProvider(BaseProvider):
    """Reads one layer; opens nothing until it is used, then raises ProviderConnectionError.

    `table` names the layer of a file that has several. An item's id is the value of the configured `id_field`, else of
    the primary key, else SQLite's rowid; its time that of `time_field`, one column or those of begin and end, else of
    what `time_columns` finds. `storage_crs` takes the place of the file's system.
    """

    reads: ClassVar[Literal["feature"]] = "feature"

    def __init__(self, provider_def: dict[str, Any]) -> None:
        try:
            super().__init__(provider_def)  # type: ignore[no-untyped-call]
            self._coordinates = Coordinates(provider_def)
            self._language = OnlyLanguage(provider_def)
        except (CRSError, ValueError) as error:
            raise ProviderConnectionError(f"storage_crs: {error}") from error
        self.classes: Classes = provider_def.get("classes", CLASSES)
        self.table: str | None = provider_def.get("table")
        given = self.time_field or ()
        self._time_fields: tuple[str, ...] = (given,) if isinstance(given, str) else tuple(given)
        self._given_crs: str | None = provider_def.get("storage_crs")
        self.editable = False  # the handlers then refuse whatever would be written

    @property
    def layer(self) -> Layer:
        """The layer that is read, as the file is now."""
        with _as_provider_error():
            layer = layer_of(Path(self.data), self.table, self.id_field)
            if self.id_field and self.id_field not in (*layer.names, layer.key):
                raise BrokenSource(f"there is no column {self.id_field}; there are {', '.join(layer.names)}")
            for name in self.properties or ():
                if name not in (*layer.names, layer.key):
                    raise BrokenSource(f"there is no column {name}; there are {', '.join(layer.names)}")
            if self._given_crs is None and not (layer.epsg or layer.system):
                raise BrokenSource("the system of its coordinates is unknown: name it as `storage_crs`")
            return layer

    @property
    def id_column(self) -> str | None:
        """The attribute that is an item's id, None where that is the rowid."""
        layer = self.layer
        column = self.id_field or layer.identity
        return None if column == layer.key else column

    @property
    def times(self) -> TimeColumns | None:
        """The columns that say when an item is, None where there are none: then it matches every time."""
        with _as_provider_error():
            return time_columns(self.layer.columns, self._time_fields)

    @property
    def time_extent(self) -> tuple[datetime | None, datetime | None] | None:
        """The first and the last moment of all items, None for an open end; None where it is not known."""
        times, layer = self.times, self.layer
        return None if times is None else _time_extent(Path(self.data), layer.table, layer.key, times)

    @property
    def native(self) -> Crs:
        """The system of the coordinates as they are stored; GeoPackages put x before y."""
        layer = self.layer
        with _as_provider_error():
            return _system(self._given_crs or layer.system or layer.epsg)

    @property
    def systems(self) -> tuple[Crs, ...]:
        """The systems that items can be asked for in, the default first."""
        offered = (CRS84, crs_of(4326), crs_of(3857), crs_of(3035))
        native = self.native
        return offered if native in offered or not native.uri else (*offered, native)

    @property
    def crs_list(self) -> list[str]:
        """The URIs of `systems`."""
        return [crs.uri for crs in self.systems]

    @property
    def storage_crs_uri(self) -> str:
        """The URI of `native`, empty where it has none."""
        return self.native.uri

    @property
    def geometry_name(self) -> str:
        """The name of the column of the geometry."""
        return self.layer.geometry

    def get_fields(self) -> dict[str, Any]:
        """Return the attributes with their JSON types; of land cover also the values there are."""
        known: dict[str, dict[str, Any]] = {
            "class_code": {"enum": [land_cover.value for land_cover in self.classes]},
            "class_name": {"enum": [land_cover.name for land_cover in self.classes]},
        }
        roles = self._roles()
        _ = self.native  # raises where the coordinates cannot be placed
        return {
            column.name: {**json_type(column.type), **known.get(column.name, {}), **roles.get(column.name, {})}
            for _, column in self._shown()
        }

    def _shown(self) -> list[tuple[int, Column]]:
        """Return the attributes of an item with their places in a row: those of `properties` in its order, or all."""
        id_column = self.id_column
        columns = {each.name: (i, each) for i, each in enumerate(self.layer.columns) if each.name != id_column}
        return [columns[name] for name in self.properties or columns if name in columns]

    def _roles(self) -> Mapping[str, Mapping[str, str]]:
        """Return what the columns of the time are to clients (OGC API Features, part 5)."""
        times = self.times
        if times is None:
            return {}
        if times.single:
            return {times.begin: {"x-ogc-role": "primary-instant"}}
        return {
            times.begin: {"x-ogc-role": "primary-interval-start"},
            times.end: {"x-ogc-role": "primary-interval-end"},
        }

    @property
    def fields(self) -> dict[str, Any]:
        """The fields, for pygeoapi."""
        return self.get_fields()

    def find(self, query: ItemQuery) -> ItemPage:
        """Return a page of items. Raises RequestTooLarge where looking for them takes too long."""
        refuse_restriction()
        with self._open() as reader:
            searched = search(reader, self._selection(reader, query))
            batch = searched.page(query.limit, query.offset, damaged=self._damaged)
            return ItemPage(list(map(whole_of, self._features(batch, query))), searched.count())

    def write(self, query: ItemQuery, file: IO[bytes]) -> ItemCount:
        """Write a page of items as JSON, a comma between two, with no more than a few of them in memory.

        Raises RequestTooLarge where looking for them takes too long, OSError.
        """
        refuse_restriction()
        returned = 0
        with self._open() as reader:
            searched = search(reader, self._selection(reader, query))
            matched = searched.count()
            for batch in searched.pieces(query.limit, query.offset, damaged=self._damaged):
                file.write(b"," if returned else b"")
                file.write(",".join(map(text_of, self._features(batch, query))).encode())
                returned += len(batch.keys)
            return ItemCount(returned, matched)

    def get(  # type: ignore[override] # an argument that is not known is a mistake
        self,
        identifier: str,
        *,
        crs: Crs | None = None,
        language: object | None = None,
        crs_transform_spec: Transformation | None = None,
    ) -> Feature:
        """Return one item, for pygeoapi and, with `crs`, for our own route. Raises ProviderItemNotFoundError."""
        refuse_restriction()
        self._language.check(language)
        query = ItemQuery(crs=crs or self._coordinates.target(crs_transform_spec))
        with bounded(), self._open() as reader:
            column = self.id_column or reader.layer.key
            found = search(reader, Selection(equal={column: stored(identifier)})).page(_ALIKE, 0, damaged=self._damaged)
            for written in self._features(found, query):
                if str(written.id) == identifier:
                    return whole_of(written)
        raise ProviderItemNotFoundError(identifier)

    def query(  # noqa: PLR0913 - pygeoapi's arguments
        self,
        offset: int = 0,
        limit: int = 10,
        resulttype: str = "results",
        *,
        bbox: Sequence[float] = (),
        datetime_: str | None = None,
        properties: Sequence[tuple[str, Any]] = (),
        sortby: Sequence[Mapping[str, str]] = (),
        select_properties: Sequence[str] = (),
        skip_geometry: bool = False,
        q: str | None = None,
        language: object | None = None,
        filterq: object | None = None,
        crs_transform_spec: Transformation | None = None,
    ) -> dict[str, Any]:
        """Return items as pygeoapi's handlers ask for them; our own route asks `find` and `write`.

        Raises ProviderInvalidQueryError for what cannot be answered, ProviderRequestEntityTooLargeError for a page that
        would end before its limit: the next one is reckoned from that.
        """
        refuse_restriction()
        refuse_unanswered(q=q, filterq=filterq)
        self._language.check(language)
        fields = self.get_fields()
        asked = ItemQuery(
            boxes=self._coordinates.boxes(bbox),
            selection=selection_of(fields, self.times, properties=properties, datetime_=datetime_, sortby=sortby),
            crs=self._coordinates.target(crs_transform_spec),
            properties=names_of(select_properties, fields),
            geometry=not skip_geometry,
        )
        query = page_of(asked, offset=offset, limit=limit, resulttype=resulttype)
        with bounded():
            page = self.find(query)
            if (returned := len(page.features)) < min(query.limit, max(0, page.matched - offset)):
                raise RequestTooLarge(f"items that large are answered {returned} at a time; ask for a smaller limit")
        matched = {"numberMatched": page.matched} if self.count or resulttype == "hits" else {}
        return {"type": "FeatureCollection", "features": [*page.features], **matched, "numberReturned": returned}

    def get_domains(
        self,
        properties: Sequence[str] = (),
        current: bool = False,  # noqa: FBT001, FBT002 - pygeoapi's signature
    ) -> tuple[dict[str, list[Any]], bool]:
        """Return the values of the properties, those of the file as it is, and True; without one that has too many."""
        del current
        refuse_restriction()
        domains = {}
        with self._open() as reader:
            for _, column in self._shown():
                if column.name in (properties or self.get_fields()) and "BLOB" not in column.type:
                    with suppress(RequestTooLarge):
                        found = distinct(reader, column.name, most=_MOST_VALUES)
                        domains[column.name] = [converted(column.type)(value) for value in found or ()]
        return {name: values for name, values in domains.items() if values}, True

    def _selection(self, reader: Reader, query: ItemQuery) -> Selection:
        extent = None if query.boxes is None else extent_of(reader)
        if query.boxes is None or extent is None:
            return query.selection
        area = area_of(query.boxes, Box(extent, self.native))
        everything = shapely.contains(area, shapely.box(*extent))
        return query.selection if everything else replace(query.selection, area=area, unplaced=True)

    def _features(self, batch: Batch, query: ItemQuery) -> Iterator[ItemRow]:
        id_column, names = self.id_column, self.layer.names
        wanted = [
            (i, column.name, converted(column.type))
            for i, column in self._shown()
            if query.properties is None or column.name in query.properties
        ]
        ids = [row[names.index(id_column)] for row in batch.rows] if id_column else batch.keys
        outlines: Iterable[str] = repeat(NO_GEOMETRY)
        if query.geometry:
            with _as_provider_error():
                outlines = geojson_texts(batch.geometries, self.native, query.crs)
        for id_, outline, row in zip(ids, outlines, batch.rows, strict=False):
            yield ItemRow(plain(id_), outline, {name: value(row[i]) for i, name, value in wanted})

    def _damaged(self, key: Any, reason: str) -> None:
        _LOGGER.warning("%s, row %s: the geometry cannot be read: %s", Path(self.data).name, key, reason)

    @contextmanager
    def _open(self) -> Iterator[Reader]:
        layer = self.layer
        with (
            _as_provider_error(),
            read_geopackage(Path(self.data), table=layer.table, key=self.id_field, seconds=_SECONDS) as reader,
        ):
            yield reader


_MOST_VALUES = 1_000
"""Values of a property that are listed; one that has more has no list."""
_ALIKE = 10
"""Ids that are compared in full where several look alike to SQLite, such as 1 and 1.0."""


@contextmanager
def _as_provider_error() -> Iterator[None]:
    """Turn an error of a file into ProviderConnectionError, which pygeoapi knows."""
    try:
        yield
    except (BrokenSource, ProjError) as error:
        raise ProviderConnectionError(str(error)) from error


def _system(name: str | int) -> Crs:
    """Return the system of an EPSG code, a URI or what PROJ reads. Raises BrokenSource where it leads nowhere."""
    try:
        code = name if isinstance(name, int) else epsg_of(name)
        crs = CRS84 if code == CRS84.epsg else crs_of(code) if code else foreign_crs(str(name))
        transformer(crs.name, CRS84.name)
    except (ValueError, ProjError) as error:
        raise BrokenSource(f"its coordinates cannot be put into longitude and latitude: {error}") from error
    return crs


@cached_by_file(most=1_024)
def _time_extent(
    source: Path, table: str, key: str, times: TimeColumns
) -> tuple[datetime | None, datetime | None] | None:
    """Return the first and the last moment of a layer, None where there is none or it takes too long to find."""
    try:
        with read_geopackage(source, table=table, key=key, seconds=_SECONDS_OF_EXTENT) as reader:
            [(begin, end)] = reader.rows(extent_sql(times, table))
    except RequestTooLarge:
        return None
    if begin is None and end is None:
        return None
    return begin if begin is None else moment(begin), end if end is None else moment(end)
