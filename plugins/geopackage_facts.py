"""Facts about a layer of a GeoPackage with a provider's configuration."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pyproj.exceptions import ProjError

from auth.recent import Recent
from plugins.crs import CRS84, Crs, crs_of, epsg_of, foreign_crs, systems_with
from plugins.geojson import converted, json_type
from plugins.layer_provider import LayerOptions, schemas_of
from products.errors import BrokenSource
from products.operation import transformer
from products.vector.layer import Column, Layer
from products.vector.query import Count
from products.vector.times import TimeColumns, time_columns


@dataclass(frozen=True, slots=True)
class ShownColumn:
    """An attribute of an item: its index in a row, its name, and the function that converts its value to JSON."""

    place: int
    name: str
    value: Callable[[Any], Any]
    is_blob: bool


_COUNTS = 1_024
"""Number of searches of a file whose counts are cached."""


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """Facts about a layer: `id_column` is the attribute with an item's id, None if this is the key."""

    layer: Layer
    id_column: str | None
    id_place: int | None
    times: TimeColumns | None
    native: Crs
    systems: tuple[Crs, ...]
    shown: tuple[ShownColumn, ...]
    classes: tuple[ShownColumn, ...]
    """The columns by which polygons are dissolved."""
    fields: Mapping[str, Mapping[str, Any]]
    columns: Mapping[str, Mapping[str, Any]]
    """The schemas of all columns except the geometry, including hidden ones."""
    counts: Recent[Hashable, Count] = field(default_factory=partial(Recent, _COUNTS), compare=False)


def _types(columns: Iterable[Column]) -> dict[str, dict[str, Any]]:
    return {each.name: json_type(each.type) for each in columns}


def facts_of(layer: Layer, options: LayerOptions) -> LayerFacts:
    """Return the facts about a layer with this configuration. Raises BrokenSource if the two do not match."""
    for name in (options.id_field, *(options.properties or ())):
        if name and name not in (*layer.names, layer.key):
            raise BrokenSource(f"there is no column {name}; there are {', '.join(layer.names)}")
    if options.storage_crs is None and not (layer.epsg or layer.system):
        raise BrokenSource("the system of its coordinates is unknown: name it as `storage_crs`")
    column = options.id_field or layer.identity
    id_column = None if column == layer.key else column
    columns = {each.name: (i, each) for i, each in enumerate(layer.columns) if each.name != id_column}
    shown = tuple(columns[name] for name in options.properties or columns if name in columns)
    times = time_columns(layer.columns, options.times)
    native = _system(options.storage_crs or layer.system or layer.epsg)
    listed = tuple(
        ShownColumn(place, each.name, converted(each.type), is_blob="BLOB" in each.type) for place, each in shown
    )
    classes = options.classes_of([each.name for each in listed])
    return LayerFacts(
        layer,
        id_column=id_column,
        id_place=layer.names.index(id_column) if id_column else None,
        times=times,
        native=native,
        systems=systems_with(native),
        shown=listed,
        classes=tuple(each for each in listed if each.name in classes),
        fields=schemas_of(_types(each for _, each in shown), options.classes, times, (layer.texts, options.texts)),
        columns=schemas_of(_types([*layer.columns, Column(layer.key, "INTEGER")]), options.classes, times),
    )


def _system(name: str | int) -> Crs:
    """Return the CRS of an EPSG code, a URI or a definition. Raises BrokenSource if it cannot be transformed."""
    try:
        code = name if isinstance(name, int) else epsg_of(name)
        crs = CRS84 if code == CRS84.epsg else crs_of(code) if code else foreign_crs(str(name))
        transformer(crs.name, CRS84.name)
    except (ValueError, ProjError) as error:
        raise BrokenSource(f"its coordinates cannot be put into longitude and latitude: {error}") from error
    return crs
