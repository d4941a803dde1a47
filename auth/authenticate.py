"""Who sent a request: by token, by API key, by session, or nobody known."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio
from anyio import CapacityLimiter

from auth.client_address import Network, client_address
from auth.credentials import Credential, credential_of
from auth.identity import ANONYMOUS, Identity
from auth.keys.slowed import identify_slowed
from auth.keys.store import ApiKeys
from auth.session import Session
from auth.sessions import Sessions
from auth.throttle import Throttle

COOKIE = "__Host-landcast"
"""The cookie of a session: the prefix has browsers take it over https alone, for this host alone."""

Headers = Iterable[tuple[bytes, bytes]]


class Tokens(Protocol):
    """What tells whose an access token is."""

    async def identify(self, token: str) -> Identity:
        """Return the identity. Raises InvalidToken, KeysUnavailable."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request; `session` is that of a signed-in browser."""

    identity: Identity
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Tells who sent a request; what is presented and wrong is refused, never taken for nothing."""

    tokens: Tokens
    keys: ApiKeys
    sessions: Sessions
    throttle: Throttle
    proxies: Sequence[Network]
    threads: CapacityLimiter

    async def identify(self, headers: Headers, peer: str) -> Caller:
        """Return the caller. An ended session is nobody, as browsers send its cookie on.

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
        return identify_slowed(self.keys, self.throttle, key, address=address)

    def _signed_in(self, secret: str) -> Caller:
        session = self.sessions.get(secret)
        if session is None:
            return Caller(ANONYMOUS)
        self.sessions.touch(secret, session)
        return Caller(session.identity, session)

    def address(self, headers: Headers, peer: str) -> str:
        """Return the address of the client, through the proxies that are believed."""
        forwarded = [value.decode("latin-1") for name, value in headers if name.lower() == b"x-forwarded-for"]
        return client_address(peer, forwarded, self.proxies)


def session_secret(headers: Headers) -> str | None:
    """Return the secret of the session's cookie, None where there is none."""
    return cookie_of(headers, COOKIE)


def cookie_of(headers: Headers, name: str) -> str | None:
    """Return the value of a cookie, None where there is none, or more than one."""
    values: list[str] = []
    for header, value in headers:
        if header.lower() == b"cookie":
            pairs = (pair.strip().partition("=") for pair in value.decode("latin-1").split(";"))
            values += [text for given, _, text in pairs if given == name]
    return values[0] if len(values) == 1 else None
