"""Requests to the issuer over HTTP: accepted answers and their time limit."""

import asyncio
import json
from typing import Any

import pytest

from auth.issuer import Issuer, IssuerUnreachable
from auth.safe_address import is_safe_address
from tests.auth.issuers import FakeIssuer

DISCOVERY = "/.well-known/openid-configuration"


def problem(issuer: FakeIssuer, *, url: str | None = None, timeout: float = 2) -> str:
    with pytest.raises(IssuerUnreachable) as caught:
        asyncio.run(Issuer(url or issuer.url, algorithms=("RS256",), timeout=timeout).keys())
    return str(caught.value)


def test_the_discovery_document_has_the_address_of_the_keys(issuer: FakeIssuer) -> None:
    asked = Issuer(issuer.url, algorithms=("RS256",), timeout=2)
    assert set(asyncio.run(asked.keys())) == {"first"}
    assert issuer.asked == [DISCOVERY, "/certs"]
    assert asyncio.run(asked.metadata())["jwks_uri"] == f"{issuer.url}/certs"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        # Somebody who can answer at that address would otherwise hand us the keys of another realm.
        ({"issuer": "https://evil.example/realms/land"}, "another issuer"),
        ({}, "another issuer"),
        ({"issuer": None}, "another issuer"),
        ({"jwks_uri": "http://evil.example/certs"}, "not an https address"),
        ({"jwks_uri": "file:///etc/passwd"}, "not an https address"),
        ({"jwks_uri": None}, "not an https address"),
        ({"jwks_uri": ["x"]}, "not an https address"),
        ({"jwks_uri": "http://[::1"}, "not an https address"),
        ({"jwks_uri": "https:///certs"}, "not an https address"),
    ],
)
def test_a_discovery_document_of_another_issuer_is_refused(
    issuer: FakeIssuer, document: dict[str, Any], expected: str
) -> None:
    usual = {} if document == {} else {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/certs"}
    issuer.answers[DISCOVERY] = (200, json.dumps({**usual, **document}).encode())
    assert expected in problem(issuer)
    assert issuer.fetches == 0


def test_the_issuer_is_compared_exactly(issuer: FakeIssuer) -> None:
    assert "another issuer" in problem(issuer, url=f"{issuer.url}/")


@pytest.mark.parametrize("path", [DISCOVERY, "/certs"])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((500, b"{}"), "answers 500"),
        ((404, b"{}"), "answers 404"),
        ((302, b""), "answers 302"),
        ((200, b"<html>"), "not JSON"),
        ((200, b"[]"), "not a JSON object"),
        ((200, b"[" * 100_000), "not JSON"),
        ((200, b" " * ((1 << 20) + 1)), "too large"),
        ((200, b"\xff"), "not JSON"),
    ],
)
def test_an_invalid_answer_is_named(issuer: FakeIssuer, path: str, answer: tuple[int, bytes], expected: str) -> None:
    issuer.answers[path] = answer
    assert expected in problem(issuer)


def test_a_key_set_without_signing_keys_is_refused(issuer: FakeIssuer) -> None:
    issuer.jwks = []
    assert "no signing key" in problem(issuer)


def test_the_whole_request_has_a_deadline(issuer: FakeIssuer) -> None:
    """Two responses that are each just in time together take twice the limit."""
    issuer.delay = 0.4
    assert "in time" in problem(issuer, timeout=0.6)


def test_an_unreachable_issuer_is_named(issuer: FakeIssuer) -> None:
    assert "cannot be reached" in problem(issuer, url="http://127.0.0.1:1/realms/land")


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://sso.example.org/realms/land", True),
        ("http://127.0.0.1:8180/realms/land", True),
        ("http://localhost:8180/realms/land", True),
        ("http://[::1]:8180/realms/land", True),
        ("http://sso.example.org/realms/land", False),
        ("http://localhost.example.org/", False),
        ("http://127.0.0.1.example.org/", False),
        ("http://127.0.0.1@example.org/", False),
        ("http://192.168.0.1/", False),
        ("ftp://127.0.0.1/", False),
        ("https://", False),
        ("https://a:x/", False),
        ("", False),
    ],
)
def test_an_address_is_safe_only_with_tls_or_on_this_machine(url: str, *, safe: bool) -> None:
    assert is_safe_address(url) is safe
