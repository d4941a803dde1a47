"""An estimate has its basis, and its range includes the cost of orders."""

import random

import pytest

from orchestration.estimate.cost import RULES, Past, Range, Rule, forecast, is_beyond

RULE = Rule(base=100, each=2, spread=3)


def past(*ratios: float, amount: float = 1_000) -> list[Past]:
    return [Past(amount, RULE.at(amount) * ratio) for ratio in ratios]


def test_without_past_orders_the_rule_applies_with_its_wide_range() -> None:
    assert forecast(RULE, 450, []) == Range(1_000 / 3, 1_000, 3_000)


def test_fewer_than_five_orders_are_ignored() -> None:
    for count in range(5):
        assert forecast(RULE, 1_000, past(*[7.0] * count)) == forecast(RULE, 1_000, [])
    assert forecast(RULE, 1_000, past(*[7.0] * 5)).expected == pytest.approx(7 * 2_100)


def test_similar_orders_give_their_cost() -> None:
    found = forecast(RULE, 2_000, past(*[0.5] * 30))
    assert (found.low, found.expected, found.high) == pytest.approx((2_050, 2_050, 2_050))


def test_an_outlier_changes_the_expectation_little() -> None:
    assert forecast(RULE, 1_000, past(*[1.0] * 20, 1_000.0)).expected == pytest.approx(2_100)


@pytest.mark.parametrize("count", [5, 8, 20, 50])
def test_eight_of_ten_future_orders_are_in_the_range(count: int) -> None:
    chance = random.Random(5)  # noqa: S311  no secret
    held = []
    for _ in range(300):
        drawn = [chance.lognormvariate(0, 0.5) for _ in range(count + 1)]
        found = forecast(RULE, 1_000, past(*drawn[1:]))
        assert 0 < found.low <= found.expected <= found.high
        held.append(found.low <= 2_100 * drawn[0] <= found.high)
    assert 0.7 < sum(held) / len(held) < 0.9


def test_the_range_includes_the_rule_if_past_orders_were_much_smaller() -> None:
    alike = past(*[1.0] * 10)
    for amount in (150, 9_000):
        assert not is_beyond(amount, alike)
        found = forecast(RULE, amount, alike)
        assert found.high == pytest.approx(found.low)
    for amount in (50, 11_000):
        assert is_beyond(amount, alike)
        assert forecast(RULE, amount, alike).high == pytest.approx(3 * RULE.at(amount))
    assert not is_beyond(11_000, alike[:4]), "four tell nothing"


def test_each_kind_has_its_rules() -> None:
    assert RULES.keys() == {"Raster", "Vector"}
    for rules in RULES.values():
        assert rules.size.spread > 2
        assert rules.time.spread > 2
