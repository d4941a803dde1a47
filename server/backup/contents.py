"""What an archive of the state says of itself, and which names may be in it."""

import re
from dataclasses import dataclass
from datetime import datetime

from pydantic import ConfigDict, TypeAdapter

ABOUT = "about.json"
"""The first member of an archive."""
MANIFEST = "manifest.json"
"""The last one: an archive without it was cut off."""
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
    """The archive is damaged, none of ours, or of a newer program."""


@dataclass(frozen=True, slots=True)
class About:
    """What an archive is: by which program, from which store and schema, when (UTC), of how many bytes."""

    __pydantic_config__ = _STRICT

    format: int
    program: str
    store: str
    schema: int
    taken: datetime
    size: int


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """One file: its bytes, their SHA-256 in hexadecimal, and when it was changed (ns since 1970)."""

    __pydantic_config__ = _STRICT

    name: str
    size: int
    sha256: str
    modified: int


ABOUT_JSON = TypeAdapter(About)
MANIFEST_JSON = TypeAdapter(tuple[ArchivedFile, ...])


@dataclass(frozen=True, slots=True)
class Parts:
    """What goes into a backup beside the orders, the keys and the configuration."""

    results: bool = True
    products: bool = False


def is_name(name: str) -> bool:
    """Say whether a file of that name belongs into an archive: a known one, or one below results or products."""
    return name in _SINGLE or _BELOW.fullmatch(name) is not None


def refuse_foreign(about: About, schema: int) -> None:
    """Raise NotRestorable where this program, which knows the `schema`, cannot read the archive."""
    if about.format != FORMAT:
        raise NotRestorable(f"it has format {about.format}, this program reads {FORMAT}")
    if about.store != STORE:
        raise NotRestorable(f"it is of the store {about.store}, this program restores {STORE}")
    if about.schema > schema:
        raise NotRestorable(
            f"it has schema {about.schema}, this program knows {schema}: install {about.program} or newer"
        )
