"""Verify bearer tokens."""

import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from hashlib import blake2b

from auth.claims import TokenRules, check_claims, identity_of, validity
from auth.identity import Identity
from auth.issuer import Issuer
from auth.key_ring import KeyRing
from auth.refusal import InvalidToken
from auth.signed_token import LARGEST, read_token, verify
from auth.signing_keys import SigningKey

REMEMBERED = 4096
"""Maximum number of cached tokens; the least recently used is evicted first."""


@dataclass(frozen=True, slots=True)
class _Verified:
    identity: Identity
    key: SigningKey
    since: float = field(repr=False)
    until: float = field(repr=False)


class TokenVerifier:
    """Verifies access tokens.

    The identity of a verified token is cached by the hash of the whole token. Its validity is checked on each use, and
    its signing key must still be published.
    """

    def __init__(self, rules: TokenRules, keys: KeyRing, *, clock: Callable[[], float] = time.time) -> None:
        self.rules = rules
        self.keys = keys
        self._clock = clock
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return a context in which the keys are refreshed in the background, so that no request waits for them."""
        return self.keys.running()

    async def identify(self, token: str) -> Identity:
        """Return the identity of the token. Raises InvalidToken, KeysUnavailable."""
        if len(token) > LARGEST:
            raise InvalidToken(f"the token is larger than {LARGEST} bytes")
        digest = blake2b(token.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        found = self._remembered(digest)
        return found if found is not None else await self._verify(token, digest)

    def _remembered(self, digest: bytes) -> Identity | None:
        found = self._verified.get(digest)
        if found is None:
            return None
        if found.since <= self._clock() < found.until and self.keys.known(found.key.kid) == found.key:
            self._verified.move_to_end(digest)
            return found.identity
        del self._verified[digest]
        return None

    async def _verify(self, token: str, digest: bytes) -> Identity:
        """Check the claims first, so that a token for somebody else does not cause a lookup of its key."""
        read = read_token(token, self.rules.algorithms)
        check_claims(read, self.rules, now=self._clock())
        key = await self.keys.find(read.kid)
        verify(read, key)
        identity = identity_of(read.claims, self.rules)
        self._remember(digest, _Verified(identity, key, *validity(read.claims, self.rules.leeway)))
        return identity

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        self._verified[digest] = verified
        if len(self._verified) > REMEMBERED:
            self._verified.popitem(last=False)


def make_verifier(rules: TokenRules, *, timeout: float) -> TokenVerifier:
    """Return a verifier with the keys of the rules' issuer; `timeout` is its time to answer in seconds."""
    issuer = Issuer(rules.issuer, algorithms=rules.algorithms, timeout=timeout)
    return TokenVerifier(rules, KeyRing(issuer.keys, timeout=timeout))
