"""The links of the table of items on a page: another order, the items of one value, or of all values again."""

from collections.abc import Container, Iterable
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from routes.pages.translator import noted

_BEGINNING = frozenset({"offset", "startindex", "cursor"})
"""Parameters of a position in the list, which is invalid in another order or filter."""
_LONGEST = 80
_FORMS = {
    "json": "GeoJSON",
    "jsonld": "JSON-LD",
    "geojsonseq": noted("GeoJSON text sequence"),
    "csv": "CSV",
    "fgb": "FlatGeobuf",
    "gpkg": "GeoPackage",
    "shp": "Shapefile",
    "parquet": "GeoParquet",
}
"""The names of formats for people, by value of `f`."""


def table_of(
    request: Request, *, queryables: Container[str], sortables: Iterable[str], forms: Iterable[str]
) -> dict[str, Any]:
    """Return the links of a table: `sorting` by name, the current `filters`, and `only`, a function for a value.

    `downloads` are the other formats of the page, by value of `f`, with their names.
    """
    given = [(name, value) for name, value in request.query_params.multi_items() if name not in _BEGINNING]
    sorted_by = request.query_params.get("sortby", "").lstrip("+ ")

    def without(*dropped: str, **added: str) -> str:
        return "?" + urlencode([*((name, value) for name, value in given if name not in dropped), *added.items()])

    def only(name: str, value: object) -> str | None:
        """Return the link to the items of that value, or None if it is no filter or already the current one."""
        is_plain = isinstance(value, str | int) and not isinstance(value, bool) and 0 < len(str(value)) <= _LONGEST
        if not is_plain or name not in queryables or name in request.query_params:
            return None
        return without(**{name: str(value)})

    return {
        "sorting": {
            name: {
                "href": without("sortby", sortby=f"-{name}" if sorted_by == name else name),
                "order": {name: "ascending", f"-{name}": "descending"}.get(sorted_by, "none"),
            }
            for name in sortables
        },
        "filters": [
            {"name": name, "value": value, "href": without(name)} for name, value in given if name in queryables
        ],
        "only": only,
        "downloads": {form: _FORMS.get(form, form) for form in forms if form != "html"},
    }
