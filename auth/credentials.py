"""Read the credentials of a request strictly; ambiguous ones are refused."""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from auth.keys.text import PREFIX, is_key_id

_LONGEST = 8192
"""Maximum length of a header; a Keycloak token with many roles has several thousand characters."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""b64token (RFC 6750, 2.1). It has no comma, so two headers joined by a proxy do not match."""
_SUPPORTED = "allowed: `Bearer` with a token or an API key, `Basic` with an API key"


class InvalidCredential(Exception):
    """The request's credentials are malformed, repeated or contradictory; the message never contains them."""


@dataclass(frozen=True, slots=True)
class Credential:
    """An access token or a whole API key, not verified yet."""

    kind: Literal["token", "key"]
    value: str = field(repr=False)


def credential_of(headers: Iterable[tuple[bytes, bytes]]) -> Credential | None:
    """Return the credential in the headers of a request, or None.

    Accepts `Authorization: Bearer {token or key}`, `Authorization: Basic {id}:{secret}` or `{anything}:{key}` (the only
    ones that QGIS and GDAL can send for rasters) and `X-Api-Key: {key}`. Raises InvalidCredential.
    """
    sent = [(name.lower(), value) for name, value in headers if name.lower() in (b"authorization", b"x-api-key")]
    if not sent:
        return None
    if len(sent) > 1:
        raise InvalidCredential("only one `Authorization` or `X-Api-Key` header is allowed")
    name, value = sent[0]
    text = _text(name.decode("ascii"), value)
    return Credential("key", text) if name == b"x-api-key" else _authorization(text)


def _text(name: str, value: bytes) -> str:
    if len(value) > _LONGEST:
        raise InvalidCredential(f"the header `{name}` is longer than {_LONGEST} characters")
    if not value.isascii():
        raise InvalidCredential(f"the header `{name}` has non-ASCII characters")
    text = value.decode("ascii").strip(" \t")
    if not text.isprintable() or not text:
        raise InvalidCredential(f"the header `{name}` is empty or has control characters")
    return text


def _authorization(text: str) -> Credential:
    scheme, _, rest = text.partition(" ")
    match scheme.lower():
        case "bearer":
            return _bearer(rest.lstrip(" "))
        case "basic":
            return Credential("key", _basic(rest.lstrip(" ")))
    raise InvalidCredential(f"this `Authorization` scheme is not supported; {_SUPPORTED}")


def _bearer(token: str) -> Credential:
    if _TOKEN.fullmatch(token) is None:
        raise InvalidCredential("`Authorization: Bearer` needs one token and nothing else")
    return Credential("key" if token.startswith(PREFIX) else "token", token)


def _basic(encoded: str) -> str:
    """Return the API key in a user and password (RFC 7617)."""
    try:
        user, colon, password = b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (NotBase64, UnicodeDecodeError):
        raise InvalidCredential("`Authorization: Basic` needs the Base64 of `user:password` in UTF-8") from None
    if colon and password.startswith(PREFIX):
        return password
    if colon and is_key_id(user):
        return f"{PREFIX}{user}_{password}"
    raise InvalidCredential(
        "`Authorization: Basic` takes an API key: its id as user and its secret as password, or the whole key as "
        "password; the password of a person is not accepted"
    )
