"""The address of PostgreSQL: fixed, or in memory that processes share, where it changes while they run."""

import json
import mmap
import os
import struct
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self
from zlib import crc32

Url = str | Callable[[], str]
"""An address with user and password, or a function that returns the current one."""

_NAMED = "/proc/"
"""The beginning of a shared address's name, with which no address of PostgreSQL begins."""
_BYTES = 65_536
"""Bytes for one version; there are two, so that one can be read while the other is written."""
_ALL = 3 * _BYTES
_NUMBER, _HEAD = struct.Struct("<Q"), struct.Struct("<II")
"""The number of the current version, and the length and checksum before the text of each."""
_SUCCESSOR_SECONDS = 2.0
"""Seconds to wait for the successor of an address that has just expired."""


def current(url: Url) -> str:
    """Return the address to connect to now."""
    return url if isinstance(url, str) else url()


def boot_time() -> float:
    """Return the seconds since the machine started, also those of sleep; the clock is the same in all processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Address:
    """An address with user and password, and the boot time at which they expire, None for never.

    `trouble` says why they cannot be renewed at present.
    """

    url: str = field(repr=False)
    expires: float | None = None
    trouble: str = ""

    def is_over(self, within: float = 0.0) -> bool:
        """Return whether it has expired or does so within these seconds."""
        return self.expires is not None and self.expires - within <= boot_time()


class SharedAddress:
    """An address of PostgreSQL in shared memory: one process writes, forks read it, others open it by its name.

    It is in no file and no environment. It can be read for every transaction.
    """

    def __init__(self, memory: mmap.mmap, name: str) -> None:
        self._memory = memory
        self.name = name
        self._read: tuple[int, Address] = (-1, Address(""))

    @classmethod
    def make(cls, address: Address) -> Self:
        """Return shared memory with this address. Raises OSError."""
        descriptor = os.memfd_create("landcast", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _ALL)
        made = cls(mmap.mmap(descriptor, _ALL), f"{_NAMED}{os.getpid()}/fd/{descriptor}")
        made.write(address)
        return made

    @classmethod
    def open(cls, name: str) -> Self:
        """Return the shared memory of another process of the same user. Raises OSError."""
        with Path(name).open("rb") as file:
            return cls(mmap.mmap(file.fileno(), _ALL, access=mmap.ACCESS_READ), name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def __call__(self) -> str:
        """Return the current URL."""
        return self.read().url

    def read(self) -> Address:
        """Return the address as it is now."""
        while True:
            (number,) = _NUMBER.unpack_from(self._memory)
            known, address = self._read
            if number == known:
                return address
            begin = _begin_of(number)
            length, check = _HEAD.unpack_from(self._memory, begin)
            text = self._memory[begin + _HEAD.size : begin + _HEAD.size + length]
            if crc32(text) == check:  # otherwise it has been replaced twice meanwhile
                address = Address(**json.loads(text))
                self._read = (number, address)
                return address

    def write(self, address: Address) -> None:
        """Replace the address; only one process may write. Raises ValueError if it is too long.

        If this process is killed meanwhile, the former address stays.
        """
        text = json.dumps(asdict(address)).encode()
        if _HEAD.size + len(text) > _BYTES:
            raise ValueError("the address of the database is too long")
        number = _NUMBER.unpack_from(self._memory)[0] + 1
        begin = _begin_of(number)
        _HEAD.pack_into(self._memory, begin, len(text), crc32(text))
        self._memory[begin + _HEAD.size : begin + _HEAD.size + len(text)] = text
        _NUMBER.pack_into(self._memory, 0, number)

    def after(self, url: str) -> str | None:
        """Return the address that replaces `url` when it has just expired, waiting for it at most 2 s, or None."""
        until = time.monotonic() + _SUCCESSOR_SECONDS
        while (now := self.read()).url == url:
            if not now.is_over(within=_SUCCESSOR_SECONDS) or time.monotonic() > until:
                return None
            time.sleep(0.05)
        return now.url


def _begin_of(number: int) -> int:
    return _BYTES * (1 + number % 2)


def named(text: str) -> Url:
    """Return the address in an environment variable: the text itself, or the shared address with this name."""
    return SharedAddress.open(text) if text.startswith(_NAMED) else text


def name_of(url: Url) -> str:
    """Return the text that `named` reads."""
    return url.name if isinstance(url, SharedAddress) else current(url)
