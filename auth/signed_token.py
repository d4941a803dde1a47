"""Read and verify a signed token: JSON Web Signature, compact serialization (RFC 7515)."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from jwt import InvalidTokenError, PyJWS

from auth.refusal import InvalidToken
from auth.signing_keys import SigningKey

LARGEST = 8192
"""Maximum size of a token in bytes, as of an HTTP header."""
_LONGEST_KID = 256
_ENCRYPTED_DOTS, _SIGNED_DOTS = 4, 2
_JWS = PyJWS()


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token that was parsed; trust nothing in it before `verify`."""

    text: str = field(repr=False)
    algorithm: str
    kid: str = field(repr=False)
    kind: str | None = field(repr=False)
    claims: dict[str, Any] = field(repr=False)


def read_token(text: str, algorithms: Collection[str]) -> SignedToken:
    """Return the parsed token. Raises InvalidToken, whose message contains nothing of the token.

    `algorithms` are the allowed ones; the token's own `alg` is only compared with them.
    """
    _check_shape(text)
    header, payload = _parts(text)
    if "crit" in header:
        raise InvalidToken("the token demands an extension that is not understood (crit)")
    if not _is_one_of(header.get("alg"), algorithms):
        raise InvalidToken(
            f"the token is signed with an algorithm that is not allowed; allowed: {' '.join(algorithms)}"
        )
    kid, kind = header.get("kid"), header.get("typ")
    if not isinstance(kid, str) or not 0 < len(kid) <= _LONGEST_KID:
        raise InvalidToken("the token does not name the key that signed it (kid)")
    kind = kind.lower().removeprefix("application/") if isinstance(kind, str) else None
    return SignedToken(text, header["alg"], kid, kind, _json_object(payload))


def verify(token: SignedToken, key: SigningKey) -> None:
    """Raise InvalidToken unless the token was signed with the key, with an algorithm of the key."""
    jwk = key.by_algorithm.get(token.algorithm)
    if jwk is None:
        raise InvalidToken("the token is signed with an algorithm that its key is not for")
    try:
        _JWS.decode(token.text, jwk, algorithms=[token.algorithm])
    except (InvalidTokenError, ValueError, TypeError):
        # Without the library's message, which may quote the token.
        raise InvalidToken("the signature of the token is wrong") from None


def _check_shape(text: str) -> None:
    if len(text) > LARGEST:
        raise InvalidToken(f"the token is larger than {LARGEST} bytes")
    if not text.isascii():
        raise InvalidToken("the token has non-ASCII characters")
    if text.count(".") == _ENCRYPTED_DOTS:
        raise InvalidToken("the token is encrypted; only signed tokens are accepted")
    if text.count(".") != _SIGNED_DOTS:
        raise InvalidToken("the token is not a JSON Web Token")


def _parts(text: str) -> tuple[dict[str, Any], bytes]:
    try:
        read = _JWS.decode_complete(text, options={"verify_signature": False})
    except (InvalidTokenError, ValueError, TypeError, RecursionError):
        raise InvalidToken("the token cannot be read: its header, payload or signature is malformed") from None
    return read["header"], read["payload"]


def _json_object(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        raise InvalidToken("the claims of the token are not JSON") from None
    if not isinstance(claims, dict):
        raise InvalidToken("the claims of the token are not a JSON object")
    return claims


def _is_one_of(found: Any, allowed: Collection[str]) -> bool:
    return isinstance(found, str) and found in allowed
