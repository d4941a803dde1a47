"""How an API key is written: `lc_{id}_{secret}{checksum}`.

The prefix lets scanners of published code find a key, and the checksum (CRC-32, as in the tokens of GitHub) tells a
mistyped or cut one without a look into the database. Neither is a defence: that is the secret, of 256 random bits.
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
    """An API key lets nobody in; the message is the reason, fit for the caller, and never holds the key."""


@dataclass(frozen=True, slots=True)
class KeyText:
    """A key as its holder has it: `id` is public, `text` is the whole key."""

    id: str
    text: str = field(repr=False)


def new_key() -> KeyText:
    """Return a key that there was never before."""
    key_id = _random(_ID_SIGNS, _ID_LENGTH)
    body = f"{PREFIX}{key_id}_{_random(_SIGNS, _SECRET_LENGTH)}"
    return KeyText(key_id, body + _checksum(body))


def read_key(text: str) -> KeyText:
    """Return the key that is written so. Raises InvalidKey when none can be."""
    found = _KEY.fullmatch(text)
    if found is None:
        raise InvalidKey("this is no API key: one is written lc_{id}_{secret}")
    if _checksum(text[:-_CHECKSUM_LENGTH]) != found[3]:
        raise InvalidKey("the API key is mistyped or not whole: its last six signs do not fit the others")
    return KeyText(found[1], text)


def is_key_id(text: str) -> bool:
    """Say whether a key may have this id."""
    return _ID.fullmatch(text) is not None


def key_id_of(text: str) -> str | None:
    """Return the id that the text of a key claims, None where it is no key."""
    found = _KEY.fullmatch(text)
    return found[1] if found else None


def digest(text: str) -> bytes:
    """Return what is stored of a key.

    SHA-256 and no slow hash: those make the guessing of what people choose dear. There are 2 to the power of 256
    secrets: none is guessed however fast a guess is, and a request costs microseconds instead of a tenth of a second.
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
