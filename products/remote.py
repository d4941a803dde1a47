"""Rasters on a server, by HTTPS or S3: which version it has, and reading that version by range.

GDAL's own clients are not used: they keep what they have read by address, so that of a replaced file they give a mix.
"""

import os
import re
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from threading import Lock, local
from typing import Any, Self
from urllib.parse import unquote

from products.errors import BrokenSource

_ADDRESS = re.compile(r"(https?|s3):/{1,2}([^/?#@\s]+)/([^?#\s]*[^/?#\s])")
_SLASHES = re.compile(r"^(\w+):/{1,2}")
_HERE = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
_CHUNK = 65_536
"""Bytes that are fetched and cached together."""
_CACHED = 512
"""Maximum cached pieces of all files, 32 MiB."""
_RETRY_SECONDS = 10
"""Seconds in which a server that did not give a file is not asked for it again."""
_MOST = 1_000
_HASH = 7
_REASONS = (
    (r"kind: Timeout|timed out", "the server did not answer within {timeout:g} s, at {tries} tries"),
    (r"kind: Connect", "the server cannot be reached"),
    (r"status: 404|NotFound", "the server has no such file (404)"),
    (r"status: 401|Unauthenticated", "the server wants other credentials (401)"),
    (r"status: 403|PermissionDenied", "the server does not allow it (403)"),
    (r"RangeNotSupported|NotSupported", "the server answers no requests for a part (Range)"),
    (r"status: 429", "the server has too many requests (429)"),
    (r"status: (5\d\d)", "the server failed ({0})"),
)


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """How servers are asked: seconds for an answer, tries, seconds that a version is taken for the current one; S3."""

    timeout: float = 10
    tries: int = 3
    refresh: float = 60
    endpoint: str | None = None
    region: str = "us-east-1"
    key: str | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RemoteVersion:
    """What differs where a file on a server does."""

    tag: str
    modified: datetime
    size: int

    @property
    def state(self) -> tuple[int, ...]:
        """Return it as numbers, in the order of those of a local file; the same in each process."""
        digest = blake2b(f"{self.tag}{self.modified}".encode(), digest_size=_HASH).digest()
        return int.from_bytes(digest), 0, int(self.modified.timestamp()) * 1_000_000_000, self.size


@dataclass(slots=True)
class _Known:
    """The last answer about a file: a version, or why there is none, and until when it holds."""

    version: RemoteVersion | None = None
    fault: str = ""
    until: float = 0
    lock: Lock = field(default_factory=Lock)

    def result(self) -> RemoteVersion:
        if self.version is None:
            raise BrokenSource(self.fault)
        return self.version


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is an address; as a `Path` it has one slash after the scheme."""
    return os.fspath(path).startswith(("https:/", "http:/", "s3:/"))


class RemoteFiles:
    """The files of servers: their versions and the pieces that were read."""

    def __init__(self, options: RemoteOptions) -> None:
        self._options = options
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._pieces: OrderedDict[tuple[str, RemoteVersion, int], bytes] = OrderedDict()
        self._lock = Lock()
        self._store = lru_cache(64)(self._new_store)

    def version(self, path: str) -> RemoteVersion:
        """Return the current version, asking the server at most once in `refresh` seconds. Raises BrokenSource."""
        path = _canonical(path)
        known = self._entry(path)
        if time.monotonic() < known.until:
            return known.result()
        if not known.lock.acquire(blocking=known.version is None):
            return known.result()
        try:
            if time.monotonic() >= known.until:
                self._ask(path, known)
        finally:
            known.lock.release()
        return known.result()

    def _ask(self, path: str, known: _Known) -> None:
        try:
            store, key = self._at(path)
            with self._explained(path):
                found = _obstore().head(store, key)
            version = _version(path, found)
            known.version, known.until = version, time.monotonic() + self._options.refresh
        except BrokenSource as error:
            known.version, known.fault, known.until = None, str(error), time.monotonic() + _RETRY_SECONDS

    def _entry(self, path: str) -> _Known:
        with self._lock:
            known = self._known.setdefault(path, _Known())
            self._known.move_to_end(path)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return known

    def read(self, path: str, version: RemoteVersion, begin: int, end: int) -> bytes:
        """Return bytes of a version of a file. Raises BrokenSource, also if the server has another one by now."""
        numbers = range(begin // _CHUNK, -(-min(end, version.size) // _CHUNK))
        with self._lock:
            found = {number: self._pieces.get((path, version, number)) for number in numbers}
        missing = [number for number, piece in found.items() if piece is None]
        if missing:
            first, last = missing[0], missing[-1] + 1
            content = self._fetch(path, version, first * _CHUNK, min(last * _CHUNK, version.size))
            fetched = {number: content[(number - first) * _CHUNK :][:_CHUNK] for number in range(first, last)}
            found |= fetched
            self._keep({(path, version, number): piece for number, piece in fetched.items()})
        whole = b"".join(found[number] or b"" for number in numbers)
        offset = begin - numbers.start * _CHUNK
        return whole[offset : offset + end - begin]

    def _fetch(self, path: str, version: RemoteVersion, begin: int, end: int) -> bytes:
        store, key = self._at(path)
        is_strong = version.tag and not version.tag.startswith("W/")
        options: Any = {"range": (begin, end), **({"if_match": version.tag} if is_strong else {})}
        try:
            with self._explained(path):
                answer = _obstore().get(store, key, options=options)
                content = bytes(answer.bytes())
        except _ReplacedError as error:
            raise self._replaced(path) from error
        meta = answer.meta
        if RemoteVersion(meta["e_tag"] or "", meta["last_modified"], meta["size"]) != version:
            raise self._replaced(path)
        if len(content) != end - begin:
            raise BrokenSource(f"{_name(path)}: the server sent {len(content):,} bytes instead of {end - begin:,}")
        return content

    def _replaced(self, path: str) -> BrokenSource:
        self._entry(path).until = 0
        return BrokenSource(f"{_name(path)} was replaced while it was read")

    def _keep(self, pieces: dict[tuple[str, RemoteVersion, int], bytes]) -> None:
        with self._lock:
            self._pieces.update(pieces)
            while len(self._pieces) > _CACHED:
                self._pieces.popitem(last=False)

    def _at(self, path: str) -> tuple[Any, str]:
        """Return the store of an address and the key in it. Raises BrokenSource."""
        found = _ADDRESS.fullmatch(path)
        if found is None:
            raise BrokenSource(
                "a file on a server is named as https://host/path or s3://bucket/key, without a user or a query"
            )
        scheme, host, key = found.groups()
        if scheme == "http" and not _HERE.fullmatch(host):
            raise BrokenSource(f"{host}: allowed: https; http only on this machine")
        return self._store(scheme, host), unquote(key)

    def _new_store(self, scheme: str, host: str) -> Any:
        from obstore.store import HTTPStore, S3Store  # noqa: PLC0415 - 8 MB, only for those who have such sources

        given = self._options
        pause: Any = {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=2), "base": 2}
        retry: Any = {"max_retries": given.tries - 1, "backoff": pause}
        retry["retry_timeout"] = timedelta(seconds=given.timeout * given.tries)
        client: Any = {"timeout": timedelta(seconds=given.timeout), "connect_timeout": timedelta(seconds=given.timeout)}
        if scheme != "s3":
            client["allow_http"] = scheme == "http"
            return HTTPStore.from_url(f"{scheme}://{host}", client_options=client, retry_config=retry)
        client["allow_http"] = bool(given.endpoint and given.endpoint.startswith("http:"))
        more: dict[str, Any] = {"endpoint": given.endpoint} if given.endpoint else {}
        if given.key:
            more |= {"access_key_id": given.key, "secret_access_key": given.secret}
        else:
            more["skip_signature"] = True
        return S3Store(host, region=given.region, client_options=client, retry_config=retry, **more)

    @contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        """Convert errors of the client; its own words have the body of the answer, and are not passed on."""
        from obstore.exceptions import BaseError, PreconditionError  # noqa: PLC0415 - as above

        try:
            yield
        except PreconditionError as error:
            raise _ReplacedError from error
        except (BaseError, OSError) as error:
            given, said = self._options, f"{type(error).__name__} {error}"
            for pattern, reason in _REASONS:
                if found := re.search(pattern, said):
                    why = reason.format(*found.groups(), timeout=given.timeout, tries=given.tries)
                    raise BrokenSource(f"{_name(path)}: {why}") from None
            raise BrokenSource(f"{_name(path)}: the server's answer cannot be used") from None


class _ReplacedError(Exception):
    """The server has another version of the file."""


class RemoteOpener:
    """Opens one version of a file for rasterio: GDAL sees a file system with this file alone."""

    def __init__(self, files: RemoteFiles, path: str) -> None:
        """Raise BrokenSource if the server has no such file."""
        self.name = path.rsplit("/", 1)[-1]
        self._read = files.read
        self._path = path
        self._version = files.version(path)
        _FAULTS.last = None

    def open(self, path: str, mode: str) -> "_RemoteReader":
        """Open it for reading. Raises FileNotFoundError."""
        if not self.isfile(path) or mode != "rb":
            raise FileNotFoundError(path)
        return _RemoteReader(self, self._version.size)

    def read(self, begin: int, end: int) -> bytes:
        """Return bytes, fewer after an error, which `fault` returns: GDAL's callbacks cannot raise it."""
        try:
            return self._read(self._path, self._version, begin, end)
        except BrokenSource as error:
            _FAULTS.last = str(error)
            return b""

    def isfile(self, path: str) -> bool:
        """Return whether it is the file: not a mask or overviews beside it."""
        return path.rsplit("/", 1)[-1] == self.name

    def isdir(self, path: str) -> bool:
        """Return False: it has no folders."""
        del path
        return False

    def ls(self, path: str) -> list[str]:
        """Return the name of the file."""
        del path
        return [self.name]

    def size(self, path: str) -> int:
        """Return its size in bytes. Raises FileNotFoundError."""
        if not self.isfile(path):
            raise FileNotFoundError(path)
        return self._version.size

    def modified(self, path: str) -> datetime:
        """Return when it was written."""
        del path
        return self._version.modified


class _RemoteReader:
    """A position in a file."""

    def __init__(self, opener: RemoteOpener, size: int) -> None:
        self._opener, self._size, self._position = opener, size, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: there is no connection of its own."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        end = min(self._position + size, self._size)
        content = self._opener.read(self._position, end) if end > self._position else b""
        self._position += len(content)
        return content


_FAULTS = local()
_FILES = [RemoteFiles(RemoteOptions())]


def configure(options: RemoteOptions) -> None:
    """Ask servers in this way from now on, in this process."""
    _FILES[0] = RemoteFiles(options)


def remote_state(path: str) -> tuple[int, ...]:
    """Return the version of a file as numbers, none if the server does not give it."""
    try:
        return _FILES[0].version(path).state
    except BrokenSource:
        return ()


def opener_of(path: str) -> RemoteOpener:
    """Return what opens the current version of a file for rasterio. Raises BrokenSource."""
    return RemoteOpener(_FILES[0], _canonical(path))


def fault() -> str | None:
    """Return why this thread could not read a file that it opened last, or None."""
    return getattr(_FAULTS, "last", None)


def _version(path: str, found: Any) -> RemoteVersion:
    """Return the version that a server tells. Raises BrokenSource without a tag and a time."""
    version = RemoteVersion(found["e_tag"] or "", found["last_modified"], found["size"])
    if not version.tag and not version.modified.timestamp():
        raise BrokenSource(f"{_name(path)}: the server sends neither ETag nor Last-Modified: a new file looks the same")
    return version


def _canonical(path: str) -> str:
    """Return an address with two slashes after the scheme, also of one that was a `Path`."""
    return _SLASHES.sub(r"\1://", path, count=1)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1].split("?", maxsplit=1)[0]


def _obstore() -> Any:
    import obstore  # noqa: PLC0415 - as above

    return obstore
