import pytest

from auth.access import UNLIMITED, Limits
from auth.policy import EVERYWHERE, Extent, LimitExceeded, fulfilled_limits, km2_of
from products.area import read_area
from products.nations import find_nation
from products.nations.outline import outline_of

BOX = read_area({"bbox": [23.7, 52.6, 23.8, 52.7]})
POLAND = outline_of(nation) if (nation := find_nation("Poland")) else None


@pytest.mark.parametrize("place", [BOX, POLAND, EVERYWHERE, None])
def test_without_limits_everything_may_be_ordered(place: Extent) -> None:
    assert fulfilled_limits((UNLIMITED,), place) == (UNLIMITED,)


def test_an_order_beyond_the_limit_names_it() -> None:
    with pytest.raises(LimitExceeded, match=r"the order covers 75\.\d\d km2; you may order at most 75 km2 at once"):
        fulfilled_limits((Limits(km2=75),), BOX)
    with pytest.raises(LimitExceeded, match="covers everything; you may order at most 75 km2"):
        fulfilled_limits((Limits(km2=75),), EVERYWHERE)


def test_an_order_beyond_its_area_is_refused() -> None:
    within = Limits(within=POLAND)
    assert fulfilled_limits((within,), read_area({"bbox": [23.0, 52.6, 23.1, 52.7]})) == (within,)
    assert fulfilled_limits((within,), POLAND) == (within,)
    across = read_area({"bbox": [23.7, 52.6, 24.7, 52.7]})
    for place in (across, EVERYWHERE):
        with pytest.raises(LimitExceeded, match=r"order-area.*lies between 14\.\d+ 48\.\d+ and 24\.\d+ 54\.\d+"):
            fulfilled_limits((within,), place)


def test_an_order_without_an_area_has_no_size() -> None:
    limits = Limits(km2=1, within=BOX, open_orders=3, km2_a_day=1)
    assert fulfilled_limits((limits,), None) == (limits,)


def test_one_alternative_suffices() -> None:
    small, few = Limits(km2=1, open_orders=9), Limits(km2=1000, open_orders=2)
    assert fulfilled_limits((small, few), BOX) == (few,)
    assert fulfilled_limits((Limits(open_orders=5), few), BOX) == (Limits(open_orders=5), few)
    with pytest.raises(LimitExceeded):
        fulfilled_limits((small, Limits(km2=2)), BOX)


def test_an_order_larger_than_a_whole_day_is_beyond_the_limit() -> None:
    with pytest.raises(LimitExceeded, match=r"covers 75\.\d\d km2; you may order at most 75 km2 a day \(km2-a-day\)"):
        fulfilled_limits((Limits(km2_a_day=75),), BOX)
    assert fulfilled_limits((Limits(km2_a_day=76),), BOX) == (Limits(km2_a_day=76),)
    with pytest.raises(LimitExceeded, match=r"covers 5,000,000\.00 km2"):
        fulfilled_limits((Limits(km2_a_day=76),), EVERYWHERE)


def test_an_order_counts_as_its_area() -> None:
    assert km2_of(None) == 0
    assert km2_of(EVERYWHERE) == 5_000_000
    assert km2_of(BOX) == pytest.approx(75.2, abs=0.2)
