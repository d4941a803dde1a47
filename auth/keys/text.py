"""The format of an API key: `lc_{id}_{secret}{checksum}`.

The prefix lets secret scanners find a published key. The checksum (CRC-32, as in GitHub's tokens) detects a mistyped or
truncated key without a database query. Security rests on the secret alone, which has 256 random bits.
"""

import re
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from string import ascii_lowercase, ascii_uppercase, digits
from zlib import crc32

PREFIX = "lc_"
_ID_SIGNS = digits + ascii_lowercase
_SIGNS = digits + ascii_uppercase + ascii_lowercase
_ID_LENGTH = 12
_SECRET_LENGTH = 43
"""62 to the power of 43 is more than 2 to the power of 256."""
_CHECKSUM_LENGTH = 6
_KEY = re.compile(r"lc_([0-9a-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")
_ID = re.compile(r"[0-9a-z]{12}")


class InvalidKey(Exception):
    """An API key is refused; the message gives the caller the reason and never contains the key."""


@dataclass(frozen=True, slots=True)
class KeyText:
    """A key as its holder has it: `id` is public, `text` is the whole key."""

    id: str
    text: str = field(repr=False)


def new_key() -> KeyText:
    """Return a new random key."""
    key_id = _random(_ID_SIGNS, _ID_LENGTH)
    body = f"{PREFIX}{key_id}_{_random(_SIGNS, _SECRET_LENGTH)}"
    return KeyText(key_id, body + _checksum(body))


def read_key(text: str) -> KeyText:
    """Return the key in a text. Raises InvalidKey if it is malformed."""
    found = _KEY.fullmatch(text)
    if found is None:
        raise InvalidKey("this is not an API key; the format is lc_{id}_{secret}")
    if _checksum(text[:-_CHECKSUM_LENGTH]) != found[3]:
        raise InvalidKey("the API key is mistyped or incomplete: its checksum (the last six characters) does not match")
    return KeyText(found[1], text)


def is_key_id(text: str) -> bool:
    """Return whether this is a well-formed id of a key."""
    return _ID.fullmatch(text) is not None


def key_id_of(text: str) -> str | None:
    """Return the id in the text of a key, or None if the text is not a key."""
    found = _KEY.fullmatch(text)
    return found[1] if found else None


def digest(text: str) -> bytes:
    """Return the hash of a key that is stored.

    A slow hash protects passwords that people choose. A secret of 256 random bits cannot be guessed, so SHA-256 is
    enough and costs microseconds instead of a tenth of a second a request.
    """
    return sha256(text.encode("utf-8", "replace")).digest()


def _random(signs: str, length: int) -> str:
    return "".join(secrets.choice(signs) for _ in range(length))


def _checksum(body: str) -> str:
    rest, signs = crc32(body.encode("ascii")), ""
    for _ in range(_CHECKSUM_LENGTH):
        rest, place = divmod(rest, len(_SIGNS))
        signs = _SIGNS[place] + signs
    return signs
