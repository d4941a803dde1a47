"""Where something is measured: an area, a nation, or features of a collection."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from unicodedata import normalize

import numpy as np
import shapely
from pyproj import CRS

from products.area import Area, measure_area, read_area, to_degrees
from products.catalogue import Catalogue, FeatureSource
from products.errors import AreaTooLarge, RequestTooLarge, UnknownPlace
from products.limits import MAX_ORDER_KM2, MAX_PLACES
from products.nations import NATIONS, find_nation
from products.nations.outline import outline_of
from products.repair import one_of, polygonal
from products.vector.blob import without_empty
from products.vector.geopackage import Batch, Reader, read_geopackage, readable
from products.vector.layer import quote
from products.vector.query import Selection, search

PARKS = "parks"
"""The collection in which a park is looked for."""

_NAME = "name"
_LONGITUDE_LATITUDE = 4326
_MOST_DEGREES, _MOST_UNITS = (540, 90), (1e9, 1e9)
"""Coordinates on the Earth, at most: a longitude may have gone round once."""
_SECONDS = 20
_SHOWN = 30
"""Features that are named to somebody who asked for none of them, at most."""


@dataclass(frozen=True, slots=True)
class Place:
    """An area with its name; `id` is that of the feature in its collection."""

    id: str
    name: str
    area: Area


def places_of(given: Mapping[str, Any], catalogue: Catalogue) -> tuple[Place, ...]:
    """Return the places that `aoi`, `nation`, `park`, or `collection` and `bbox` name: one of the four is given.

    A feature belongs to a bbox when they meet; it is taken whole. Raises UnknownPlace, InvalidArea, AreaTooLarge,
    RequestTooLarge above 100 features, BrokenSource.
    """
    if "aoi" in given:
        return (Place("aoi", "Area", read_area(given["aoi"])),)
    if "nation" in given:
        return (_nation(given["nation"]),)
    if "park" in given:
        return (_named(source_of(PARKS, catalogue), given["park"]),)
    return _within(source_of(given["collection"], catalogue), measure_area(given["bbox"]))


def source_of(collection: str, catalogue: Catalogue) -> FeatureSource:
    """Return where the features of a collection are. Raises UnknownPlace."""
    for source in catalogue.features:
        if source.collection == collection:
            return source
    there = (
        ", ".join(source.collection for source in catalogue.features if source.listed)
        or "none, no collection has features"
    )
    raise UnknownPlace(f"there is no collection of features {collection[:80]!r}; allowed: {there}")


def _nation(name: str) -> Place:
    nation = find_nation(name)
    if nation is None:
        there = ", ".join(nation.title for nation in NATIONS)
        raise UnknownPlace(f"{name[:80]!r} is not a nation; allowed: {there}")
    return Place(nation.id, nation.title, outline_of(nation))


def _named(source: FeatureSource, name: str) -> Place:
    """Return the feature of this id, or else of this name in any case."""
    with _open(source) as reader:
        known = _names(reader, source)
        found = [key for key, id_, _ in known if normalize("NFC", id_) == normalize("NFC", name)] or [
            key for key, _, title in known if _folded(title) == _folded(name)
        ]
        if len(found) != 1:
            raise UnknownPlace(_not_one(name, [(id_, title) for key, id_, title in known if not found or key in found]))
        selection = Selection(equal={reader.layer.key: found[0]})
        (place,) = _places(reader, source, search(reader, selection).page(1, 0))
    if place.area.geometry.is_empty:
        raise UnknownPlace(f"{name[:80]!r} has no inside; allowed: a feature that is a polygon")
    _check_size((place,))
    return place


def _not_one(name: str, known: list[tuple[str, str]]) -> str:
    shown = [f"{title} ({id_})" for id_, title in known[:_SHOWN]] + ["…"] * (len(known) > _SHOWN)
    return f"{name[:80]!r} is not the name or id of exactly one feature; allowed: {', '.join(shown)}"


def _folded(name: str) -> str:
    return " ".join(normalize("NFC", normalize("NFC", name).casefold()).split())


def _names(reader: Reader, source: FeatureSource) -> list[tuple[int, str, str]]:
    """Return key, id and name of each feature; one without a name has its id for it."""
    layer = reader.layer
    id_ = quote(source.id_field or layer.key)
    name = quote(_NAME) if _NAME in layer.names else "NULL"
    query = f"SELECT {quote(layer.key)}, {id_}, coalesce({name}, {id_}) FROM {quote(layer.table)}"  # noqa: S608 - identifiers, quoted
    with readable(reader.source):
        return [(key, str(id_), str(name)) for key, id_, name in reader.connection.execute(query)]


def _within(source: FeatureSource, box: Area) -> tuple[Place, ...]:
    with _open(source) as reader:
        system = _system(reader, source)
        area = box.geometry if system == _LONGITUDE_LATITUDE else box.project(system)
        found = search(reader, Selection(area=area))
        if (count := found.count()) > MAX_PLACES:
            raise RequestTooLarge(
                f"{count:,} features of {source.collection} meet the bbox; allowed are {MAX_PLACES}: make it smaller"
            )
        places = _places(reader, source, found.page(MAX_PLACES, 0))
    if len(places) < count:
        raise RequestTooLarge("the outlines of the features that meet the bbox are too large; make it smaller")
    places = tuple(place for place in places if not place.area.geometry.is_empty)
    if not places:
        raise UnknownPlace(f"no polygon of {source.collection} meets the bbox; allowed: a bbox that some meet")
    _check_size(places)
    return places


def _check_size(places: tuple[Place, ...]) -> None:
    km2 = sum(place.area.km2 for place in places)
    if km2 > MAX_ORDER_KM2:
        raise AreaTooLarge(f"The features have {km2:,.0f} km2; an order covers at most {MAX_ORDER_KM2:,} km2.")


def _places(reader: Reader, source: FeatureSource, batch: Batch) -> tuple[Place, ...]:
    names = reader.layer.names

    def of(column: str | None, row: tuple[Any, ...], otherwise: object) -> str:
        value = row[names.index(column)] if column in names else None
        return str(otherwise if value is None else value)

    ids = [of(source.id_field, row, key) for key, row in zip(batch.keys, batch.rows, strict=True)]
    titles = [of(_NAME, row, id_) for id_, row in zip(ids, batch.rows, strict=True)]
    system = _system(reader, source)
    areas = [_area(geometry, system) for geometry in batch.geometries]
    return tuple(map(Place, ids, titles, areas))


def _system(reader: Reader, source: FeatureSource) -> int | str:
    """Return the EPSG code of a layer's coordinates, or what PROJ knows them by. Raises UnknownPlace."""
    system = reader.layer.epsg or reader.layer.system
    if not system or not (_crs(system).is_geographic or _crs(system).is_projected):
        raise UnknownPlace(
            f"the features of {source.collection} cannot be measured: the system of their coordinates is unknown; "
            "allowed: a collection in a system that PROJ knows"
        )
    return system


@lru_cache(64)
def _crs(system: int | str) -> CRS:
    return CRS.from_user_input(system).to_2d()


def _area(geometry: Any, system: int | str) -> Area:
    """Return the polygons of a feature in longitude and latitude, made valid where they are not.

    What lies beyond every place has none.
    """
    if geometry is None:
        return Area(shapely.MultiPolygon())
    whole = polygonal(without_empty(shapely.force_2d(np.array([geometry], dtype=object)))[0])
    most = _MOST_DEGREES if system == _LONGITUDE_LATITUDE else _MOST_UNITS
    if not (np.abs(shapely.get_coordinates(whole)) <= most).all():
        return Area(shapely.MultiPolygon())
    if not shapely.is_valid(whole):
        whole = polygonal(shapely.make_valid(whole, method="structure", keep_collapsed=False))
    if system != _LONGITUDE_LATITUDE and not whole.is_empty:
        whole = one_of(to_degrees(shapely.get_parts(whole), _crs(system)))
    return Area(whole)


@contextmanager
def _open(source: FeatureSource) -> Iterator[Reader]:
    with read_geopackage(source.path, table=source.table, key=source.id_field, seconds=_SECONDS) as reader:
        yield reader
