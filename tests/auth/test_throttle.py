"""Failing callers are slowed, their victims are not."""

import pytest

from auth.throttle import BY_ADDRESS, BY_NAME, Throttle, TooManyFailures

EVE, ANN = "203.0.113.9", "198.51.100.1"


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def fail(throttle: Throttle, times: int, address: str = EVE, name: str = "key", credential: str = "wrong") -> None:
    for _ in range(times):
        throttle.failed(throttle.attempt(address, name, credential))


def wait_of(throttle: Throttle, address: str = EVE, name: str = "key", credential: str = "other") -> int:
    try:
        throttle.admit(throttle.attempt(address, name, credential))
    except TooManyFailures as slowed:
        return slowed.seconds
    return 0


def test_each_failure_beyond_the_free_ones_doubles_the_wait_up_to_a_minute() -> None:
    throttle = Throttle(clock=Clock())
    fail(throttle, BY_NAME.free)
    waits = []
    for _ in range(9):
        waits.append(wait_of(throttle))
        fail(throttle, 1)
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_a_wait_ends_and_failures_are_forgotten() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    fail(throttle, BY_NAME.free + 3)
    assert wait_of(throttle) == 4
    clock.now += 4
    assert wait_of(throttle) == 0
    fail(throttle, 1)
    assert wait_of(throttle) == 8
    clock.now += BY_NAME.memory + 1
    fail(throttle, 1)
    assert wait_of(throttle) == 0


def test_guesses_with_the_id_of_a_key_do_not_lock_out_its_owner() -> None:
    """Ids are not secret: if failures were counted by id alone, anybody could block a key."""
    throttle = Throttle(clock=Clock())
    fail(throttle, 1000)
    assert wait_of(throttle) > 0
    assert wait_of(throttle, ANN, credential="right") == 0


def test_a_valid_credential_is_not_slowed_by_others_at_the_same_address() -> None:
    throttle = Throttle(clock=Clock())
    throttle.succeeded(throttle.attempt(EVE, "key", "right"))
    fail(throttle, 1000)
    assert wait_of(throttle, credential="right") == 0
    assert wait_of(throttle, credential="other") > 0
    assert wait_of(throttle, name="another user", credential="right") > 0


def test_an_invalidated_credential_is_slowed_like_any_other() -> None:
    """Otherwise a revoked key could cause a query of the database with every request."""
    throttle = Throttle(clock=Clock())
    throttle.succeeded(throttle.attempt(EVE, "key", "revoked"))
    fail(throttle, BY_NAME.free + 1, credential="revoked")
    assert wait_of(throttle, credential="revoked") > 0


def test_credentials_without_a_name_are_counted_by_address_only() -> None:
    """Refresh tokens have no name: ten bad ones from an address must not slow all others from there."""
    throttle = Throttle(clock=Clock())
    fail(throttle, BY_ADDRESS.free, name="")
    assert wait_of(throttle, name="") == 0
    fail(throttle, 1, name="")
    assert wait_of(throttle, name="") == 1


def test_many_names_from_one_address_are_slowed_too() -> None:
    throttle = Throttle(clock=Clock())
    for number in range(BY_ADDRESS.free + 1):
        fail(throttle, 1, name=f"key {number}")
    assert wait_of(throttle, name="yet another") > 0
    assert wait_of(throttle, ANN, name="yet another") == 0


def test_a_success_resets_the_count_of_its_name_but_not_of_its_address() -> None:
    """Otherwise an attacker with a valid key could reset the count between guesses of others."""
    throttle = Throttle(clock=Clock())
    for number in range(BY_ADDRESS.free + 1):
        fail(throttle, 1, name=f"key {number}")
        throttle.succeeded(throttle.attempt(EVE, "own", "own"))
    assert wait_of(throttle, name="yet another") > 0
    fail(throttle, BY_NAME.free + 5, ANN)
    throttle.succeeded(throttle.attempt(ANN, "key", "right"))
    assert wait_of(throttle, ANN) == 0


def test_the_addresses_of_one_ipv6_customer_are_slowed_as_one() -> None:
    throttle = Throttle(clock=Clock())
    for host in range(BY_ADDRESS.free + 1):
        fail(throttle, 1, address=f"2001:db8:1:2::{host:x}", name=f"key {host}")
    assert wait_of(throttle, "2001:db8:1:2:ffff::1") > 0
    assert wait_of(throttle, "2001:db8:1:3::1") == 0


def test_memory_is_bounded_however_many_addresses_and_names_fail() -> None:
    throttle = Throttle(entries=100, clock=Clock())
    for number in range(5000):
        fail(throttle, 1, address=f"198.51.{number // 250}.{number % 250}", name="n" * 5000 + str(number))
        throttle.succeeded(throttle.attempt(ANN, "", str(number)))
    assert len(throttle._addresses) == len(throttle._names) == len(throttle._right) == 100
    assert max(len(name) for _, name in throttle._names._values) == 64


def test_a_huge_number_of_failures_has_the_longest_wait() -> None:
    throttle = Throttle(clock=Clock())
    fail(throttle, 3000)
    assert wait_of(throttle) == 60


def test_a_credential_is_neither_kept_nor_shown() -> None:
    throttle, other = Throttle(), Throttle()
    attempt = throttle.attempt(EVE, "ann", "hunter2")
    assert "hunter2" not in repr(attempt)
    assert repr(attempt.proof) not in repr(attempt)
    assert attempt.proof != other.attempt(EVE, "ann", "hunter2").proof
    fail(throttle, 100, credential="hunter2")
    with pytest.raises(TooManyFailures, match="60 seconds") as caught:
        throttle.admit(throttle.attempt(EVE, "key", "hunter2"))
    assert "hunter2" not in str(caught.value)
