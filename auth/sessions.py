"""Store of the browser sessions, shared by all server processes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

from auth.database import AccessStore
from auth.identity import Identity
from auth.logout_token import Logout
from auth.session import Session, csrf_of, digest, is_secret, new_secret
from sql.connect import microseconds, now, time_of

LIFETIME = timedelta(hours=8)
"""Maximum duration of a session; nothing extends it."""
IDLE = timedelta(minutes=30)
"""Duration of a session without use."""
_SEEN = timedelta(minutes=1)
"""Minimum interval between two updates of a session's last use."""
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000

_ADD = """
insert into sessions (hash, subject, sid, identity, id_token, created, seen, expires)
values (:hash, :subject, :sid, :identity, :id_token, :now, :now, :expires)
returning *"""
_GET = "select * from sessions where hash = :hash and expires > :now and seen > :idle_since"
_TOUCH = "update sessions set seen = :now where hash = :hash and seen between :idle_since and :seen_before"
_DELETE = "delete from sessions where hash = :hash"
_DELETE_BY_SID = "delete from sessions where sid = :sid"
_DELETE_BY_SUBJECT = "delete from sessions where subject = :subject"
_DELETE_EXPIRED_LOGOUTS = "delete from logout_tokens where until <= :now"
_ADD_LOGOUT = "insert into logout_tokens (jti, until) values (:jti, :until) on conflict do nothing"
_SWEEP = "delete from sessions where expires <= :now or seen <= :idle_since"


class Sessions(AccessStore):
    """Sessions in `database`; a SQLite file is created if it does not exist. Raises AccessUnavailable.

    A session ends LIFETIME after its login, IDLE after its last use, at a logout here, or at a logout that the issuer
    announces. Only the ID token is stored. Rights removed at the issuer without a logout there are removed here at the
    next login.
    """

    def create(self, identity: Identity, *, sid: str | None, id_token: str | None) -> tuple[str, Session]:
        """Start a session; return the secret for its cookie, new at every login, and the session.

        Raises ValueError for a caller who did not sign in, such as one with an API key.
        """
        if identity.method in ("key", "anonymous"):
            raise ValueError(f"a session needs a person who signed in, not a caller authenticated as {identity.method}")
        secret, present = new_secret(), now()
        values = {
            "hash": digest(secret),
            "subject": identity.subject,
            "sid": sid,
            "identity": _encode(replace(identity, method="session")),
            "id_token": id_token,
            "now": present,
            "expires": present + LIFETIME // _MICROSECOND,
        }
        with self._writing() as connection:
            return secret, _session_of(connection.execute(_ADD, values).fetchone(), secret)

    def get(self, secret: str) -> Session | None:
        """Return the session of a cookie, or None if it is unknown, malformed or has ended."""
        if not is_secret(secret):
            return None
        with self._reading() as connection:
            row = connection.execute(_GET, _moments(secret)).fetchone()
        return None if row is None else _session_of(row, secret)

    def touch(self, secret: str, session: Session) -> None:
        """Record that the session is used; writes at most once a minute."""
        if now() - microseconds(session.seen) >= _SEEN // _MICROSECOND:
            self._change(_TOUCH, **_moments(secret))

    def delete(self, secret: str) -> bool:
        """End the session of a cookie in every process at once; return whether there was one."""
        return is_secret(secret) and self._change(_DELETE, hash=digest(secret)) == 1

    def apply_logout(self, logout: Logout) -> int | None:
        """End the sessions that a logout token names; return how many, None for a token that was used before.

        It is one transaction, so the issuer can send a token again after a failure.
        """
        values = {
            "now": now(),
            "jti": sha256(logout.jti.encode()).digest(),
            "until": int(logout.until * _SECOND),
            "sid": logout.sid,
            "subject": logout.subject,
        }
        with self._writing() as connection:
            connection.execute(_DELETE_EXPIRED_LOGOUTS, values)
            if connection.execute(_ADD_LOGOUT, values).rowcount == 0:
                return None
            return connection.execute(_DELETE_BY_SID if logout.sid else _DELETE_BY_SUBJECT, values).rowcount

    def sweep(self) -> int:
        """Delete ended sessions; return how many."""
        return self._change(_SWEEP, **_moments())

    def _change(self, statement: str, **values: Any) -> int:
        with self._writing() as connection:
            return connection.execute(statement, values).rowcount


def _moments(secret: str | None = None) -> dict[str, Any]:
    present = now()
    moments = {
        "now": present,
        "idle_since": present - IDLE // _MICROSECOND,
        "seen_before": present - _SEEN // _MICROSECOND,
    }
    return moments if secret is None else {"hash": digest(secret), **moments}


def _encode(identity: Identity) -> str:
    return json.dumps(asdict(identity), default=sorted)


def _decode(text: str) -> Identity:
    members = json.loads(text)
    rights = {name: frozenset(members[name]) for name in ("scopes", "roles", "groups")}
    return Identity(**(members | rights))


def _session_of(row: Mapping[str, Any], secret: str) -> Session:
    return Session(
        identity=_decode(row["identity"]),
        sid=row["sid"],
        id_token=row["id_token"],
        csrf=csrf_of(secret),
        created=time_of(row["created"]),
        seen=time_of(row["seen"]),
        expires=time_of(row["expires"]),
    )
