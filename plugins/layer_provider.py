"""The base of our feature providers: pygeoapi's `query`, and the schemas of the attributes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pygeoapi.provider.base import BaseProvider

from plugins.crs import Crs
from plugins.features import ItemPage, ItemQuery
from plugins.item_arguments import (
    Coordinates,
    OnlyLanguage,
    Transformation,
    names_of,
    page_of,
    selection_of,
)
from plugins.refusals import bounded
from products.classes import CLASSES, Classes
from products.errors import BrokenSource, RequestTooLarge
from products.vector.times import TimeColumns

MOST_VALUES = 1_000
"""Maximum listed values of a property; one with more has no list."""


class LayerProvider(BaseProvider):
    """A provider that pygeoapi's handlers call by `query`; `counting` is how a page counts matching items."""

    counting: ClassVar[Literal["cheap", "exact"]]
    _coordinates: Coordinates
    _language: OnlyLanguage

    @property
    def times(self) -> TimeColumns | None:
        """The columns of an item's time, None if there are none: then it matches every time."""
        raise NotImplementedError

    @property
    def native(self) -> Crs:
        """The CRS of the stored coordinates, x before y."""
        raise NotImplementedError

    @property
    def systems(self) -> tuple[Crs, ...]:
        """The CRSs of answers, the default first."""
        raise NotImplementedError

    @property
    def crs_list(self) -> list[str]:
        """The URIs of `systems`."""
        return [crs.uri for crs in self.systems]

    @property
    def storage_crs_uri(self) -> str:
        """The URI of `native`, empty if it has none."""
        return self.native.uri

    @property
    def fields(self) -> dict[str, Any]:
        """The fields, for pygeoapi."""
        fields: dict[str, Any] = self.get_fields()  # type: ignore[no-untyped-call] # pygeoapi's
        return fields

    def find(self, query: ItemQuery) -> ItemPage:
        """Return a page of items. Raises RequestTooLarge if the search takes too long, FilterError."""
        raise NotImplementedError

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
        """Return items for pygeoapi's handlers; our own route calls `find` and `write`.

        Raises ProviderInvalidQueryError for an invalid query, ProviderRequestEntityTooLargeError for a page that would
        end before its limit, because the next one is calculated from the limit.
        """
        self._language.check(language)
        fields = self.fields
        asked = ItemQuery(
            boxes=self._coordinates.boxes(bbox),
            selection=selection_of(
                fields,
                self.times,
                properties=properties,
                datetime_=datetime_,
                sortby=sortby,
                q=q,
                filterq=filterq,
            ),
            crs=self._coordinates.target(crs_transform_spec),
            properties=names_of(select_properties, fields),
            geometry=not skip_geometry,
            counting="exact" if resulttype == "hits" else self.counting if self.count else "none",
        )
        query = page_of(asked, offset=offset, limit=limit, resulttype=resulttype)
        with bounded():
            page = self.find(query)
            summary = page.summary
            if (returned := summary.returned) < query.limit and summary.more:
                raise RequestTooLarge(f"items that large are answered {returned} at a time; ask for a smaller limit")
        matched = {} if summary.matched is None else {"numberMatched": summary.matched}
        return {"type": "FeatureCollection", "features": [*page.features], **matched, "numberReturned": returned}


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """The configuration of a layer or table; `texts` are title, description and unit by column."""

    id_field: str | None
    properties: Sequence[str]
    storage_crs: str | None
    class_field: str | None
    times: tuple[str, ...]
    texts: Mapping[str, Mapping[str, str]]
    classes: Classes

    @classmethod
    def read(cls, provider_def: Mapping[str, Any]) -> Self:
        """Return the configuration of a definition."""
        given = provider_def.get("time_field") or ()
        return cls(
            provider_def.get("id_field"),
            provider_def.get("properties") or (),
            provider_def.get("storage_crs"),
            provider_def.get("class_field"),
            (given,) if isinstance(given, str) else tuple(given),
            provider_def.get("fields") or {},
            provider_def.get("classes", CLASSES),
        )

    def classes_of(self, shown: Sequence[str]) -> tuple[str, ...]:
        """Return the columns by which tiles of small scales dissolve polygons, none for a layer without classes.

        Raises BrokenSource if the configured column is not among the shown ones.
        """
        if self.class_field is None:
            return tuple(name for name in _CLASS if name in shown) if _CLASS[0] in shown else ()
        if self.class_field not in shown:
            raise BrokenSource(f"there is no column {self.class_field} to show; there are {', '.join(shown)}")
        return (self.class_field,)


_CLASS = ("class_code", "class_name")
"""The columns of the class in our product."""


def schemas_of(
    types: Mapping[str, Mapping[str, Any]],
    classes: Classes,
    times: TimeColumns | None,
    texts: Iterable[Mapping[str, Mapping[str, str]]] = (),
) -> dict[str, dict[str, Any]]:
    """Return the JSON schemas of columns by their types, with the classes of land cover and the roles of times.

    `texts` have `title`, `description` and `unit` (UCUM) of columns, those of the source before configured ones. A
    layer with `class_code` is one of our product, whose columns are known.
    """
    known = _land_cover(classes) if "class_code" in types else {}
    roles = _roles(times)
    schemas = {name: {**kind, **known.get(name, {}), **roles.get(name, {})} for name, kind in types.items()}
    for of_columns in texts:
        for name, said in of_columns.items():
            if name in schemas:
                schemas[name] |= {_MEMBERS[key]: text for key, text in said.items() if text}
    return schemas


_MEMBERS = {"title": "title", "description": "description", "unit": "x-ogc-unit"}
"""The members of a schema (OGC API Features, part 5) by their names in the configuration."""


def _land_cover(classes: Classes) -> dict[str, dict[str, Any]]:
    """Return the schemas of the columns of the vector product; classes are a code list in the schema itself."""
    return {
        "class_code": {
            "title": "Class",
            "description": "The class of land cover, by the value of its pixels.",
            "enum": [each.value for each in classes],
            "oneOf": [{"const": each.value, "title": each.name} for each in classes],
        },
        "class_name": {
            "title": "Name of the class",
            "description": "The class of land cover, by its name.",
            "enum": [each.name for each in classes],
        },
        "area_m2": {
            "title": "Area",
            "description": "The area of the polygon in the product's own, equal-area projection.",
            "x-ogc-unit": "m2",
        },
        "year": {"title": "Year", "description": "The year that the land cover is of."},
    }


def _roles(times: TimeColumns | None) -> Mapping[str, Mapping[str, str]]:
    """Return the roles of the temporal columns (OGC API Features, part 5)."""
    if times is None:
        return {}
    if times.single:
        return {times.begin: {"x-ogc-role": "primary-instant"}}
    return {
        times.begin: {"x-ogc-role": "primary-interval-start"},
        times.end: {"x-ogc-role": "primary-interval-end"},
    }
