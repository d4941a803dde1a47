import asyncio
from typing import Any

import pytest

from auth.discovery import Discovery, Endpoints
from auth.issuer import IssuerUnreachable

KNOWN = {
    "authorization_endpoint": "https://sso.example.org/auth",
    "end_session_endpoint": "https://sso.example.org/end",
    "authorization_response_iss_parameter_supported": True,
}


class Source:
    """Answers with `metadata`, or is unavailable; counts the requests."""

    def __init__(self, metadata: dict[str, Any] | None) -> None:
        self.metadata = metadata
        self.asked = 0
        self.now = 0.0

    async def ask(self) -> dict[str, Any]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.metadata is None:
            raise IssuerUnreachable("away")
        return self.metadata


def discovery_of(source: Source) -> Discovery:
    return Discovery(source.ask, clock=lambda: source.now)


def test_the_issuer_is_asked_on_demand_and_once_in_five_minutes() -> None:
    async def run() -> None:
        source = Source(KNOWN)
        discovery = discovery_of(source)
        assert source.asked == 0
        found = await asyncio.gather(*(discovery.endpoints() for _ in range(10)))
        assert set(found) == {Endpoints("https://sso.example.org/auth", "https://sso.example.org/end", True)}  # noqa: FBT003 - as it stands in the document
        assert source.asked == 1
        source.now = 299
        await discovery.endpoints()
        assert source.asked == 1
        source.now, source.metadata = 300, {"authorization_endpoint": "https://sso.example.org/new"}
        assert await discovery.endpoints() == Endpoints("https://sso.example.org/new", None, sends_iss=False)

    asyncio.run(run())


def test_cached_metadata_is_used_while_the_issuer_is_unavailable() -> None:
    async def run() -> None:
        source = Source(KNOWN)
        discovery = discovery_of(source)
        await discovery.endpoints()
        source.now, source.metadata = 1000, None
        assert (await discovery.endpoints()).authorization == "https://sso.example.org/auth"
        await discovery.endpoints()
        assert source.asked == 2

    asyncio.run(run())


def test_many_requests_ask_an_unavailable_issuer_once() -> None:
    async def run() -> None:
        source = Source(None)
        discovery = discovery_of(source)
        for _ in range(5):
            with pytest.raises(IssuerUnreachable):
                await discovery.endpoints()
        assert source.asked == 1
        source.now, source.metadata = 5, KNOWN
        await discovery.endpoints()

    asyncio.run(run())


@pytest.mark.parametrize("address", [None, 5, "http://sso.example.org/auth", "javascript:alert(1)", "//evil.example"])
def test_browsers_are_only_redirected_to_a_safe_address(address: Any) -> None:
    """A manipulated document would redirect every user to the attacker's copy of the login."""
    for name in ("authorization_endpoint", "end_session_endpoint"):
        discovery = discovery_of(Source({**KNOWN, name: address}))
        with pytest.raises(IssuerUnreachable, match=name):
            asyncio.run(discovery.endpoints())
