"""What an order will cost, in bytes and seconds: a rule, corrected by what orders like it did cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import median, quantiles

LEAST_ORDERS = 5
"""Past orders that an estimate rests on at least; fewer would tell of single ones."""

_BEYOND = 10
"""How many times smaller or larger than nearly all past orders one is of which they say little."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A cost of `base` and `each` for every pixel or polygon, which may be `spread` times less or more."""

    base: float
    each: float
    spread: float

    def at(self, amount: float) -> float:
        """Return the cost of so many pixels or polygons."""
        return self.base + self.each * amount


@dataclass(frozen=True, slots=True)
class Rules:
    """What an order of one kind of product costs: bytes and seconds."""

    size: Rule
    time: Rule


RULES: Mapping[str, Rules] = {
    "Raster": Rules(size=Rule(6_000, 0.17, 2.5), time=Rule(1.2, 1.6e-7, 4)),
    "Vector": Rules(size=Rule(10_000, 115, 2.5), time=Rule(1.3, 5e-5, 4)),
}
"""Measured by `python -m bench estimate` on the sample with 2 cores."""


@dataclass(frozen=True, slots=True)
class Range:
    """A cost as it is expected, and what it hardly is below or above."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True, slots=True)
class Past:
    """What an order for `amount` pixels or polygons did cost."""

    amount: float
    cost: float


def forecast(rule: Rule, amount: float, past: Sequence[Past]) -> Range:
    """Return the cost of so many pixels or polygons.

    From LEAST_ORDERS past orders on it is the rule times what they cost of it: their median, 10th and 90th percentile;
    the range also holds that of the rule alone where nearly all of them were ten times smaller or larger.
    """
    cost = rule.at(amount)
    alone = Range(cost / rule.spread, cost, cost * rule.spread)
    if len(past) < LEAST_ORDERS:
        return alone
    low, high = _tenths([each.cost / rule.at(each.amount) for each in past])
    middle = median(each.cost / rule.at(each.amount) for each in past)
    known = Range(cost * low, cost * middle, cost * high)
    return _both(known, alone) if is_beyond(amount, past) else known


def is_beyond(amount: float, past: Sequence[Past]) -> bool:
    """Say whether nearly all past orders were ten times smaller, or larger."""
    if len(past) < LEAST_ORDERS:
        return False
    low, high = _tenths([each.amount for each in past])
    return not low / _BEYOND <= amount <= high * _BEYOND


def _tenths(values: Sequence[float]) -> tuple[float, float]:
    """Return the 10th and the 90th percentile of what the values are a sample of: beyond the few that there may be."""
    tenths = quantiles([log(value) for value in values], n=10)
    return exp(tenths[0]), exp(tenths[-1])


def _both(one: Range, other: Range) -> Range:
    return Range(min(one.low, other.low), one.expected, max(one.high, other.high))
