import pytest

from auth.access import UNLIMITED, Limits
from auth.policy import EVERYWHERE, Extent, LimitExceeded, max_open
from products.area import read_area
from products.nations import find_nation
from products.nations.outline import outline_of

BOX = read_area({"bbox": [23.7, 52.6, 23.8, 52.7]})
POLAND = outline_of(nation) if (nation := find_nation("Poland")) else None


@pytest.mark.parametrize("place", [BOX, POLAND, EVERYWHERE, None])
def test_without_limits_everything_may_be_ordered(place: Extent) -> None:
    assert max_open((UNLIMITED,), place) is None


def test_an_order_beyond_the_limit_names_it() -> None:
    with pytest.raises(LimitExceeded, match=r"the order covers 75\.\d\d km2; you may order at most 75 km2 at once"):
        max_open((Limits(km2=75),), BOX)
    with pytest.raises(LimitExceeded, match="covers everything; you may order at most 75 km2"):
        max_open((Limits(km2=75),), EVERYWHERE)


def test_an_order_beyond_its_area_is_refused() -> None:
    within = Limits(within=POLAND)
    assert max_open((within,), read_area({"bbox": [23.0, 52.6, 23.1, 52.7]})) is None
    assert max_open((within,), POLAND) is None
    across = read_area({"bbox": [23.7, 52.6, 24.7, 52.7]})
    for place in (across, EVERYWHERE):
        with pytest.raises(LimitExceeded, match=r"order-area.*lies between 14\.\d+ 48\.\d+ and 24\.\d+ 54\.\d+"):
            max_open((within,), place)


def test_an_order_without_an_area_has_no_size() -> None:
    assert max_open((Limits(km2=1, within=BOX, open_orders=3),), None) == 3


def test_one_alternative_suffices_and_the_largest_number_counts() -> None:
    small, few = Limits(km2=1, open_orders=9), Limits(km2=1000, open_orders=2)
    assert max_open((small, few), BOX) == 2
    assert max_open((Limits(open_orders=5), few), BOX) == 5
    assert max_open((UNLIMITED, few), BOX) is None
    with pytest.raises(LimitExceeded):
        max_open((small, Limits(km2=2)), BOX)
