"""The name of one request, in its answer and in every line of the log about it."""

import re
from contextvars import ContextVar
from uuid import uuid4

_SANE = re.compile(r"[A-Za-z0-9._-]{8,64}")

current_request_id: ContextVar[str] = ContextVar("current_request_id")
"""The id of the running request; unset outside of one."""


def choose_request_id(inbound: str | None) -> str:
    """Return the caller's id where it is sane (8 to 64 letters, digits, `._-`), else a new one."""
    return inbound if inbound and _SANE.fullmatch(inbound) else uuid4().hex
