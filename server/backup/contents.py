"""The format of a backup archive: its metadata and the names it may contain."""

import re
from dataclasses import dataclass
from datetime import datetime

from pydantic import ConfigDict, TypeAdapter

ABOUT = "about.json"
"""The first member of an archive."""
MANIFEST = "manifest.json"
"""The last member; an archive without it is truncated."""
DATABASE = "orders.sqlite"
KEYS = ("results.key", "callbacks.key")
CONFIGURATION = "configuration.yml"
RESULTS = "results"
PRODUCTS = "products"

FORMAT = 1
STORE = "sqlite"
_STRICT = ConfigDict(extra="forbid")
_SINGLE = frozenset({DATABASE, CONFIGURATION, *KEYS})
_BELOW = re.compile(rf"({RESULTS}|{PRODUCTS})(/(?!\.{{1,2}}(/|$))[^/\0]+)+")


class NotRestorable(Exception):
    """The archive is damaged, not of this program, or of a newer version."""


@dataclass(frozen=True, slots=True)
class About:
    """Metadata of an archive: program, store and schema, time (UTC), size in bytes."""

    __pydantic_config__ = _STRICT

    format: int
    program: str
    store: str
    schema: int
    taken: datetime
    size: int


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """One file: size in bytes, SHA-256 in hexadecimal, modification time (ns since 1970)."""

    __pydantic_config__ = _STRICT

    name: str
    size: int
    sha256: str
    modified: int


ABOUT_JSON = TypeAdapter(About)
MANIFEST_JSON = TypeAdapter(tuple[ArchivedFile, ...])


@dataclass(frozen=True, slots=True)
class Parts:
    """The optional parts of a backup; orders, keys and configuration are always included."""

    results: bool = True
    products: bool = False


def is_name(name: str) -> bool:
    """Return whether an archive may contain this name: a known file, or one below results or products."""
    return name in _SINGLE or _BELOW.fullmatch(name) is not None


def refuse_foreign(about: About, schema: int) -> None:
    """Raise NotRestorable if this program, with the given schema, cannot read the archive."""
    if about.format != FORMAT:
        raise NotRestorable(f"has format {about.format}, this program reads {FORMAT}")
    if about.store != STORE:
        raise NotRestorable(f"has the store {about.store}, this program restores {STORE}")
    if about.schema > schema:
        raise NotRestorable(f"has schema {about.schema}, this program knows {schema}: install {about.program} or newer")
