"""A session of a signed-in browser, and a pending login."""

import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from secrets import token_urlsafe

from auth.identity import Identity

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Session:
    """An active session. `csrf` is the token that its forms must send.

    `identity` is as of the login. `sid` is the issuer's session id; `id_token` is the hint for the issuer's logout.
    """

    identity: Identity
    sid: str | None
    id_token: str | None = field(repr=False)
    csrf: str = field(repr=False)
    created: datetime
    seen: datetime
    expires: datetime

    def sent_form(self, csrf: str) -> bool:
        """Return whether the CSRF token of a form is this session's."""
        return compare_digest(self.csrf.encode("ascii"), csrf.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login in progress: `state`, `nonce` and the PKCE `challenge` go to the issuer, `browser` into a cookie.

    The cookie, shared by all logins of a browser, binds the callback to the browser that began. Without it an attacker
    could make a victim finish the attacker's login and work in the attacker's account.
    """

    return_to: str
    state: str = field(repr=False)
    browser: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)

    @property
    def challenge(self) -> str:
        """The challenge of the verifier, method S256 (RFC 7636, 4.2)."""
        return _base64(sha256(self.verifier.encode("ascii")).digest())


def new_secret() -> str:
    """Return 256 random bits as 43 characters that are safe in cookies and URLs."""
    return token_urlsafe(32)


def is_secret(text: str) -> bool:
    """Return whether the text has the format of `new_secret`."""
    return _SECRET.fullmatch(text) is not None


def digest(secret: str) -> bytes:
    """Return the hash of a secret that is stored."""
    return sha256(secret.encode("ascii")).digest()


def csrf_of(secret: str) -> str:
    """Return a session's CSRF token, derived from its secret and therefore not stored."""
    return _base64(hmac_digest(secret.encode("ascii"), b"csrf", "sha256"))


def _base64(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
