"""The number of features of a GeoPackage that a search selects: exact if it is fast, otherwise estimated."""

# ruff: noqa: S608 - identifiers come from the layer, quoted; values are never formatted in

import random
from collections.abc import Callable

import shapely

from products.vector.geopackage import Reader, corners
from products.vector.meeting import keys_as_json
from products.vector.query import Count, Search

_SMALL = 250_000
"""Maximum features of a layer in which all selected ones are counted."""
_FEW = 5_000
"""Maximum features near an area that are counted one by one."""
_SAMPLE = 2_000
_LARGE_SAMPLE = 16_000
_LEAST = 40
"""Minimum selected features of a sample: with fewer, the estimate is too uncertain."""


def count_cheaply(search: Search, total: Callable[[], int]) -> Count:
    """Return how many features are selected, estimated if counting takes long; `total` counts the whole layer.

    The estimate of a box is from the R-tree, that of conditions from a sample.
    """
    reader, area = search.reader, search.selection.area
    if area is None and search.conditions == "TRUE":
        return Count(search.count())
    if area is not None and reader.layer.indexed:
        near = _near(reader, search)
        return Count(search.count()) if near <= _FEW else _count_near(search, near)
    if area is None and (all_of_it := total()) > _SMALL:
        for size in (_SAMPLE, _LARGE_SAMPLE):
            if (share := _sampled(search, size)) is not None:
                return Count(round(share * all_of_it), estimated=True)
    return Count(search.count())


def _near(reader: Reader, search: Search) -> int:
    area = search.selection.area
    return 0 if area.is_empty else reader.count(area.bounds)


def _count_near(search: Search, near: int) -> Count:
    """Return approximately how many of the features near an area intersect it and match the conditions."""
    area, quoted = search.selection.area, search.reader.layer.quoted
    number = near * area.area / shapely.box(*area.bounds).area
    if search.conditions == "TRUE":
        return Count(round(number), estimated=True)
    query = (
        f"SELECT count(*), total({search.conditions}) FROM {quoted.table} WHERE {quoted.key} IN"
        f" (SELECT id FROM {quoted.index} WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ? AND id % ? = 0)"
    )
    step = _prime_above(near // _SAMPLE)
    [(there, selected)] = search.reader.rows(query, (*search.values, *corners(area.bounds), step))
    return Count(round(number * selected / there), estimated=True) if selected >= _LEAST else Count(search.count())


def _prime_above(number: int) -> int:
    """Return a prime number as the step, which no regular order of the keys shares."""
    return next(each for each in range(max(number, 1) + 1, 2 * number + 5) if all(each % by for by in range(2, each)))


def _sampled(search: Search, size: int) -> float | None:
    """Return the share of a sample that is selected, None if it is too small."""
    quoted = search.reader.layer.quoted
    [(least, most)] = search.reader.rows(f"SELECT min({quoted.key}), max({quoted.key}) FROM {quoted.table}")
    if not (isinstance(least, int) and isinstance(most, int) and most - least > size):
        return None
    keys = random.Random(size).sample(range(least, most + 1), size)  # noqa: S311 - no secret; the same for each request
    query = (
        f"SELECT count(*), total({search.conditions}) FROM {quoted.table}"
        f" WHERE {quoted.key} IN (SELECT value FROM json_each(?))"
    )
    [(there, selected)] = search.reader.rows(query, (*search.values, keys_as_json(keys)))
    return float(selected / there) if selected >= _LEAST else None
