"""A personal API key and its rights."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from auth.identity import Identity

KeyScope = Literal["read", "order"]
"""`read` reads and downloads; `order` also executes processes and dismisses the owner's orders; neither administers."""

KeyState = Literal["active", "expired", "revoked"]

DAYS = 90
"""Default validity of a key in days."""
MOST_DAYS = 365
_LONGEST_NAME = 80


class KeyRefused(Exception):
    """The key is not created; the message gives the caller the reason."""


@dataclass(frozen=True, slots=True)
class KeyIdentity(Identity):
    """A caller with an API key, which can do only what `key_scope` allows, whatever its owner's rights.

    A key cannot create, list or revoke keys, or start a session.
    """

    key_id: str = ""
    key_scope: KeyScope = "read"


@dataclass(frozen=True, slots=True)
class WantedKey:
    """The chosen properties of a new key. Raises KeyRefused for a value that is not allowed."""

    name: str
    scope: KeyScope = "read"
    days: int = DAYS

    def __post_init__(self) -> None:
        if not (self.name.strip() and len(self.name) <= _LONGEST_NAME and self.name.isprintable()):
            raise KeyRefused(f"the name of a key must have 1 to {_LONGEST_NAME} printable characters")
        if self.scope not in ("read", "order"):
            raise KeyRefused("the scope of a key must be read or order")
        if not 1 <= self.days <= MOST_DAYS:
            raise KeyRefused(f"a key must be valid for 1 to {MOST_DAYS} days")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret, which is not stored. `rights` are its current rights."""

    id: str
    name: str
    scope: KeyScope
    rights: "Rights"
    owner: str
    by_operator: bool
    created: datetime
    expires: datetime
    last_used: datetime | None
    revoked: datetime | None

    def state(self, now: datetime) -> KeyState:
        """Return the state of the key at a time."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires <= now else "active"


@dataclass(frozen=True, slots=True)
class Rights:
    """The scopes, roles and groups of a caller."""

    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    def __and__(self, other: "Rights") -> "Rights":
        return Rights(self.scopes & other.scopes, self.roles & other.roles, self.groups & other.groups)


def rights_of(identity: Identity) -> Rights:
    """Return the rights of an identity."""
    return Rights(identity.scopes, identity.roles, identity.groups)
