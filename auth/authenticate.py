"""Authenticate a request by access token, API key or session."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio
from anyio import CapacityLimiter

from auth.client_address import Network, client_address
from auth.credentials import Credential, credential_of
from auth.identity import ANONYMOUS, Identity
from auth.keys.key import KeyIdentity
from auth.keys.store import ApiKeys
from auth.keys.text import InvalidKey, key_id_of
from auth.session import Session
from auth.sessions import Sessions
from auth.throttle import Throttle

COOKIE = "__Host-landcast"
"""The session cookie; for this prefix browsers require https and accept it for this host only (RFC 6265bis)."""

Headers = Iterable[tuple[bytes, bytes]]


class Tokens(Protocol):
    """Verifies access tokens."""

    async def identify(self, token: str) -> Identity:
        """Return the identity of the token. Raises InvalidToken, KeysUnavailable."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request; `session` is set for a signed-in browser."""

    identity: Identity
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Identifies the sender of a request; wrong credentials are refused, never treated as anonymous."""

    tokens: Tokens
    keys: ApiKeys
    sessions: Sessions
    throttle: Throttle
    proxies: Sequence[Network]
    threads: CapacityLimiter

    async def identify(self, headers: Headers, peer: str) -> Caller:
        """Return the caller. An expired session is anonymous, because browsers keep sending its cookie.

        Raises InvalidCredential, InvalidToken, InvalidKey, TooManyFailures, KeysUnavailable, AccessUnavailable.
        """
        headers = tuple(headers)
        credential = credential_of(headers)
        if credential is not None:
            return Caller(await self._presented(credential, headers, peer))
        secret = session_secret(headers)
        return (
            Caller(ANONYMOUS)
            if secret is None
            else await anyio.to_thread.run_sync(self._signed_in, secret, limiter=self.threads)
        )

    async def _presented(self, credential: Credential, headers: Headers, peer: str) -> Identity:
        if credential.kind == "token":
            return await self.tokens.identify(credential.value)
        return await anyio.to_thread.run_sync(
            self._by_key, credential.value, self.address(headers, peer), limiter=self.threads
        )

    def _by_key(self, key: str, address: str) -> Identity:
        return identify_throttled(self.keys, self.throttle, key, address=address)

    def _signed_in(self, secret: str) -> Caller:
        session = self.sessions.get(secret)
        if session is None:
            return Caller(ANONYMOUS)
        self.sessions.touch(secret, session)
        return Caller(session.identity, session)

    def address(self, headers: Headers, peer: str) -> str:
        """Return the client's address; `X-Forwarded-For` counts only from trusted proxies."""
        forwarded = [value.decode("latin-1") for name, value in headers if name.lower() == b"x-forwarded-for"]
        return client_address(peer, forwarded, self.proxies)


def identify_throttled(keys: ApiKeys, throttle: Throttle, presented: str, *, address: str) -> KeyIdentity:
    """Return the identity of a key sent from an address. Raises InvalidKey, TooManyFailures, AccessUnavailable.

    An unavailable database does not count as a failed attempt.
    """
    attempt = throttle.attempt(address, key_id_of(presented) or "", presented)
    throttle.admit(attempt)
    try:
        identity = keys.identify(presented)
    except InvalidKey:
        throttle.failed(attempt)
        raise
    throttle.succeeded(attempt)
    return identity


def session_secret(headers: Headers) -> str | None:
    """Return the secret in the session cookie, or None."""
    return cookie_of(headers, COOKIE)


def cookie_of(headers: Headers, name: str) -> str | None:
    """Return the value of a cookie, or None if it is missing or sent more than once."""
    values: list[str] = []
    for header, value in headers:
        if header.lower() == b"cookie":
            pairs = (pair.strip().partition("=") for pair in value.decode("latin-1").split(";"))
            values += [text for given, _, text in pairs if given == name]
    return values[0] if len(values) == 1 else None
