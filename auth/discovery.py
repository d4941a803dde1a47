"""The issuer's endpoints for signing in and out."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio

from auth.issuer import IssuerUnreachable, address_of

_FRESH, _RETRY = 300.0, 5.0

AskMetadata = Callable[[], Awaitable[dict[str, Any]]]
"""Return the issuer's discovery document. Raises IssuerUnreachable."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The issuer's addresses; `sends_iss` says whether it adds `iss` to each authorization response (RFC 9207)."""

    authorization: str
    end_session: str | None
    sends_iss: bool


class Discovery:
    """The issuer's endpoints, fetched at a sign-in and cached for five minutes or while the issuer is unreachable."""

    def __init__(self, ask: AskMetadata, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._one_at_a_time = anyio.Lock()
        self._known: Endpoints | None = None
        self._problem = ""
        self._until = -1.0

    async def endpoints(self) -> Endpoints:
        """Return the endpoints. Raises IssuerUnreachable."""
        async with self._one_at_a_time:
            if self._clock() >= self._until:
                await self._refresh()
        if self._known is None:
            raise IssuerUnreachable(self._problem)
        return self._known

    async def _refresh(self) -> None:
        try:
            self._known = _endpoints_of(await self._ask())
        except IssuerUnreachable as error:
            self._problem, self._until = str(error), self._clock() + _RETRY
        else:
            self._until = self._clock() + _FRESH


def _endpoints_of(metadata: dict[str, Any]) -> Endpoints:
    return Endpoints(
        authorization=address_of(metadata, "authorization_endpoint"),
        end_session=address_of(metadata, "end_session_endpoint") if "end_session_endpoint" in metadata else None,
        sends_iss=metadata.get("authorization_response_iss_parameter_supported") is True,
    )
