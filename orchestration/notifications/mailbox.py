"""Mail addresses, and the address of the mail server."""

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

_MAILBOX = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?=[A-Za-z0-9])[A-Za-z0-9.-]{1,252}[A-Za-z0-9]")
_PORTS = {"none": 25, "starttls": 587, "tls": 465}
_FORM = "smtp://user:password@host:port, with ?starttls=yes, or smtps://…"


def is_mailbox(text: str) -> bool:
    """Return whether the text is exactly one mail address, in ASCII."""
    return _MAILBOX.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class MailServer:
    """The mail server and the login for it."""

    host: str
    port: int
    tls: Literal["none", "starttls", "tls"] = "none"
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)


def mail_server(url: str) -> MailServer:
    """Return the server of `smtp://user:password@host:port`. Raises ValueError, without the address in its message."""
    try:
        parts = urlsplit(url)
        port, starttls = parts.port, _starttls(parts)
    except ValueError as error:
        raise ValueError(f"not an address; allowed: {_FORM}") from error
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.path not in {"", "/"} or parts.fragment:
        raise ValueError(f"not an address of a mail server; allowed: {_FORM}")
    if not url.isascii() or not url.isprintable():
        raise ValueError("only visible ASCII characters; others are written as %XX")
    tls: Literal["none", "starttls", "tls"] = "tls" if parts.scheme == "smtps" else starttls
    user = None if parts.username is None else _plain(parts.username)
    return MailServer(parts.hostname, port or _PORTS[tls], tls, user, _plain(parts.password or ""))


def _plain(text: str) -> str:
    plain = unquote(text)
    if not plain.isascii() or not plain.isprintable():
        raise ValueError("user and password must be printable ASCII")
    return plain


def _starttls(parts: SplitResult) -> Literal["none", "starttls"]:
    asked = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    if asked not in ({}, {"starttls": ["yes"]}, {"starttls": ["no"]}):
        raise ValueError
    return "starttls" if asked == {"starttls": ["yes"]} else "none"
