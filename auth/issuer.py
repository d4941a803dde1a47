"""Fetch the issuer's metadata and keys over HTTP."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from auth.safe_address import is_safe_address
from auth.signing_keys import SigningKey, signing_keys

_LARGEST = 1 << 20


class IssuerUnreachable(Exception):
    """The issuer did not answer, or not as OpenID Connect Discovery requires; the message says what failed."""


class Issuer:
    """An OpenID Connect issuer; `timeout` is in seconds for each call as a whole."""

    def __init__(self, url: str, *, algorithms: Collection[str], timeout: float) -> None:
        self.url = url
        self.timeout = timeout
        self._algorithms = tuple(algorithms)
        # Made once, here: it reads the system's certificates, which would block the event loop.
        self._tls = ssl.create_default_context()

    async def keys(self) -> dict[str, SigningKey]:
        """Return the issuer's current signing keys by `kid`, at least one. Raises IssuerUnreachable."""
        async with self._asking() as client:
            metadata = await self._metadata(client)
            keys = signing_keys(await _fetch(client, address_of(metadata, "jwks_uri")), self._algorithms)
        if not keys:
            raise IssuerUnreachable("the issuer publishes no signing key for an allowed algorithm")
        return keys

    async def metadata(self) -> dict[str, Any]:
        """Return the discovery document; its `issuer` is checked. Raises IssuerUnreachable."""
        async with self._asking() as client:
            return await self._metadata(client)

    async def _metadata(self, client: httpx2.AsyncClient) -> dict[str, Any]:
        metadata = await _fetch(client, f"{self.url.rstrip('/')}/.well-known/openid-configuration")
        if metadata.get("issuer") != self.url:
            raise IssuerUnreachable("the discovery document names another issuer than LANDCAST_AUTH_ISSUER")
        return metadata

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[httpx2.AsyncClient]:
        try:
            async with (
                asyncio.timeout(self.timeout),
                httpx2.AsyncClient(verify=self._tls, timeout=self.timeout) as client,
            ):
                yield client
        except TimeoutError as error:
            raise IssuerUnreachable("the issuer does not answer in time") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise IssuerUnreachable(f"the issuer cannot be reached: {type(error).__name__}") from error


def address_of(metadata: dict[str, Any], name: str) -> str:
    """Return an address of the discovery document. Raises IssuerUnreachable if it is missing or not https."""
    url = metadata.get(name)
    if not isinstance(url, str) or not is_safe_address(url):
        raise IssuerUnreachable(f"{name} in the discovery document is not an https address")
    return url


async def _fetch(client: httpx2.AsyncClient, url: str) -> dict[str, Any]:
    async with client.stream("GET", url, headers={"Accept": "application/json"}) as answer:
        if answer.status_code != httpx2.codes.OK:
            raise IssuerUnreachable(f"the issuer answers {answer.status_code}")
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > _LARGEST:
                raise IssuerUnreachable("the issuer's answer is too large")
    return _object(bytes(body))


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise IssuerUnreachable("the issuer's answer is not JSON") from error
    if not isinstance(found, dict):
        raise IssuerUnreachable("the issuer's answer is not a JSON object")
    return found
