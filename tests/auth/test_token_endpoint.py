import asyncio
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import pytest

from auth.issuer import IssuerUnreachable
from auth.token_endpoint import Client, GrantRefused, TokenEndpoint
from tests.auth.issuers import FakeIssuer

PATH = "/protocol/openid-connect/token"


def endpoint_of(issuer: FakeIssuer, timeout: float = 3) -> TokenEndpoint:
    return TokenEndpoint(issuer.url, Client("landcast", "our secret"), timeout=timeout)


def test_a_start_does_not_wait_for_python_keycloak() -> None:
    """Its import takes a second."""
    code = "import sys, server.app; sys.exit('keycloak' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_certificate_of_keycloak_is_checked_with_the_system_store(issuer: FakeIssuer) -> None:
    """Like for the issuer's keys: one address is always checked against the same certificates."""
    endpoint = endpoint_of(issuer)
    with endpoint._borrowed() as asked:
        paths = ssl.get_default_verify_paths()
        assert asked.connection.verify in (paths.cafile, paths.capath)
        assert asked.connection.timeout == 3
        assert asked.connection.max_retries == 0  # a code that is sent twice ends the session that it began


def test_a_connection_is_used_by_one_thread_at_a_time(issuer: FakeIssuer) -> None:
    issuer.answers[PATH] = (200, b'{"access_token": "x"}')
    issuer.delay = 0.1
    endpoint = endpoint_of(issuer)

    async def ask(times: int) -> None:
        await asyncio.gather(*(endpoint.refresh(f"token {number}") for number in range(times)))

    asyncio.run(ask(3))
    asyncio.run(ask(2))
    assert len(endpoint._idle) == 3
    assert sorted(posted["refresh_token"] for posted in issuer.posted) == [
        *(f"token {number}" for number in (0, 0, 1, 1, 2)),
    ]


def test_a_secret_of_a_caller_is_not_kept(issuer: FakeIssuer) -> None:
    issuer.answers[PATH] = (200, b'{"access_token": "x"}')
    endpoint = endpoint_of(issuer)

    async def ask() -> None:
        await endpoint.by_client(Client("nightly", "its own"), "openid")
        await endpoint.by_password("ada", "pw", "openid")
        await endpoint.by_client(Client("public", None), "openid")

    asyncio.run(ask())
    assert [(posted["client_id"], posted.get("client_secret")) for posted in issuer.posted] == [
        ("nightly", "its own"),
        ("landcast", "our secret"),
        ("public", None),
    ]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, b'{"error": "invalid_grant"}', "invalid_grant"),
        (401, b'{"error": "invalid_client"}', "invalid_client"),
        (400, b"<html>", "refused"),
        (400, b'{"error": 1}', "refused"),
    ],
)
def test_a_refusal_has_its_error_code(issuer: FakeIssuer, status: int, body: bytes, error: str) -> None:
    issuer.answers[PATH] = (status, body)
    with pytest.raises(GrantRefused) as caught:
        asyncio.run(endpoint_of(issuer).refresh("x"))
    assert caught.value.error == error


@pytest.mark.parametrize(
    ("status", "body"), [(500, b""), (404, b"{}"), (429, b""), (200, b"x"), (200, b"[]"), (400, b"[]")]
)
def test_an_invalid_answer_means_an_unavailable_issuer(issuer: FakeIssuer, status: int, body: bytes) -> None:
    issuer.answers[PATH] = (status, body)
    with pytest.raises(IssuerUnreachable):
        asyncio.run(endpoint_of(issuer).refresh("x"))


def test_a_keycloak_that_hangs_is_not_waited_for(issuer: FakeIssuer) -> None:
    """Requests beyond the limit of concurrent ones are refused within twice the timeout."""
    issuer.delay = 4
    endpoint = endpoint_of(issuer, timeout=1)

    async def outcome(ask: Callable[[str], Awaitable[object]]) -> float:
        begin = time.monotonic()
        with pytest.raises(IssuerUnreachable):
            await ask("x")
        return time.monotonic() - begin

    async def ask_all() -> list[float]:
        await outcome(endpoint.refresh)  # makes the first connection, which imports python-keycloak
        return await asyncio.gather(*(outcome(endpoint.refresh) for _ in range(20)))

    assert max(asyncio.run(ask_all())) < 3.5


@pytest.mark.parametrize("issuer", ["https://sso.example.org", "https://sso.example.org/land"])
def test_only_keycloak_is_asked(issuer: str) -> None:
    endpoint = TokenEndpoint(issuer, Client("landcast", None), timeout=1)
    with pytest.raises(IssuerUnreachable, match="must be a Keycloak realm"):
        asyncio.run(endpoint.refresh("x"))
