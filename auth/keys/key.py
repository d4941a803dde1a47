"""A personal API key and what it allows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from auth.identity import Identity

KeyScope = Literal["read", "order"]
"""`read` sees and downloads; `order` also executes and dismisses the owner's own orders; neither administers."""

KeyState = Literal["active", "expired", "revoked"]

DAYS = 90
"""How long a key lives when nobody says."""
MOST_DAYS = 365
_LONGEST_NAME = 80


class KeyRefused(Exception):
    """A key is not made; the message is the reason, fit for the caller."""


@dataclass(frozen=True, slots=True)
class KeyIdentity(Identity):
    """A caller known by an API key: whatever its owner may, the key does only what `key_scope` names.

    A key never makes, shows or revokes keys, and opens no session.
    """

    key_id: str = ""
    key_scope: KeyScope = "read"


@dataclass(frozen=True, slots=True)
class WantedKey:
    """What the maker of a key chooses. Raises KeyRefused where it may not be so."""

    name: str
    scope: KeyScope = "read"
    days: int = DAYS

    def __post_init__(self) -> None:
        if not (self.name.strip() and len(self.name) <= _LONGEST_NAME and self.name.isprintable()):
            raise KeyRefused(f"the name of a key has 1 to {_LONGEST_NAME} printable characters")
        if self.scope not in ("read", "order"):
            raise KeyRefused("the scope of a key is read or order")
        if not 1 <= self.days <= MOST_DAYS:
            raise KeyRefused(f"a key is valid for 1 to {MOST_DAYS} days")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as lists show it: everything but its secret, which nobody keeps. `rights` is what it can at present."""

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
        """Say how the key stands."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires <= now else "active"


@dataclass(frozen=True, slots=True)
class Rights:
    """The words that a policy grants by."""

    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    def __and__(self, other: "Rights") -> "Rights":
        return Rights(self.scopes & other.scopes, self.roles & other.roles, self.groups & other.groups)


def rights_of(identity: Identity) -> Rights:
    """Return what the identity brings with it."""
    return Rights(identity.scopes, identity.roles, identity.groups)
