"""Verify a logout token (OpenID Connect Back-Channel Logout 1.0, 2.4 and 2.6)."""

from dataclasses import dataclass
from typing import Any

from auth.claims import TokenRules, check_times, strings_of
from auth.key_ring import KeyRing
from auth.refusal import InvalidToken
from auth.signed_token import SignedToken, read_token, verify

_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_OLDEST = 300
"""Seconds after which a logout token is refused, whatever its `exp`."""
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class Logout:
    """The issuer's session that ended, or all sessions of `subject` if `sid` is None.

    `jti` is the id of the token, which is accepted once; after `until` (seconds since 1970) it has expired.
    """

    jti: str
    sid: str | None
    subject: str | None
    until: float


async def read_logout_token(text: str, *, rules: TokenRules, keys: KeyRing, now: float) -> Logout:
    """Return which sessions end. Raises InvalidToken, KeysUnavailable."""
    token = read_token(text, rules.algorithms)
    _check_kind(token)
    _check(token.claims, rules)
    check_times(token.claims, rules.leeway, now=now)
    if now >= _until(token.claims, rules):
        raise InvalidToken(f"the logout token is older than {_OLDEST} seconds")
    verify(token, await keys.find(token.kid))
    sid, subject = (_name(token.claims, name) for name in ("sid", "sub"))
    return Logout(token.claims["jti"], sid, subject, _until(token.claims, rules))


def _check_kind(token: SignedToken) -> None:
    """Refuse other tokens: an ID token has the same key and audience, and would log people out."""
    if token.kind not in ("logout+jwt", "jwt", None) or token.claims.get("typ", "Logout") != "Logout":
        raise InvalidToken("this is not a logout token (typ)")
    events = token.claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(_EVENT), dict):
        raise InvalidToken("this is not a logout token (events)")
    if "nonce" in token.claims:
        raise InvalidToken("a logout token must not have a nonce")


def _check(claims: dict[str, Any], rules: TokenRules) -> None:
    if claims.get("iss") != rules.issuer:
        raise InvalidToken(f"the logout token was not issued by {rules.issuer}")
    if rules.client_id not in strings_of(claims.get("aud")):
        raise InvalidToken("the logout token is for another client (aud)")
    if "iat" not in claims:
        raise InvalidToken("the logout token does not say when it was issued (iat)")
    if _name(claims, "jti") is None:
        raise InvalidToken("the logout token has no id (jti)")
    if _name(claims, "sid") is None and _name(claims, "sub") is None:
        raise InvalidToken("the logout token names neither a session nor a person (sid, sub)")


def _until(claims: dict[str, Any], rules: TokenRules) -> float:
    return float(min(claims["exp"], claims["iat"] + _OLDEST)) + rules.leeway


def _name(claims: dict[str, Any], name: str) -> str | None:
    found = claims.get(name)
    return found if isinstance(found, str) and 0 < len(found) <= _LONGEST else None
