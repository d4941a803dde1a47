"""Who is calling."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller: `owner` is what an order is stored under, `email` where its news go."""

    owner: str
    email: str | None = None


LOCAL = Identity("local")
"""The one caller there is while the server is open."""

current_identity: ContextVar[Identity] = ContextVar("current_identity")
"""The identity of the running request; read unset it is an error, never 'anonymous'."""
