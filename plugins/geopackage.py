"""The provider of features that are in a GeoPackage."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any, ClassVar

import shapely
from pygeoapi.provider.base import BaseProvider, ProviderConnectionError, ProviderItemNotFoundError

from plugins.crs import CRS84, Box, Crs, crs_of
from plugins.geojson import area_of, geojson_geometries
from plugins.restriction import refuse_restriction
from products.classes import CLASSES, Classes
from products.errors import BrokenSource
from products.vector.geopackage import Batch, Reader, read_geopackage
from products.vector.layer import Layer
from products.vector.query import Selection, search

_WHOLE = re.compile("-?[0-9]{1,18}")
_SECONDS = 20
"""A query that takes longer is ended."""
_TYPES = {"INT": "integer", "INTEGER": "integer", "MEDIUMINT": "integer", "SMALLINT": "integer", "TINYINT": "integer"}
_TYPES |= {"DOUBLE": "number", "FLOAT": "number", "REAL": "number", "BOOLEAN": "boolean"}

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


class GeoPackageProvider(BaseProvider):
    """Reads one layer; opens nothing until it is used, then raises ProviderConnectionError.

    An item's id is the value of the configured `id_field`, else of the primary key.
    """

    reads: ClassVar = "feature"

    def __init__(self, provider_def: dict[str, Any]) -> None:
        super().__init__(provider_def)  # type: ignore[no-untyped-call]
        self.classes: Classes = provider_def.get("classes", CLASSES)

    @cached_property
    def layer(self) -> Layer:
        """The layer that is read."""
        with self._open() as reader:
            if self.id_field and self.id_field not in reader.layer.names:
                raise BrokenSource(f"there is no column {self.id_field}")
            return reader.layer

    @property
    def native(self) -> Crs:
        """The system of the coordinates as they are stored; GeoPackages put x before y."""
        return CRS84 if self.layer.epsg == CRS84.epsg else crs_of(self.layer.epsg)

    @property
    def systems(self) -> tuple[Crs, ...]:
        """The systems that items can be asked for in, the default first."""
        offered = (CRS84, crs_of(4326), crs_of(3857), crs_of(3035))
        return offered if self.native in offered else (*offered, self.native)

    @property
    def crs_list(self) -> list[str]:
        """The URIs of `systems`."""
        return [crs.uri for crs in self.systems]

    @property
    def storage_crs_uri(self) -> str:
        """The URI of `native`."""
        return self.native.uri

    def get_fields(self) -> dict[str, Any]:
        """Return the attributes with their JSON types; of land cover also the values there are."""
        known: dict[str, dict[str, Any]] = {
            "class_code": {"enum": [land_cover.value for land_cover in self.classes]},
            "class_name": {"enum": [land_cover.name for land_cover in self.classes]},
        }
        return {
            column.name: {"type": _TYPES.get(column.type, "string"), **known.get(column.name, {})}
            for column in self.layer.columns
            if column.name != self.id_field
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
            batch = searched.page(query.limit, query.offset)
            return ItemPage(self._features(batch, query), searched.count())

    def get(self, identifier: str, *, crs: Crs = CRS84, **_: Any) -> Feature:
        """Return one item. Raises ProviderItemNotFoundError."""
        refuse_restriction()
        with self._open() as reader:
            key = self.id_field or reader.layer.key
            batch = search(reader, Selection(equal={key: _key(identifier, integer=key == reader.layer.key)})).page(1, 0)
        if not batch.keys:
            raise ProviderItemNotFoundError(identifier)
        return self._features(batch, ItemQuery(crs=crs))[0]

    def query(self, offset: int = 0, limit: int = 10, **_: Any) -> dict[str, Any]:
        """Return a page of all items, for pygeoapi; our own route asks `find`."""
        refuse_restriction()
        page = self.find(ItemQuery(limit=limit, offset=offset))
        return {"type": "FeatureCollection", "features": page.features, "numberMatched": page.matched}

    def _selection(self, reader: Reader, query: ItemQuery) -> Selection:
        extent = reader.extent()
        if query.boxes is None or extent is None:
            return query.selection
        area = area_of(query.boxes, Box(extent, self.native))
        everything = shapely.contains(area, shapely.box(*extent))
        return query.selection if everything else replace(query.selection, area=area)

    def _features(self, batch: Batch, query: ItemQuery) -> list[Feature]:
        names = self.layer.names
        wanted = [i for i, name in enumerate(names) if query.properties is None or name in query.properties]
        wanted = [i for i in wanted if names[i] != self.id_field]
        ids = [row[names.index(self.id_field)] for row in batch.rows] if self.id_field else batch.keys
        outlines = geojson_geometries(batch.geometries, self.native, query.crs) if query.geometry else repeat(None)
        return [
            {"type": "Feature", "id": id_, "geometry": outline, "properties": {names[i]: row[i] for i in wanted}}
            for id_, outline, row in zip(ids, outlines, batch.rows, strict=False)
        ]

    @contextmanager
    def _open(self) -> Iterator[Reader]:
        try:
            with read_geopackage(Path(self.data), seconds=_SECONDS) as reader:
                yield reader
        except BrokenSource as error:
            raise ProviderConnectionError(str(error)) from error


def _key(identifier: str, *, integer: bool) -> str | int | None:
    if not integer:
        return identifier
    return int(identifier) if _WHOLE.fullmatch(identifier) else None
