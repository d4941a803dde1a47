"""A file that is read once, with its checksum made and its progress told on the way."""

import hashlib
from dataclasses import dataclass, field
from typing import IO

from products.progress import Report


@dataclass(slots=True)
class Meter:
    """Tells how many of all bytes are done; what is read through it may be more or less than was expected."""

    report: Report
    expected: int
    message: str
    _done: int = field(default=0, init=False)

    def count(self, more: int) -> None:
        """Tell that so many more bytes are done."""
        self._done += more
        self.report(min(1.0, self._done / max(1, self.expected)), self.message)


class Measured:
    """A stream to read from, which knows the SHA-256 and the size of what was read."""

    def __init__(self, stream: IO[bytes], meter: Meter) -> None:
        self._stream = stream
        self._meter = meter
        self._digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        """Return what is read next."""
        chunk = self._stream.read(size)
        self._digest.update(chunk)
        self.size += len(chunk)
        self._meter.count(len(chunk))
        return chunk

    @property
    def sha256(self) -> str:
        """The checksum of what was read, in hexadecimal."""
        return self._digest.hexdigest()
