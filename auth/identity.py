"""The caller's identity."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

Method = Literal["anonymous", "token", "key", "session", "local"]
"""How a caller is authenticated."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller: `owner` (`iss|sub`) owns the orders, `email` receives their notifications.

    `scopes`, `roles` and `groups` are copied from the token; the policy decides what they allow. `name` is only for
    display and may change.
    """

    owner: str
    email: str | None = None
    subject: str | None = None
    name: str | None = None
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    method: Method = "anonymous"


ANONYMOUS = Identity("anonymous")
"""A caller without credentials; an owner from a token differs, because it contains a `|`."""

LOCAL = Identity("local", method="local")
"""The only caller while the server is open."""

current_identity: ContextVar[Identity] = ContextVar("current_identity")
"""The identity of the current request. Reading it unset is an error, never 'anonymous'."""
