"""Check an order against the limits of the policy."""

from collections.abc import Iterable, Sequence
from enum import Enum

import shapely

from auth.access import Limits
from products.area import Area


class Everywhere(Enum):
    """The extent of an order that no area bounds."""

    EVERYWHERE = "everywhere"


EVERYWHERE = Everywhere.EVERYWHERE
Extent = Area | Everywhere | None
"""The extent of an order: an area, everywhere, or None for an order without one."""


class LimitExceeded(Exception):
    """An order exceeds a limit of its caller; the message names the limit."""


def max_open(alternatives: Sequence[Limits], place: Extent) -> int | None:
    """Return how many open orders the caller may have for an order of this extent, None for any number.

    Keeping to one of the alternatives is enough. Raises LimitExceeded if the extent exceeds all of them.
    """
    excesses = [_excess(limits, place) for limits in alternatives]
    kept = [limits for limits, excess in zip(alternatives, excesses, strict=True) if excess is None]
    if not kept:
        raise LimitExceeded(next(excess for excess in reversed(excesses) if excess))
    return _largest(limits.open_orders for limits in kept)


def _largest(numbers: Iterable[int | None]) -> int | None:
    known = list(numbers)
    return None if None in known else max(number for number in known if number is not None)


def _excess(limits: Limits, place: Extent) -> str | None:
    """Return a message about the limit that the extent exceeds, or None."""
    if place is None:
        return None
    if limits.km2 is not None and (place is EVERYWHERE or place.km2 > limits.km2):
        size = "everything" if place is EVERYWHERE else f"{place.km2:,.2f} km2"
        return f"the order covers {size}; you may order at most {limits.km2:,g} km2 at once (largest-order-km2)"
    if limits.within is not None and (place is EVERYWHERE or not _is_within(place, limits.within)):
        west, south, east, north = limits.within.geometry.bounds
        return (
            "the order reaches beyond the area that you may order from (order-area), which lies between "
            f"{west:.6g} {south:.6g} and {east:.6g} {north:.6g}"
        )
    return None


def _is_within(place: Area, allowed: Area) -> bool:
    return bool(shapely.covers(allowed.geometry, place.geometry))
