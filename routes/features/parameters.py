"""The query parameters of items, from which their reading, their 400 and their place in the OpenAPI document come."""

from routes.features.cursor import CURSOR
from routes.features.schemas import PROFILE
from routes.query.parameters import (
    BBOX,
    BBOX_CRS,
    CRS,
    DATETIME,
    FLAG,
    LIMIT,
    NAMES,
    OFFSET,
    START_INDEX,
    TEXT,
    URI,
    Parameter,
)

PROPERTIES = Parameter("properties", "The properties to answer with.", NAMES)
SORTBY = Parameter("sortby", "Properties to order by, `-` in front for the other way.", NAMES)
SKIP_GEOMETRY = Parameter("skipGeometry", "Leave the geometry out.", {**FLAG, "default": False})
RESULT_TYPE = Parameter(
    "resulttype",
    "`hits` answers only with the number of items.",
    {**TEXT, "enum": ["results", "hits"], "default": "results"},
)
FILTER = Parameter("filter", "A condition on the items, in CQL2.")
FILTER_LANG = Parameter(
    "filter-lang",
    "The language of `filter`; `cql-text` is CQL2 text too, for clients that ask for what came before it.",
    {**TEXT, "enum": ["cql2-text", "cql2-json", "cql-text"], "default": "cql2-text"},
)
FILTER_CRS = Parameter("filter-crs", "The coordinate reference system of the geometries in `filter`.", URI)
Q = Parameter("q", "Terms of which an item has one in a text or as its class; commas part them, case does not matter.")
ITEMS_PARAMETERS = (
    BBOX, BBOX_CRS, CRS, DATETIME, LIMIT, OFFSET, START_INDEX, CURSOR, PROPERTIES, RESULT_TYPE, SKIP_GEOMETRY, SORTBY,
    FILTER, FILTER_LANG, FILTER_CRS, Q, PROFILE,
)  # fmt: skip
_OTHERS = (
    "f", "ids", "lang", "token",
)  # fmt: skip
RESERVED = frozenset(name.lower() for name in (*(each.name for each in ITEMS_PARAMETERS), *_OTHERS))
"""Names of parameters in the standards, also of unimplemented ones: a column of such a name is not a filter.

They are compared in lower case, so that `Limit` never means a column.
"""
