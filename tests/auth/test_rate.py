"""Rates: requests of a caller in a period, counted across several processes."""

import subprocess
import sys
from typing import Any

import pytest

from auth.access import Access, Action
from auth.identity import ANONYMOUS
from auth.policy_problems import InvalidPolicy
from auth.rate import Rate, RateLimiter, TooManyRequests, read_rate
from tests.auth.test_policy import USER, policy


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _rate(text: str) -> Rate:
    rate = read_rate(text)
    assert rate is not None
    return rate


def _admitted(limiter: RateLimiter, caller: str, *rates: str) -> int:
    """Return how many requests are accepted at once."""
    for number in range(10_000):
        try:
            limiter.admit(caller, [(f"grant{place}", _rate(text)) for place, text in enumerate(rates)])
        except TooManyRequests:
            return number
    return 10_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0/second",
        "10",
        "10/week",
        "1.5/minute",
        "-1/day",
        " 1/day",
        "1/day ",
        "٣/day",
        "9" * 8 + "/day",
        7,
        None,
        [],
    ],
)
def test_an_invalid_rate_is_refused(text: object) -> None:
    assert read_rate(text) is None


def test_a_rate_allows_a_burst_and_then_single_requests() -> None:
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    assert _admitted(limiter, "a", "60/minute") == 60
    clock.now += 0.5
    with pytest.raises(TooManyRequests, match="at most 60 requests a minute; try again in 1 seconds") as caught:
        limiter.admit("a", [("grant0", _rate("60/minute"))])
    assert caught.value.seconds == 1
    clock.now += 1
    assert _admitted(limiter, "a", "60/minute") == 1
    clock.now += 3600
    assert _admitted(limiter, "a", "60/minute") == 60


def test_callers_and_grants_are_counted_separately_and_the_best_grant_counts() -> None:
    limiter = RateLimiter(clock=Clock())
    assert _admitted(limiter, "a", "3/hour") == 3
    assert _admitted(limiter, "b", "3/hour") == 3
    assert _admitted(limiter, "a", "3/hour", "5/day") == 5
    with pytest.raises(TooManyRequests) as caught:
        limiter.admit("a", [("grant0", _rate("3/hour")), ("grant1", _rate("5/day"))])
    assert caught.value.seconds == 1200


def test_a_refused_request_does_not_count() -> None:
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    for _ in range(50):
        _admitted(limiter, "a", "1/minute")
    clock.now += 60
    assert _admitted(limiter, "a", "1/minute") == 1


def test_memory_is_bounded_and_the_latest_caller_is_counted() -> None:
    limiter = RateLimiter(entries=64, clock=Clock())
    size = len(limiter._memory)
    for number in range(5000):
        limiter.admit(f"address {number}", [("grant0", _rate("2/day"))])
    assert len(limiter._memory) == size
    assert _admitted(limiter, "address 4999", "2/day") == 1


_FORKS = """
import os
from auth.rate import RateLimiter, TooManyRequests, read_rate
limiter = RateLimiter()
for _ in range(4):
    if os.fork() == 0:
        for _ in range(5):
            limiter.admit("a", [("g", read_rate("20/day"))])
        os._exit(0)
    os.wait()
try:
    limiter.admit("a", [("g", read_rate("20/day"))])
except TooManyRequests:
    print("together")
"""


def test_processes_count_together() -> None:
    done = subprocess.run([sys.executable, "-c", _FORKS], capture_output=True, text=True, check=True)
    assert done.stdout == "together\n"


def _grant(who: Any, **more: Any) -> dict[str, Any]:
    return {"who": who, "may": ["read-items"], "collections": "*", **more}


@pytest.mark.parametrize("rate", [None, "10", 10, "10/week", ["1/day"], ""])
def test_an_invalid_rate_is_a_mistake_of_the_policy(rate: object) -> None:
    with pytest.raises(InvalidPolicy, match=r"grants\.some\.rate.*allowed: NUMBER/second"):
        policy(some=_grant("public", rate=rate))


def test_a_verdict_has_the_rates_of_all_grants_unless_one_has_none() -> None:
    items = Access(Action.READ_ITEMS, "parks")
    decide = policy(all=_grant("public", rate="1/day"), users=_grant({"role": "user"}, rate="9/day"))
    assert [(name, rate.text) for name, rate in decide(ANONYMOUS, items).rates] == [("all", "1/day")]
    assert [name for name, _ in decide(USER, items).rates] == ["all", "users"]
    assert decide(USER, Access(Action.DISCOVER, "parks")).rates == ()
    free = policy(all=_grant("public", rate="1/day"), users=_grant({"role": "user"}))
    assert free(USER, items).rates == ()
    assert free(ANONYMOUS, items).rates
