"""Facts about a PostGIS table with a provider's configuration, cached for some time."""

# ruff: noqa: S608 - identifiers come from the catalog, quoted; values are never formatted in

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pygeoapi.provider.base import ProviderConnectionError
from pyproj import CRS
from pyproj.exceptions import CRSError, ProjError

from plugins.crs import CRS84, Crs, crs_of, epsg_of, foreign_crs, systems_with
from plugins.layer_provider import LayerOptions, schemas_of
from plugins.postgis_columns import json_schema
from plugins.postgis_query import TableQuery
from products.errors import BrokenSource, RequestTooLarge
from products.operation import Bounds, reproject, transformer
from products.vector.layer import Column
from products.vector.times import TimeColumns, time_columns
from sql.connections import DatabaseAway
from sql.reading import (
    DatabaseSource,
    NoConnectionFree,
    ReadingPool,
    StatementFailed,
    StatementTooLong,
    TableChanged,
    reading_pool,
)
from sql.tables import FeatureTable, SpatialSystem, TableColumn, quoted, read_extent, read_table

SHORTLY = 10.0
"""Seconds after which the catalog is queried again for changes of a table, and items are counted again."""
_KNOWN_SECONDS = 300.0
"""Seconds for which the times of a table, and documents about it, are cached."""
SECONDS_OF_LOOKING = 2.0
"""What is looked for in all rows is not known where that takes longer."""
_MOST_RECENT = 1_000
_FAR = 1e8
"""A coordinate outside of the Earth, in degrees or metres."""
_WORLD = (-180.0, -90.0, 180.0, 90.0)


@dataclass(slots=True, eq=False)
class TableFacts:
    """Facts about a table with a configuration; `recent` caches facts about its rows for some time."""

    pool: ReadingPool
    table: FeatureTable
    times: TimeColumns | None
    native: Crs
    systems: tuple[Crs, ...]
    shown: tuple[TableColumn, ...]
    classes: tuple[TableColumn, ...]
    """The columns by which polygons are dissolved."""
    fields: Mapping[str, Mapping[str, Any]]
    _recent: dict[Hashable, tuple[float, Any]] = field(default_factory=dict, repr=False)

    @property
    def query(self) -> TableQuery:
        """The builder of the statements."""
        return TableQuery(self.table, self.native)

    def recent[T](self, key: Hashable, find: Callable[[], T], *, seconds: float = SHORTLY) -> T:
        """Return the result of `find`, at most so many seconds old."""
        now = time.monotonic()
        found = self._recent.get(key)
        if found is None or found[0] < now:
            if len(self._recent) > _MOST_RECENT:
                self._recent.clear()
            found = now + seconds, find()
            self._recent[key] = found
        value: T = found[1]
        return value

    def forget(self) -> None:
        """Look for what is cached about the rows again."""
        self._recent.clear()

    def extent(self) -> Bounds:
        """Return bounds that contain every item, with a margin: from the index or the statistics, else from the rows.

        If none of these is fast, they are the CRS's area of use.
        """
        return self.recent("extent", self._extent)

    def _extent(self) -> Bounds:
        try:
            exact = not (self.table.is_table and self.table.geometry.indexed)
            found = read_extent(self.pool, self.table, exact=exact)
        except (StatementTooLong, StatementFailed, TableChanged):
            found = None
        if found is None or not all(abs(each) < _FAR for each in found):  # a damaged item may be anywhere
            return self._area_of_use()
        west, south, east, north = found
        margin = max(east - west, north - south) / 2 + 1
        return west - margin, south - margin, east + margin, north + margin

    def _area_of_use(self) -> Bounds:
        if self.native.geographic:
            return _WORLD
        used = CRS.from_user_input(self.native.name).area_of_use
        return reproject(_WORLD if used is None else used.bounds, CRS84.epsg, self.native.name)

    def has_unplaced(self) -> bool:
        """Return whether there are items without a geometry; False if the search takes too long."""
        return not self.table.geometry.not_null and self.recent("unplaced", self._unplaced, seconds=_KNOWN_SECONDS)

    def _unplaced(self) -> bool:
        sql = f"select exists (select from {self.table.quoted} where {quoted(self.table.geometry.name)} is null)"
        try:
            return bool(self.pool.rows(sql, seconds=SECONDS_OF_LOOKING)[0][0])
        except StatementTooLong:
            return False

    def time_extent(self) -> tuple[datetime | None, datetime | None] | None:
        """Return the first and last instant of all items, None for an open end; None if the search takes too long."""
        return self.recent("times", self._time_extent, seconds=_KNOWN_SECONDS)

    def _time_extent(self) -> tuple[datetime | None, datetime | None] | None:
        if self.times is None:
            return None
        try:
            [(begin, end)] = self.pool.rows(self.query.time_extent(self.times), seconds=SECONDS_OF_LOOKING)
        except StatementTooLong:
            return None
        return None if begin is None and end is None else (begin, end)


class LiveFacts:
    """The current facts about a table, the same object until they change; for use by many threads.

    Raises ProviderConnectionError if the table cannot be read or does not match the configuration.
    """

    def __init__(self, provider_def: Mapping[str, Any]) -> None:
        self._source = source_of(provider_def)
        self._size = int(provider_def.get("connections", 5))
        self._name: str = provider_def["table"]
        self._geometry: str | None = provider_def.get("geom_field")
        self._options = LayerOptions.read(provider_def)
        self._last: TableFacts | None = None
        self._until = 0.0

    @property
    def pool(self) -> ReadingPool:
        """The connections of this process."""
        return reading_pool(self._source, size=self._size)

    def now(self) -> TableFacts:
        """Return the facts; the catalog is queried again from time to time."""
        if self._last is None or time.monotonic() > self._until:
            with as_provider_error():
                table = read_table(self.pool, self._name, key=self._options.id_field, geometry=self._geometry)
                if self._last is None or self._last.table != table:
                    self._last = self._look(table)
                self._until = time.monotonic() + SHORTLY
        return self._last

    def version(self) -> Hashable | None:
        """Return a value that changes with the facts, and from time to time; None if the table cannot be read."""
        try:
            return self.now(), time.monotonic() // _KNOWN_SECONDS
        except ProviderConnectionError:
            return None

    def forget(self) -> None:
        """Query the catalog again with the next call."""
        self._until = 0.0

    def _look(self, table: FeatureTable) -> TableFacts:
        """Return the facts about a table with this configuration. Raises BrokenSource if the two do not match."""
        options, columns = self._options, {each.name: each for each in table.attributes}
        for name in options.properties:
            if name not in columns and name != table.key.name:
                raise BrokenSource(f"there is no column {name} to show; there are {', '.join(columns)}")
        if options.storage_crs is None and not table.system.srid:
            raise BrokenSource("the system of its coordinates is unknown: name it as `storage_crs`")
        shown = tuple(columns[name] for name in options.properties or columns if name in columns)
        times = time_columns([Column(each.name, _kind(each)) for each in table.attributes], options.times)
        native = _system(options.storage_crs, table.system)
        systems = systems_with(native)
        for crs in systems:
            if native.epsg and crs.epsg != native.epsg:
                self.pool.warm(f"select st_transform(st_setsrid(st_point(0, 0), {native.epsg:d}), {crs.epsg:d})")
        types = {each.name: json_schema(each) for each in shown}
        comments = {each.name: {"description": each.comment} for each in shown}
        fields = schemas_of(types, options.classes, times, (comments, options.texts))
        names = options.classes_of([each.name for each in shown])
        classes = tuple(each for each in shown if each.name in names)
        return TableFacts(self.pool, table, times, native, systems, shown, classes, fields)


def source_of(provider_def: Mapping[str, Any]) -> DatabaseSource:
    """Return the database's address of a provider's definition. Raises ProviderConnectionError if it is invalid."""
    data = provider_def.get("data")
    if not isinstance(data, Mapping):
        raise ProviderConnectionError("data: must be a mapping with host, port, dbname, user, password, search_path")
    path = data.get("search_path") or ("public",)
    options = provider_def.get("options") or {}
    return DatabaseSource(
        host=str(data.get("host") or ""),
        port=str(data.get("port") or ""),
        dbname=str(data.get("dbname") or data.get("database") or ""),
        user=str(data.get("user") or ""),
        password=str(data.get("password") or ""),
        search_path=(path,) if isinstance(path, str) else tuple(map(str, path)),
        options=tuple(sorted((str(name), str(value)) for name, value in options.items())),
    )


def _kind(column: TableColumn) -> str:
    """Return the type of a temporal column by its name in GeoPackage."""
    if column.type == "date":
        return "DATE"
    return "DATETIME" if column.type.startswith("timestamp") else column.type.upper()


@contextmanager
def as_provider_error() -> Iterator[None]:
    """Convert an error of the database to pygeoapi's, and a timeout of a statement to RequestTooLarge."""
    try:
        yield
    except StatementTooLong as error:
        raise RequestTooLarge("looking for these items takes too long; ask for a smaller area or fewer") from error
    except (NoConnectionFree, DatabaseAway, TableChanged, StatementFailed, BrokenSource, ProjError) as error:
        raise ProviderConnectionError(str(error)) from error


def _system(given: str | None, system: SpatialSystem) -> Crs:
    """Return the CRS of the coordinates. Raises BrokenSource if it cannot be transformed."""
    try:
        if given is not None:
            code = epsg_of(given)
            crs = crs_of(code) if code else foreign_crs(given)
        elif system.authority.upper() == "EPSG":
            crs = crs_of(system.code)
        else:
            crs = foreign_crs(_definition(system))
        crs = CRS84 if crs.epsg == CRS84.epsg else crs
        transformer(crs.name, CRS84.name)
    except (ValueError, ProjError) as error:
        raise BrokenSource(f"its coordinates cannot be put into longitude and latitude: {error}") from error
    return crs


def _definition(system: SpatialSystem) -> str:
    """Return the definition for PROJ of a CRS that is not EPSG's."""
    name = f"{system.authority}:{system.code}"
    with suppress(CRSError):
        CRS.from_user_input(name)
        return name
    return system.definition
