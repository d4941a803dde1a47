"""Read the limits of a grant."""

from collections.abc import Mapping
from typing import Any

from auth.access import UNLIMITED, Limits
from auth.policy_problems import Problems
from products.area import Area, read_area
from products.errors import ProductError
from products.limits import MAX_ORDER_KM2
from products.nations import find_nation
from products.nations.outline import outline_of

_EMPTY, _REFUSED = _OUTSIDE = ("empty", "refused")
"""What pixels outside of an area are."""
_LIMITS = ("largest-order-km2", "order-area", "open-orders", "km2-a-day", "bytes-a-day")
_MOST_A_DAY = 1e12


def read_limits(problems: Problems, place: str, given: Any) -> Limits:
    """Return the limits; mistakes are added to `problems`."""
    if not isinstance(given, Mapping):
        problems.say(place, f"{given!r} is not a mapping of {', '.join(_LIMITS)}")
        return UNLIMITED
    problems.unknown(place, given, _LIMITS)
    for name in (name for name, value in given.items() if value is None):
        problems.say(f"{place}.{name}", "has no value; leave it out for no limit")
    within = given.get("order-area")
    return Limits(
        km2=_number(problems, f"{place}.largest-order-km2", given.get("largest-order-km2"), most=MAX_ORDER_KM2),
        within=None if within is None else read_policy_area(problems, f"{place}.order-area", within),
        open_orders=_whole(problems, f"{place}.open-orders", given.get("open-orders")),
        km2_a_day=_number(problems, f"{place}.km2-a-day", given.get("km2-a-day"), most=_MOST_A_DAY),
        bytes_a_day=_whole(problems, f"{place}.bytes-a-day", given.get("bytes-a-day")),
    )


def read_part(problems: Problems, place: str, given: Any) -> tuple[Area | None, bool]:
    """Return the area that is granted of collections, and whether what reaches beyond it is refused as a whole."""
    if given is None:
        return None, False
    outside = _EMPTY
    if isinstance(given, Mapping) and "outside" in given:
        outside = given["outside"]
        given = {name: value for name, value in given.items() if name != "outside"}
    if outside not in _OUTSIDE:
        problems.say(f"{place}.outside", f"{outside!r}; allowed: {', '.join(_OUTSIDE)}")
    return read_policy_area(problems, place, given), outside == _REFUSED


def read_policy_area(problems: Problems, place: str, given: Any) -> Area | None:
    """Return a nation's outline or a polygon; anything else is added to `problems`."""
    match given:
        case {"nation": str(name), **others} if not others:
            nation = find_nation(name)
            if nation is not None:
                return outline_of(nation)
            problems.say(place, f"{name!r} is not a nation of the collection nations")
            return None
        case {"polygon": outline, **others} if not others:
            try:
                return read_area(outline)
            except ProductError as error:
                problems.say(place, str(error))
                return None
    problems.say(place, f"{given!r}; allowed: {{nation: NAME}} or {{polygon: WKT}}")
    return None


def _number(problems: Problems, place: str, given: Any, *, most: float) -> float | None:
    if given is None:
        return None
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 < given <= most:
        return float(given)
    problems.say(place, f"{given!r}; allowed: a number above 0, at most {most:,}")
    return None


def _whole(problems: Problems, place: str, given: Any) -> int | None:
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given > 0):
        return given
    problems.say(place, f"{given!r}; allowed: a whole number above 0")
    return None
