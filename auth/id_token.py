"""Verify the ID token of a login (OpenID Connect Core 1.0, 3.1.3.7)."""

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256, sha384, sha512
from hmac import compare_digest
from typing import Any

from auth.claims import TokenRules, check_times, strings_of
from auth.key_ring import KeyRing
from auth.refusal import InvalidToken
from auth.signed_token import SignedToken, read_token, verify

_HASHES = {"256": sha256, "384": sha384, "512": sha512}


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who signed in at the issuer, when, and the issuer's session id."""

    subject: str
    sid: str | None
    issued: datetime


@dataclass(frozen=True, slots=True)
class Expected:
    """What binds an ID token to one login: our nonce, and the access token of the same response."""

    nonce: str
    access_token: str


async def read_id_token(text: str, expected: Expected, *, rules: TokenRules, keys: KeyRing, now: float) -> SignedIn:
    """Return who signed in. Raises InvalidToken, KeysUnavailable."""
    token = read_token(text, rules.algorithms)
    _check(token, rules)
    _check_binding(token, expected)
    check_times(token.claims, rules.leeway, now=now)
    verify(token, await keys.find(token.kid))
    return _signed_in(token.claims)


def _check(token: SignedToken, rules: TokenRules) -> None:
    claims = token.claims
    if claims.get("typ") not in ("ID", None) or token.kind not in ("jwt", None) or "events" in claims:
        raise InvalidToken("the token is not an ID token")
    if claims.get("iss") != rules.issuer:
        raise InvalidToken(f"the ID token was not issued by {rules.issuer}")
    audience = strings_of(claims.get("aud"))
    if rules.client_id not in audience:
        raise InvalidToken("the ID token is for another client")
    if claims.get("azp", rules.client_id if audience == [rules.client_id] else None) != rules.client_id:
        raise InvalidToken("the ID token was given to another client (azp)")


def _check_binding(token: SignedToken, expected: Expected) -> None:
    """Refuse the ID token of another login (injected or replayed)."""
    nonce, at_hash = token.claims.get("nonce"), token.claims.get("at_hash")
    if not isinstance(nonce, str) or not compare_digest(nonce.encode(), expected.nonce.encode()):
        raise InvalidToken("the ID token belongs to another login (nonce)")
    if at_hash is not None and at_hash != hash_of(expected.access_token, token.algorithm):
        raise InvalidToken("the ID token belongs to another access token (at_hash)")


def hash_of(access_token: str, algorithm: str) -> str:
    """Return the `at_hash` of an access token (3.1.3.6)."""
    digest = _HASHES[algorithm[-3:]](access_token.encode()).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def _signed_in(claims: dict[str, Any]) -> SignedIn:
    subject, sid, issued = claims.get("sub"), claims.get("sid"), claims.get("iat")
    if not isinstance(subject, str) or not subject:
        raise InvalidToken("the ID token does not name its subject (sub)")
    if issued is None:
        raise InvalidToken("the ID token does not say when it was issued (iat)")
    return SignedIn(subject, sid if isinstance(sid, str) and sid else None, datetime.fromtimestamp(issued, UTC))
