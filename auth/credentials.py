"""What a request presents to be known by, read strictly: whatever could be taken for two things is refused."""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from auth.keys.text import PREFIX, is_key_id

_LONGEST = 8192
"""Characters of a header; tokens of Keycloak with many roles have some thousand."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""b64token (RFC 6750, 2.1); it has no comma, so two headers that a proxy joined are none."""
_WAYS = "allowed are `Bearer` with a token or an API key, and `Basic` with an API key"


class InvalidCredential(Exception):
    """The request's credentials are malformed, repeated or contradict each other; the message never holds them."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What is to be verified: an access token as it came, or an API key as a whole."""

    kind: Literal["token", "key"]
    value: str = field(repr=False)


def credential_of(headers: Iterable[tuple[bytes, bytes]]) -> Credential | None:
    """Return the one credential in the headers of a request, None where there is none.

    `Authorization: Bearer {token or key}`, `Authorization: Basic {id}:{secret}` or `{anything}:{key}` (all that QGIS
    and GDAL can do for rasters) and `X-Api-Key: {key}`. Raises InvalidCredential.
    """
    sent = [(name.lower(), value) for name, value in headers if name.lower() in (b"authorization", b"x-api-key")]
    if not sent:
        return None
    if len(sent) > 1:
        raise InvalidCredential("one `Authorization` or one `X-Api-Key` header is allowed, not several")
    name, value = sent[0]
    text = _text(name.decode("ascii"), value)
    return Credential("key", text) if name == b"x-api-key" else _authorization(text)


def _text(name: str, value: bytes) -> str:
    if len(value) > _LONGEST:
        raise InvalidCredential(f"the header `{name}` is longer than {_LONGEST} characters")
    if not value.isascii():
        raise InvalidCredential(f"the header `{name}` has characters other than ASCII")
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
    raise InvalidCredential(f"this scheme of `Authorization` is unknown here: {_WAYS}")


def _bearer(token: str) -> Credential:
    if _TOKEN.fullmatch(token) is None:
        raise InvalidCredential("`Authorization: Bearer` needs one token and nothing else")
    return Credential("key" if token.startswith(PREFIX) else "token", token)


def _basic(encoded: str) -> str:
    """Return the API key that is presented as user and password (RFC 7617)."""
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
