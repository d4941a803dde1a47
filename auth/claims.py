"""What an access token must say to be taken, and the identity it stands for."""

import math
from dataclasses import dataclass
from typing import Any

from auth.identity import Identity
from auth.refusal import InvalidToken
from auth.signed_token import SignedToken

_LONGEST_SUBJECT = 255


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What the operator set: whose tokens are taken, and for whom they must be.

    `leeway` are the seconds that the clocks of the issuer and of this machine may differ.
    """

    issuer: str
    audience: str
    client_id: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    leeway: float = 30


def check_claims(token: SignedToken, rules: TokenRules, *, now: float) -> None:
    """Raise InvalidToken unless this is an access token of the issuer, for us, at this time."""
    _check_kind(token)
    if token.claims.get("iss") != rules.issuer:
        raise InvalidToken(f"the token was issued by somebody else than {rules.issuer}")
    if rules.audience not in words_of(token.claims.get("aud")):
        raise InvalidToken(
            f"the audience of the token (aud) does not name {rules.audience}; "
            "in Keycloak an audience mapper in a scope of the client adds it"
        )
    subject = token.claims.get("sub")
    if not is_subject(subject):
        raise InvalidToken("the token does not name its subject (sub)")
    check_times(token.claims, rules.leeway, now=now)


def is_subject(found: Any) -> bool:
    """Say whether the claim `sub` may name somebody."""
    return isinstance(found, str) and found.isprintable() and 0 < len(found) <= _LONGEST_SUBJECT


def validity(claims: dict[str, Any], leeway: float) -> tuple[float, float]:
    """Return from when and until when checked claims hold, in seconds of the clock, leeway included."""
    return max(claims.get("nbf", 0), claims.get("iat", 0)) - leeway, claims["exp"] + leeway


def identity_of(claims: dict[str, Any], rules: TokenRules) -> Identity:
    """Return whom checked claims stand for; members of another shape than Keycloak's give no rights."""
    subject = claims["sub"]
    return Identity(
        owner=f"{rules.issuer}|{subject}",
        email=_text(claims.get("email")),
        subject=subject,
        name=_text(claims.get("preferred_username")),
        scopes=frozenset((_text(claims.get("scope")) or "").split()),
        roles=_roles(claims.get("realm_access")) | _roles(_member(claims.get("resource_access"), rules.client_id)),
        groups=frozenset(words_of(claims.get("groups"), one=False)),
        method="token",
    )


def _check_kind(token: SignedToken) -> None:
    """Only what says that it is an access token is one.

    An ID token has our client as its audience too, is signed with the same key and goes through browsers; taken for an
    access token it would let in whoever saw it. Keycloak writes the kind into the claims, RFC 9068 into the header.
    """
    kind = token.claims.get("typ")
    if kind in ("ID", "Refresh", "Offline", "Logout") or token.kind == "logout+jwt" or "events" in token.claims:
        raise InvalidToken("this is an ID, refresh, offline or logout token; send the access token")
    if "cnf" in token.claims:
        raise InvalidToken("the token is bound to a key of its owner (cnf), which cannot be checked here")
    if token.kind not in (None, "jwt", "at+jwt") or not (kind == "Bearer" or (kind is None and token.kind == "at+jwt")):
        raise InvalidToken("the token does not say that it is an access token: claim typ Bearer or header typ at+jwt")


def check_times(claims: dict[str, Any], leeway: float, *, now: float) -> None:
    """Raise InvalidToken unless the claims hold at this time, and say until when."""
    if "exp" not in claims:
        raise InvalidToken("the token does not say when it expires (exp)")
    if not all(_is_time(claims[name]) for name in ("exp", "nbf", "iat") if name in claims):
        raise InvalidToken("a time of the token is no number (exp, nbf, iat)")
    since, until = validity(claims, leeway)
    if now >= until:
        raise InvalidToken("the token has expired")
    if now < since:
        raise InvalidToken("the token is not valid yet (nbf, iat)")


def _is_time(found: Any) -> bool:
    """NaN is a number of JSON's reader: compared with any time it would never have expired."""
    return isinstance(found, int | float) and not isinstance(found, bool) and abs(found) < math.inf


def words_of(found: Any, *, one: bool = True) -> list[str]:
    """Return the words of a claim that is a list of them or, with `one`, a single one; nothing for another shape."""
    if one and isinstance(found, str):
        return [found]
    return [word for word in found if isinstance(word, str)] if isinstance(found, list) else []


def _roles(access: Any) -> frozenset[str]:
    return frozenset(words_of(_member(access, "roles"), one=False))


def _member(found: Any, name: str) -> Any:
    return found.get(name) if isinstance(found, dict) else None


def _text(found: Any) -> str | None:
    return found if isinstance(found, str) and found else None
