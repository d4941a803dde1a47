"""The cached keys of the issuer, with a clock and fetches that the test controls."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from auth.issuer import Issuer, IssuerUnreachable
from auth.key_ring import LIFETIME, KeyRing
from auth.refusal import InvalidToken, KeysUnavailable
from auth.signing_keys import SigningKey, signing_keys
from tests.auth.issuers import FakeIssuer, first_key, jwk_of


class Source:
    """An issuer whose responses the test sets; it does not respond while `gate` is not set."""

    def __init__(self, *kids: str) -> None:
        self.now = 1000.0
        self.kids = kids
        self.away = False
        self.fetches = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.ring = KeyRing(self.fetch, timeout=3, clock=lambda: self.now)

    async def fetch(self) -> dict[str, SigningKey]:
        self.fetches += 1
        kids, away = self.kids, self.away
        await self.gate.wait()
        if away:
            raise IssuerUnreachable("away")
        return signing_keys({"keys": [jwk_of(first_key(), kid) for kid in kids]}, ("RS256",))

    async def outcome(self, kid: str) -> str:
        try:
            return (await self.ring.find(kid)).kid
        except (InvalidToken, KeysUnavailable) as error:
            return type(error).__name__


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_keys_are_fetched_once_in_five_minutes() -> None:
    async def ask() -> None:
        source = Source("a")
        for seconds in (0, 100, 199):
            source.now += seconds
            assert await source.outcome("a") == "a"
        assert source.fetches == 1
        source.now += 2
        assert await source.outcome("a") == "a"
        assert source.fetches == 2

    run(ask)


def test_concurrent_requests_share_one_fetch() -> None:
    async def ask() -> None:
        source = Source("a")
        assert await asyncio.gather(*(source.outcome("a") for _ in range(200))) == ["a"] * 200
        assert source.fetches == 1
        assert await asyncio.gather(*(source.outcome("b") for _ in range(200))) == ["InvalidToken"] * 200
        assert source.fetches == 3  # one for the first, and one that began after all had come

    run(ask)


def test_the_first_unknown_key_causes_a_fetch() -> None:
    """Keycloak may have a new key since the last fetch; its tokens are valid."""

    async def ask() -> None:
        source = Source("a")
        await source.outcome("a")
        source.kids = ("b", "a")
        assert await source.outcome("b") == "b"
        source.kids = ("c", "b")
        assert await source.outcome("c") == "c"
        assert await source.outcome("a") == "InvalidToken"

    run(ask)


def test_a_fetch_started_before_a_new_key_does_not_mark_it_unknown() -> None:
    async def ask() -> None:
        source = Source("a")
        await source.outcome("a")
        source.gate.clear()
        early = asyncio.create_task(source.outcome("made-up"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert source.fetches == 2
        source.kids = ("b", "a")
        late = asyncio.create_task(source.outcome("b"))
        await asyncio.sleep(0)
        source.gate.set()
        assert await early == "InvalidToken"
        assert await late == "b"
        assert source.fetches == 3

    run(ask)


def test_a_flood_of_invented_keys_does_not_reach_the_issuer() -> None:
    """Attack: tokens with invented key ids, each of which would cause a request to the issuer."""

    async def ask() -> None:
        source = Source("a")
        await source.outcome("a")
        outcomes = [await source.outcome(f"made-up {number}") for number in range(500)]
        assert source.fetches == 1 + 3
        # Those that were asked for are unknown. Of the others that cannot be said: their callers come again.
        assert outcomes == ["InvalidToken"] * 3 + ["KeysUnavailable"] * 497
        assert await source.outcome("a") == "a"
        source.now += 31
        assert await source.outcome("another") == "InvalidToken"
        assert source.fetches == 1 + 4

    run(ask)


def test_an_unknown_key_stays_unknown_for_a_while() -> None:
    async def ask() -> None:
        source = Source("a")
        await source.outcome("a")
        assert [await source.outcome("made-up") for _ in range(50)] == ["InvalidToken"] * 50
        assert source.fetches == 2
        source.kids = ("made-up",)
        source.now += 31
        assert await source.outcome("made-up") == "made-up"

    run(ask)


def test_a_withdrawn_key_is_unknown_even_without_a_fetch() -> None:
    async def ask() -> None:
        source = Source("a", "b")
        await source.outcome("a")
        for number in range(2):
            await source.outcome(f"made-up {number}")
        source.kids = ("b",)
        await source.outcome("made-up 2")
        assert await source.outcome("a") == "InvalidToken"
        assert await source.outcome("b") == "b"
        assert source.fetches == 4

    run(ask)


def test_failed_fetches_do_not_count() -> None:
    """Otherwise the new key of an issuer would be unknown for half a minute after an outage."""

    async def ask() -> None:
        source = Source("a")
        await source.outcome("a")
        source.away = True
        for _ in range(5):
            source.now += 3
            assert await source.outcome("b") == "KeysUnavailable"
        source.away, source.kids = False, ("b",)
        source.now += 3
        assert await source.outcome("b") == "b"

    run(ask)


def test_a_refusal_has_retry_after() -> None:
    async def ask() -> None:
        source = Source("a")
        await source.outcome("a")
        for number in range(3):
            await source.outcome(f"made-up {number}")
        source.now += 10
        with pytest.raises(KeysUnavailable) as caught:
            await source.ring.find("new")
        assert caught.value.retry_after == 20

    run(ask)


def test_the_cache_of_unknown_ids_is_bounded() -> None:
    async def ask() -> None:
        source = Source("a")
        await source.outcome("a")
        await asyncio.gather(*(source.outcome(f"made-up {number}") for number in range(3000)))
        assert source.fetches == 3
        assert len(source.ring._absent) <= 1024

    run(ask)


def test_cached_keys_are_used_while_the_issuer_is_unavailable() -> None:
    """An outage of Keycloak does not affect callers with a token."""

    async def ask() -> None:
        source = Source("a")
        await source.outcome("a")
        source.away = True
        for _ in range(100):
            source.now += 60
            assert await source.outcome("a") == "a"
        assert source.fetches > 10
        assert source.ring.problem == "away"

    run(ask)


def test_without_keys_a_token_is_neither_valid_nor_invalid() -> None:
    async def ask() -> None:
        source = Source("a")
        source.away = True
        assert await source.outcome("a") == "KeysUnavailable"
        source.away = False
        source.now += 3
        assert await source.outcome("a") == "a"
        assert source.ring.problem is None

    run(ask)


def test_an_unknown_key_during_an_outage_is_not_called_invalid() -> None:
    async def ask() -> None:
        source = Source("a")
        await source.outcome("a")
        source.away = True
        source.kids = ("b",)
        assert await source.outcome("b") == "KeysUnavailable"
        source.away = False
        source.now += 3
        assert await source.outcome("b") == "b"

    run(ask)


def test_an_unavailable_issuer_is_not_asked_by_each_request() -> None:
    async def ask() -> None:
        source = Source("a")
        source.away = True
        outcomes = [await source.outcome(f"{number}") for number in range(100)]
        assert outcomes == ["KeysUnavailable"] * 100
        assert source.fetches == 1

    run(ask)


def test_a_hanging_issuer_delays_a_known_key_by_at_most_half_a_second() -> None:
    async def ask() -> None:
        source = Source("a")
        await source.outcome("a")
        source.now += LIFETIME + 1
        source.gate.clear()
        begin = asyncio.get_running_loop().time()
        assert await source.outcome("a") == "a"
        assert asyncio.get_running_loop().time() - begin < 0.9
        source.gate.set()

    run(ask)


def test_background_failures_cause_no_request_to_wait_for_the_issuer() -> None:
    async def ask() -> None:
        source = Source("a")
        await source.outcome("a")
        source.away = True
        source.now += LIFETIME + 1
        assert await source.outcome("a") == "a"
        asked = source.fetches
        source.now += 7  # the next try begins after 5 s and takes 3 s
        assert await source.outcome("a") == "a"
        assert source.fetches == asked

    run(ask)


def test_a_cancelled_request_does_not_end_a_shared_fetch() -> None:
    async def ask() -> None:
        source = Source("a")
        source.gate.clear()
        first = asyncio.create_task(source.outcome("a"))
        second = asyncio.create_task(source.outcome("a"))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.01)
        source.gate.set()
        assert await second == "a"
        assert source.fetches == 1

    run(ask)


def test_keys_are_refreshed_in_advance_and_soon_after_a_failure(
    issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth.key_ring.LIFETIME", 60.1)
    monkeypatch.setattr("auth.key_ring._RETRY", 0.1)

    async def ask() -> None:
        ring = KeyRing(Issuer(issuer.url, algorithms=("RS256",), timeout=1).keys, timeout=1)
        async with ring.running():
            assert ring.known("first")
            issuer.rotate("second", keep=False)
            await until(lambda: ring.known("second"))
            assert ring.known("first") is None
            issuer.answers["/certs"] = (503, b"")
            await until(lambda: ring.problem)
            assert ring.known("second")
            issuer.answers.clear()
            await until(lambda: ring.problem is None)
        asked = issuer.fetches
        await asyncio.sleep(0.3)
        assert issuer.fetches == asked

    run(ask)


def test_after_a_failure_the_keys_are_fetched_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auth.key_ring._RETRY", 0.05)

    async def ask() -> None:
        source = Source("a")
        source.away = True
        async with source.ring.running():
            source.away = False
            await until(lambda: source.ring.known("a"))

    run(ask)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the ring has no event for it
            await asyncio.sleep(0.02)


def test_the_server_starts_without_the_issuer() -> None:
    async def ask() -> None:
        source = Source("a")
        source.away = True
        async with source.ring.running():
            assert source.ring.problem == "away"

    run(ask)
