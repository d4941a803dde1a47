"""Positions between two pages of items: opaque, signed texts in the links `next` and `prev`."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

from products.vector.query import Position
from routes.http.problem import bad_parameter
from routes.query.parameters import Parameter

CURSOR = Parameter("cursor", "The position where the page begins or ends, from the link `next` or `prev` of a page.")
_SIGNATURE = 16
"""Bytes of a signature."""
_LONGEST = 8_000
_ALLOWED = "allowed: the value in the link next or prev of a page of these items in this order"


@dataclass(frozen=True, slots=True)
class Cursors:
    """Writes and reads the positions of one collection's items in one order; no other text is accepted.

    A text also has the number of items before its page, for people; it is outdated if items are added or removed.
    """

    key: bytes = field(repr=False)
    collection: str
    order: str

    def write(self, place: Position, first: int) -> str:
        """Return the text of a position."""
        values = [{"bytes": _text(value)} if isinstance(value, bytes) else value for value in place.values]
        said = json.dumps([values, place.backwards, first], separators=(",", ":")).encode()
        return _text(self._sign(said) + said)

    def read(self, text: str) -> tuple[Position, int]:
        """Return the position of a text, and the number of items before its page. Raises the 400 Problem."""
        signed = _signed(text) if len(text) <= _LONGEST and text.isascii() else b""
        signature, said = signed[:_SIGNATURE], signed[_SIGNATURE:]
        if not hmac.compare_digest(self._sign(said), signature):
            raise bad_parameter(CURSOR.name, text[:80], _ALLOWED)
        values, backwards, first = json.loads(said)
        return Position(tuple(map(_value, values)), backwards=backwards), first

    def _sign(self, said: bytes) -> bytes:
        scope = json.dumps([self.collection, self.order]).encode()
        return hmac.digest(self.key, scope + said, "sha256")[:_SIGNATURE]


def _value(written: Any) -> Any:
    return _signed(written["bytes"]) if isinstance(written, dict) else written


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def _signed(text: str) -> bytes:
    """Return the bytes of a text, empty if it is not base64."""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""
