"""A signed-in browser, and a login that was begun."""

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
    """A session that is good now. `csrf` is what its forms must bring back.

    `identity` is as it was at the login. `sid` is the issuer's name of its session; `id_token` the hint for its logout.
    """

    identity: Identity
    sid: str | None
    id_token: str | None = field(repr=False)
    csrf: str = field(repr=False)
    created: datetime
    seen: datetime
    expires: datetime

    def sent_form(self, csrf: str) -> bool:
        """Say whether a form that brings this back is one that this session was given."""
        return compare_digest(self.csrf.encode("ascii"), csrf.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login on its way: `state`, `nonce` and the PKCE `challenge` go to the issuer, `browser` into a cookie.

    The cookie ties the return to the browser that began, whose logins share it: else an attacker could have a victim
    finish the attacker's own login, and the victim would work in the attacker's account.
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
    """Return 256 random bits as 43 characters that a cookie and an address may hold."""
    return token_urlsafe(32)


def is_secret(text: str) -> bool:
    """Say whether it may be what `new_secret` returned; what is not is never looked up."""
    return _SECRET.fullmatch(text) is not None


def digest(secret: str) -> bytes:
    """Return what is stored of a secret of 256 random bits."""
    return sha256(secret.encode("ascii")).digest()


def csrf_of(secret: str) -> str:
    """Return the secret of a session's forms: derived from the cookie's, so that it is stored nowhere."""
    return _base64(hmac_digest(secret.encode("ascii"), b"csrf", "sha256"))


def _base64(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
