"""Who is calling."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

Method = Literal["anonymous", "token", "key", "session", "local"]
"""How a caller is known."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller: `owner` (`iss|sub`) is what an order is stored under, `email` where its news go.

    `scopes`, `roles` and `groups` are words of the issuer as they stand in the token; what they allow is the policy's
    to say. `name` is for people to read and may change: nothing is decided on it.
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
"""The caller who sent no credentials; no token's owner is this word, as those have a `|`."""

LOCAL = Identity("local", method="local")
"""The one caller there is while the server is open."""

current_identity: ContextVar[Identity] = ContextVar("current_identity")
"""The identity of the running request; read unset it is an error, never 'anonymous'."""
