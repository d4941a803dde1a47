"""Store of the personal API keys."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from hmac import compare_digest
from threading import Lock
from time import monotonic
from typing import Any, Literal, override

from auth.database import AccessStore
from auth.identity import Identity
from auth.keys import statements
from auth.keys.key import ApiKey, KeyIdentity, KeyRefused, Rights, WantedKey
from auth.keys.rows import identity_of, key_of, values_of
from auth.keys.text import InvalidKey, digest, new_key, read_key
from auth.recent import Recent
from sql.connect import microseconds, now
from sql.connections import Connection, Database

CACHE_SECONDS = 5
"""Seconds for which another server process may still accept a revoked key."""
TRUST_SECONDS = 86_400.0
"""Default seconds that a key works after its owner's rights were last confirmed, by a sign-in or by the issuer."""
MOST_KEYS = 20
"""Maximum number of active keys of an owner."""
_USES_SECONDS = 60
_CACHED_KEYS = 4096
_RETENTION_DAYS = 90
"""Days for which an ended key is still listed."""
_NO_HASH = bytes(32)
_UNKNOWN = "the API key does not exist, or its secret is wrong"
_SECOND = 1_000_000
_DAY = timedelta(days=1) // timedelta(microseconds=1)


class Refreshed:
    """Remembers the rights written last for each owner, so that a token in constant use is not written each time."""

    def __init__(self) -> None:
        self._written: Recent[tuple[str, str], dict[str, Any]] = Recent(_OWNERS)

    def due(self, identity: Identity, issued: int) -> dict[str, Any] | None:
        """Return the values to write for the identity, or None if nothing changed."""
        if identity.method not in ("token", "session"):
            return None
        values = {
            "owner": identity.owner,
            "email": identity.email,
            "person": identity.name,
            "rights": _changes(identity),
            "at": issued,
        }
        last = self._written.get((identity.owner, identity.method))
        if last is not None and last | {"at": issued} == values and issued - last["at"] < _OFTEN:
            return None
        return values

    def done(self, identity: Identity, values: dict[str, Any]) -> None:
        """Record that the values were written."""
        self._written.put((identity.owner, identity.method), values)


class ApiKeys(AccessStore):
    """API keys in `database`; a SQLite file is created if it does not exist.

    Raises AccessUnavailable when the database cannot be read or written: on construction, or with `lazy` on use. One
    object serves many threads; each server process has its own.
    """

    def __init__(
        self, database: Database, *, trust_seconds: float = TRUST_SECONDS, busy_seconds: float = 5, lazy: bool = False
    ) -> None:
        super().__init__(database, busy_seconds=busy_seconds, lazy=lazy)
        self._trust = int(trust_seconds * _SECOND)
        self._warm: Recent[bytes, tuple[KeyIdentity, float]] = Recent(_CACHED_KEYS)
        self._refreshed = Refreshed()
        self._uses: dict[str, int] = {}
        self._uses_lock = Lock()
        self._uses_written = monotonic()

    def create(
        self,
        identity: Identity,
        wanted: WantedKey,
        *,
        maker: Literal["owner", "operator"] = "owner",
        rights_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """Create a key with the rights of the identity; return it and its text, which is not stored.

        `rights_at` is the time of those rights, default now. Raises KeyRefused.
        """
        if identity.method in ("key", "anonymous"):
            raise KeyRefused("only a person who has signed in can create a key, not another key")
        text, present = new_key(), now()
        values = {
            **values_of(identity, wanted),
            "id": text.id,
            "hash": digest(text.text),
            "maker": maker,
            "rights_at": present if rights_at is None else min(present, microseconds(rights_at)),
            "now": present,
            "expires": present + wanted.days * _DAY,
        }
        with self._writing(identity.owner) as connection:
            self._pool.one_at_a_time(connection, identity.owner)
            if maker == "owner" and connection.execute(statements.COUNT, values).fetchone()[0] >= MOST_KEYS:
                raise KeyRefused(f"an owner can have at most {MOST_KEYS} keys: revoke one first")
            return key_of(connection.execute(statements.ADD, values).fetchone()), text.text

    def identify(self, presented: str) -> KeyIdentity:
        """Return the identity of a key. Raises InvalidKey.

        An accepted key is cached for CACHE_SECONDS.
        """
        presented_hash = digest(presented)
        warm = self._warm.get(presented_hash)
        if warm is None or warm[1] <= monotonic():
            warm = self._look_up(presented, presented_hash)
            self._warm.put(presented_hash, warm)
        with self._uses_lock:
            self._uses[warm[0].key_id] = now()
        return warm[0]

    def list(self, owner: str | None = None) -> tuple[ApiKey, ...]:
        """Return the keys of one owner, or all, oldest first; ended keys are included for 90 days."""
        with self._reading(owner) as connection:
            return self._of_owner(connection, owner)

    def revoke(self, key_id: str, *, owner: str | None = None) -> bool:
        """Revoke a key, with `owner` only one of theirs; return whether an unrevoked key was found.

        It takes effect at once in this process, in others within CACHE_SECONDS.
        """
        return self._end(statements.REVOKE, id=key_id, owner=owner) == 1

    def revoke_all(self, owner: str) -> int:
        """Revoke every key of an owner as `revoke` does; return how many."""
        return self._end(statements.REVOKE_ALL, owner=owner)

    def owners(self) -> tuple[tuple[str, str], ...]:
        """Return owner and subject of everybody who created a key that is still active."""
        with self._reading() as connection:
            return tuple(
                (row["owner"], row["subject"]) for row in connection.execute(statements.OWNERS, {"now": now()})
            )

    def revoke_own(self, owner: str) -> int:
        """Revoke the keys that an owner created, not those that the operator created for them; return how many."""
        return self._end(statements.REVOKE_OWN, owner=owner)

    def suspend(self, owner: str) -> int:
        """Suspend the keys that an owner created until their rights are confirmed again; return how many."""
        return self._end(statements.SUSPEND, owner=owner)

    def confirm_rights(self, owner: str, rights: Rights, at: datetime) -> tuple[ApiKey, ...]:
        """Set the rights of an owner's keys to those at the issuer at that time; return the keys that changed.

        Scopes are not compared: they belong to tokens, not to people.
        """
        confirmed = json.dumps({"roles": sorted(rights.roles), "groups": sorted(rights.groups)})
        values = {"owner": owner, "email": None, "person": None, "rights": confirmed, "at": microseconds(at)}
        with self._writing(owner) as connection:
            before = {key.id: key.rights for key in self._of_owner(connection, owner)}
            connection.execute(statements.REFRESH.of(self._pool.dialect), values)
            after = self._of_owner(connection, owner)
        return tuple(key for key in after if key.rights != before[key.id])

    def refresh_rights(self, identity: Identity, issued: datetime) -> None:
        """Restrict the owner's keys to the rights that the owner still has; call it at every login.

        `issued` is the time of those rights. A key never gains a right that it was not created with. A session's scopes
        count too; a token's do not, because they belong to its client. Writes only changes.
        """
        refreshment = self._refreshed.due(identity, microseconds(issued))
        if refreshment is not None:
            with self._writing(identity.owner) as connection:
                connection.execute(statements.REFRESH.of(self._pool.dialect), refreshment)
            self._refreshed.done(identity, refreshment)

    def write_uses(self, *, at_once: bool = False) -> None:
        """Write when keys were last used, at most once a minute; call it often, in a background thread."""
        with self._uses_lock:
            if not self._uses or not (at_once or monotonic() - self._uses_written >= _USES_SECONDS):
                return
            uses, self._uses, self._uses_written = self._uses, {}, monotonic()
        with self._writing() as connection:  # sorted, so that two processes do not deadlock
            connection.executemany(
                statements.USED, [{"id": key_id, "used": used} for key_id, used in sorted(uses.items())]
            )

    def sweep(self) -> int:
        """Delete keys that ended more than 90 days ago; return how many."""
        with self._writing() as connection:
            return connection.execute(statements.SWEEP, {"before": now() - _RETENTION_DAYS * _DAY}).rowcount

    @override
    def close(self) -> None:
        """Write pending uses and close the connections."""
        try:
            self.write_uses(at_once=True)
        finally:
            super().close()

    def _look_up(self, presented: str, presented_hash: bytes) -> tuple[KeyIdentity, float]:
        """Return the identity of a key and when its cache entry expires."""
        began = monotonic()
        key_id = read_key(presented).id
        with self._reading() as connection:
            row = connection.execute(statements.GET, {"id": key_id}).fetchone()
        same = compare_digest(_NO_HASH if row is None else row["hash"], presented_hash)
        if row is None or not same:
            raise InvalidKey(_UNKNOWN)
        return identity_of(row), began + min(CACHE_SECONDS, _remaining(row, self._trust) / _SECOND)

    @staticmethod
    def _of_owner(connection: Connection, owner: str | None) -> tuple[ApiKey, ...]:
        return tuple(map(key_of, connection.execute(statements.LIST, {"owner": owner})))

    def _end(self, statement: str, **values: Any) -> int:
        with self._writing(values.get("owner")) as connection:
            ended = connection.execute(statement, {"now": now(), **values}).rowcount
        self._warm.clear()
        return ended


def _remaining(row: Mapping[str, Any], trust: int) -> int:
    """Return the remaining validity of a key in microseconds. Raises InvalidKey if it ended or is suspended."""
    present = now()
    stale = row["rights_at"] + trust
    if row["revoked"] is not None:
        raise InvalidKey("the API key was revoked")
    if row["expires"] <= present:
        raise InvalidKey("the API key has expired")
    if row["maker"] == "operator":
        return int(row["expires"] - present)
    if stale <= present:
        raise InvalidKey(
            "the API key is suspended: its owner's rights were not confirmed recently; it works again after a sign-in"
        )
    return int(min(row["expires"], stale) - present)


_OWNERS = 4096
_OFTEN = 300 * 1_000_000
"""Microseconds after which unchanged rights are written again: another process may have written others."""


def _changes(identity: Identity) -> str:
    """Return the rights that the identity determines, as a JSON merge patch."""
    changes = {"roles": sorted(identity.roles), "groups": sorted(identity.groups)}
    if identity.method == "session":
        changes["scopes"] = sorted(identity.scopes)
    return json.dumps(changes, separators=(",", ":"))
