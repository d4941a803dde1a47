"""Vector tiles (Mapbox Vector Tile 2.1) of one layer."""

import struct
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from products.vector.drawing import EXTENT, KINDS, Paths


class Encoder:
    """A tile with one layer, to which features are added; `columns` are the names of their attributes."""

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self._name = name
        self._columns = columns
        self._keys = _Numbers()
        self._values = _Numbers()
        self._tags: list[dict[Any, bytes]] = [{} for _ in columns]
        self._features: list[bytes] = []

    def add(self, paths: Paths, ids: Sequence[Any], values: Sequence[Sequence[Any]]) -> None:
        """Add the drawn features: their ids, and for each column their values.

        An id that is not an integer from 0 is left out, and so are attributes without a value.
        """
        tags = [[self._tag(column, value) for value in each] for column, each in enumerate(values)]
        for feature, kind, commands in paths.commands():
            id_ = ids[feature]
            numbered = isinstance(id_, int) and not isinstance(id_, bool) and id_ >= 0
            head = _tag(1, 0) + _varint(id_) if numbered else b""
            tagged = _field(2, b"".join([each[feature] for each in tags]))
            self._features.append(_field(2, b"".join((head, tagged, _KINDS[kind], _field(4, commands)))))

    def content(self) -> bytes:
        """Return the tile, empty without any feature."""
        if not self._features:
            return b""
        parts = [_field(1, self._name.encode()), *self._features]
        parts += [_field(3, key.encode()) for key in self._keys.numbers]
        parts += [_field(4, _value(value)) for _, value in self._values.numbers]
        parts += [_tag(5, 0), _varint(EXTENT), _tag(15, 0), _varint(2)]
        return _field(3, b"".join(parts))

    def _tag(self, column: int, value: Any) -> bytes:
        """Return the numbers of a key and a value."""
        known = self._tags[column].get((type(value), value))
        if known is None:
            known = b"" if value is None else self._numbered(column, value)
            self._tags[column][type(value), value] = known
        return known

    def _numbered(self, column: int, value: Any) -> bytes:
        return _varint(self._keys.of(self._columns[column])) + _varint(self._values.of((type(value), value)))


class _Numbers:
    """Numbers objects in the order of their first use."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def of(self, thing: Any) -> int:
        return self.numbers.setdefault(thing, len(self.numbers))


@lru_cache(1 << 14)
def _varint(number: int) -> bytes:
    if number < 0x80:  # noqa: PLR2004 - one byte, as most are
        return bytes((number,))
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


@cache
def _tag(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _field(field: int, content: bytes) -> bytes:
    return _tag(field, 2) + _varint(len(content)) + content


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return _tag(7, 0) + _varint(int(value))
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return _tag(6, 0) + _varint((value << 1) ^ (value >> 63))
    if isinstance(value, float):
        return _tag(3, 1) + struct.pack("<d", value)
    return _field(1, str(value).encode(errors="replace"))


_KINDS = {kind: _tag(3, 0) + _varint(kind) for kind in KINDS}
