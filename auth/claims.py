"""Check the claims of an access token and read the identity from them."""

import math
from dataclasses import dataclass
from typing import Any

from auth.identity import Identity
from auth.refusal import InvalidToken
from auth.signed_token import SignedToken

_LONGEST_SUBJECT = 255


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The configured issuer, audience and client of accepted tokens.

    `leeway` is the allowed difference in seconds between the issuer's clock and ours.
    """

    issuer: str
    audience: str
    client_id: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    leeway: float = 30


def check_claims(token: SignedToken, rules: TokenRules, *, now: float) -> None:
    """Raise InvalidToken unless this is a current access token of our issuer for our audience."""
    _check_kind(token)
    if token.claims.get("iss") != rules.issuer:
        raise InvalidToken(f"the token was not issued by {rules.issuer}")
    if rules.audience not in strings_of(token.claims.get("aud")):
        raise InvalidToken(
            f"the audience of the token (aud) does not name {rules.audience}; "
            "in Keycloak an audience mapper in a scope of the client adds it"
        )
    subject = token.claims.get("sub")
    if not is_subject(subject):
        raise InvalidToken("the token does not name its subject (sub)")
    check_times(token.claims, rules.leeway, now=now)


def is_subject(found: Any) -> bool:
    """Return whether the claim `sub` is valid."""
    return isinstance(found, str) and found.isprintable() and 0 < len(found) <= _LONGEST_SUBJECT


def validity(claims: dict[str, Any], leeway: float) -> tuple[float, float]:
    """Return the start and end of the validity of checked claims, in seconds since 1970, leeway included."""
    return max(claims.get("nbf", 0), claims.get("iat", 0)) - leeway, claims["exp"] + leeway


def identity_of(claims: dict[str, Any], rules: TokenRules) -> Identity:
    """Return the identity in checked claims; members that do not have Keycloak's shape give no rights."""
    subject = claims["sub"]
    return Identity(
        owner=f"{rules.issuer}|{subject}",
        email=_text(claims.get("email")),
        subject=subject,
        name=_text(claims.get("preferred_username")),
        scopes=frozenset((_text(claims.get("scope")) or "").split()),
        roles=_roles(claims.get("realm_access")) | _roles(_member(claims.get("resource_access"), rules.client_id)),
        groups=frozenset(strings_of(claims.get("groups"), one=False)),
        method="token",
    )


def _check_kind(token: SignedToken) -> None:
    """Refuse a token that does not say that it is an access token.

    An ID token has the same audience and key, and passes through browsers: accepted here, it would give access to
    anybody who sees it. Keycloak states the type in the claims, RFC 9068 in the header.
    """
    kind = token.claims.get("typ")
    if kind in ("ID", "Refresh", "Offline", "Logout") or token.kind == "logout+jwt" or "events" in token.claims:
        raise InvalidToken("this is an ID, refresh, offline or logout token; send the access token")
    if "cnf" in token.claims:
        raise InvalidToken("the token is bound to a key of its owner (cnf); bound tokens are not supported")
    if token.kind not in (None, "jwt", "at+jwt") or not (kind == "Bearer" or (kind is None and token.kind == "at+jwt")):
        raise InvalidToken("the token does not say that it is an access token: claim typ Bearer or header typ at+jwt")


def check_times(claims: dict[str, Any], leeway: float, *, now: float) -> None:
    """Raise InvalidToken unless the claims have an expiry and are valid now."""
    if "exp" not in claims:
        raise InvalidToken("the token does not say when it expires (exp)")
    if not all(_is_time(claims[name]) for name in ("exp", "nbf", "iat") if name in claims):
        raise InvalidToken("a time in the token is not a number (exp, nbf, iat)")
    since, until = validity(claims, leeway)
    if now >= until:
        raise InvalidToken("the token has expired")
    if now < since:
        raise InvalidToken("the token is not valid yet (nbf, iat)")


def _is_time(found: Any) -> bool:
    """Python's JSON reader accepts NaN, and a token with that `exp` would never expire."""
    return isinstance(found, int | float) and not isinstance(found, bool) and abs(found) < math.inf


def strings_of(found: Any, *, one: bool = True) -> list[str]:
    """Return the strings of a claim that is a list or, with `one`, a single string; [] for any other value."""
    if one and isinstance(found, str):
        return [found]
    return [word for word in found if isinstance(word, str)] if isinstance(found, list) else []


def _roles(access: Any) -> frozenset[str]:
    return frozenset(strings_of(_member(access, "roles"), one=False))


def _member(found: Any, name: str) -> Any:
    return found.get(name) if isinstance(found, dict) else None


def _text(found: Any) -> str | None:
    return found if isinstance(found, str) and found else None
