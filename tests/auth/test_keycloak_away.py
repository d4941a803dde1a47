"""Keycloak killed, started again and its keys changed, while tokens are verified: no wrong answer, none slow."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from auth.claims import TokenRules
from auth.identity import Identity
from auth.refusal import InvalidToken, KeysUnavailable
from auth.tokens import TokenVerifier, make_verifier
from tests.auth.issuers import rsa_key, signed
from tests.auth.keycloak import Keycloak, OwnKeycloak

PER_SECOND = 50
GOOD, BAD, MADE_UP, WITHDRAWN = "good", "bad", "made up", "withdrawn"
MAY_BE: dict[str, set[str]] = {
    GOOD: {"Identity"},
    BAD: {"InvalidToken"},
    # Signed by a key that nobody published: while the issuer is away nobody can tell.
    MADE_UP: {"InvalidToken", "KeysUnavailable"},
    # Until the keys are fetched the next time, five minutes at most, what a withdrawn key signed is taken.
    WITHDRAWN: {"Identity", "InvalidToken"},
}


@dataclass
class Load:
    """Verifies the tokens that there are, in turn, fifty a second, and keeps what came of it."""

    verifier: TokenVerifier
    tokens: dict[str, str] = field(default_factory=dict)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    slow: list[tuple[str, float]] = field(default_factory=list)
    seen: dict[tuple[str, str], int] = field(default_factory=dict)

    async def run(self) -> None:
        while True:
            begin = time.perf_counter()
            await asyncio.gather(*(self._ask(token, kind) for token, kind in list(self.tokens.items())[-10:]))
            await asyncio.sleep(max(0, len(self.tokens) / PER_SECOND - (time.perf_counter() - begin)))

    async def _ask(self, token: str, kind: str) -> None:
        begin = time.perf_counter()
        outcome = await outcome_of(self.verifier, token)
        took = time.perf_counter() - begin
        self.seen[kind, outcome] = self.seen.get((kind, outcome), 0) + 1
        if outcome not in MAY_BE[self.tokens.get(token, kind)] | MAY_BE[kind]:
            self.wrong.append((kind, outcome))
        if took > 1 and outcome != "KeysUnavailable":
            self.slow.append((kind, took))


async def outcome_of(verifier: TokenVerifier, token: str) -> str:
    try:
        found: object = await verifier.identify(token)
    except (InvalidToken, KeysUnavailable) as error:
        found = error
    assert isinstance(found, Identity | InvalidToken | KeysUnavailable)
    return type(found).__name__


@pytest.fixture
def own(keycloak: Keycloak) -> OwnKeycloak:
    if not isinstance(keycloak, OwnKeycloak):
        pytest.skip("a borrowed Keycloak is not killed")
    return keycloak


def forged(keycloak: Keycloak, kid: str) -> str:
    now = int(time.time())
    claims: dict[str, Any] = {"iss": keycloak.issuer, "aud": "landcast", "sub": "0", "typ": "Bearer", "exp": now + 300}
    return signed(claims, rsa_key(), kid=kid)


def kid_of(verifier: TokenVerifier) -> str:
    return next(iter(verifier.keys._keys))


def test_keycloak_away_and_its_keys_changed_is_no_wrong_answer(own: OwnKeycloak) -> None:
    own.add_user("cara", "user")

    async def ask() -> Load:
        verifier = make_verifier(TokenRules(own.issuer, "landcast", "landcast"), timeout=3)
        load = Load(verifier)
        async with verifier.running(), asyncio.TaskGroup() as group:
            running = group.create_task(load.run())
            await go_through(own, verifier, load)
            running.cancel()
        return load

    load = asyncio.run(ask())
    assert load.wrong == []
    assert load.slow == []
    assert set(load.seen) >= {
        (GOOD, "Identity"),
        (BAD, "InvalidToken"),
        (MADE_UP, "KeysUnavailable"),
        (WITHDRAWN, "InvalidToken"),
    }


async def go_through(own: OwnKeycloak, verifier: TokenVerifier, load: Load) -> None:
    first = await asyncio.to_thread(own.tokens, "cara")
    load.tokens |= {first["access_token"]: GOOD, first["id_token"]: BAD, forged(own, kid_of(verifier)): BAD}
    await asyncio.to_thread(own.rotate_keys)
    load.tokens[await asyncio.to_thread(own.token, "cara")] = GOOD
    await asyncio.sleep(2)

    await asyncio.to_thread(own.kill)
    load.tokens[made_up := forged(own, "made up")] = MADE_UP
    await asyncio.sleep(1)
    assert await outcome_of(verifier, made_up) == "KeysUnavailable"
    await asyncio.to_thread(own.start)

    await asyncio.to_thread(own.rotate_keys, keep=False)
    for token in [token for token, kind in load.tokens.items() if kind == GOOD]:
        load.tokens[token] = WITHDRAWN
    last = await asyncio.to_thread(own.token, "cara")
    while await outcome_of(verifier, last) == "KeysUnavailable":  # noqa: ASYNC110 - as its bearer would
        await asyncio.sleep(0.5)
    load.tokens[last] = GOOD
    await asyncio.sleep(1)
    assert await outcome_of(verifier, first["access_token"]) == "InvalidToken"
    assert await outcome_of(verifier, last) == "Identity"
