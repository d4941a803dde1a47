"""The personal API keys that there are."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from hmac import compare_digest
from threading import Lock
from time import monotonic
from typing import Any, Literal, override

from auth.database import AccessDatabase
from auth.identity import Identity
from auth.keys import statements
from auth.keys.key import ApiKey, KeyIdentity, KeyRefused, Rights, WantedKey
from auth.keys.rows import identity_of, key_of, values_of
from auth.keys.text import InvalidKey, digest, new_key, read_key
from auth.recent import Recent
from sql.connections import Connection, Place
from sql.times import microseconds, now

WARM_SECONDS = 5
"""For how long another process of the server may still accept a key that was revoked."""
TRUST_SECONDS = 86_400.0
"""Default time that a key works after its owner's rights were last confirmed, by a sign-in or by the issuer."""
MOST_KEYS = 20
"""How many keys that have not ended one owner may have."""
_USES_SECONDS = 60
_WARM_KEYS = 4096
_KEPT_DAYS = 90
"""Days that a key which ended is still listed."""
_NO_HASH = bytes(32)
_UNKNOWN = "there is no such API key, or its secret is another"
_SECOND = 1_000_000
_DAY = timedelta(days=1) // timedelta(microseconds=1)


class Refreshed:
    """Remembers what was written last for each owner, so that a token used all day is not written all day."""

    def __init__(self) -> None:
        self._written: Recent[tuple[str, str], dict[str, Any]] = Recent(_OWNERS)

    def due(self, identity: Identity, issued: int) -> dict[str, Any] | None:
        """Return what is to be written of the identity, None where nothing new is."""
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
        """Note that it was written."""
        self._written.put((identity.owner, identity.method), values)


class ApiKeys(AccessDatabase):
    """Keep API keys in the database at `place`; one of SQLite is made when it is not there.

    Raises AccessUnavailable when the database cannot be read or written: when it is made, or with `lazy` when it is
    used. One object serves many threads; each process of the server has its own.
    """

    def __init__(
        self, place: Place, *, trust_seconds: float = TRUST_SECONDS, busy_seconds: float = 5, lazy: bool = False
    ) -> None:
        super().__init__(place, busy_seconds=busy_seconds, lazy=lazy)
        self._trust = int(trust_seconds * _SECOND)
        self._warm: Recent[bytes, tuple[KeyIdentity, float]] = Recent(_WARM_KEYS)
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
        """Make a key with the rights of the identity; return it and its text, which is nowhere to be had again.

        `rights_at` is when those rights were issued, default now. Raises KeyRefused.
        """
        if identity.method in ("key", "anonymous"):
            raise KeyRefused("a key is made by a person who has signed in, not by another key")
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
                raise KeyRefused(f"an owner has at most {MOST_KEYS} keys: revoke one first")
            return key_of(connection.execute(statements.ADD, values).fetchone()), text.text

    def identify(self, presented: str) -> KeyIdentity:
        """Return whom the whole key stands for. Raises InvalidKey.

        A key that was accepted is accepted without a look into the database for WARM_SECONDS.
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
        """Return the keys of one owner, or all, oldest first; ended ones for some months."""
        with self._reading(owner) as connection:
            return self._of_owner(connection, owner)

    def revoke(self, key_id: str, *, owner: str | None = None) -> bool:
        """End a key, with `owner` only one of theirs; say whether there was one to end.

        It ends at once in this process, in others within WARM_SECONDS.
        """
        return self._end(statements.REVOKE, id=key_id, owner=owner) == 1

    def revoke_all(self, owner: str) -> int:
        """End every key of an owner as `revoke` does; return how many."""
        return self._end(statements.REVOKE_ALL, owner=owner)

    def owners(self) -> tuple[tuple[str, str], ...]:
        """Return owner and subject of everybody who made a key that has not ended."""
        with self._reading() as connection:
            return tuple(
                (row["owner"], row["subject"]) for row in connection.execute(statements.OWNERS, {"now": now()})
            )

    def revoke_own(self, owner: str) -> int:
        """End the keys that an owner made, not those that the operator made for them; return how many."""
        return self._end(statements.REVOKE_OWN, owner=owner)

    def suspend(self, owner: str) -> int:
        """Refuse the keys that an owner made until their rights are confirmed again; return how many it suspends."""
        return self._end(statements.SUSPEND, owner=owner)

    def confirm_rights(self, owner: str, rights: Rights, at: datetime) -> tuple[ApiKey, ...]:
        """Let an owner's keys do what the issuer said at that time; return those that can do something else now.

        Scopes are not compared: the issuer knows them of tokens, not of people.
        """
        said = {"roles": sorted(rights.roles), "groups": sorted(rights.groups)}
        values = {"owner": owner, "email": None, "person": None, "rights": json.dumps(said), "at": microseconds(at)}
        with self._writing(owner) as connection:
            before = {key.id: key.rights for key in self._of_owner(connection, owner)}
            connection.execute(statements.REFRESH.of(self._pool.dialect), values)
            after = self._of_owner(connection, owner)
        return tuple(key for key in after if key.rights != before[key.id])

    def refresh_rights(self, identity: Identity, issued: datetime) -> None:
        """Let the owner's keys do only what the owner still may; call it at every login.

        `issued` is when the issuer said so. A key gets nothing that it had not when it was made. A session's scopes
        are compared too; a token's are those of its program and say nothing of its person. Writes only what is new.
        """
        refreshment = self._refreshed.due(identity, microseconds(issued))
        if refreshment is not None:
            with self._writing(identity.owner) as connection:
                connection.execute(statements.REFRESH.of(self._pool.dialect), refreshment)
            self._refreshed.done(identity, refreshment)

    def write_uses(self, *, at_once: bool = False) -> None:
        """Write when keys were used last, at most once a minute: call it often, in a thread, on no request's path."""
        with self._uses_lock:
            if not self._uses or not (at_once or monotonic() - self._uses_written >= _USES_SECONDS):
                return
            uses, self._uses, self._uses_written = self._uses, {}, monotonic()
        with self._writing() as connection:  # in one order, so that no two processes wait for each other
            connection.executemany(
                statements.USED, [{"id": key_id, "used": used} for key_id, used in sorted(uses.items())]
            )

    def sweep(self) -> int:
        """Forget keys that ended long ago; return how many."""
        with self._writing() as connection:
            return connection.execute(statements.SWEEP, {"before": now() - _KEPT_DAYS * _DAY}).rowcount

    @override
    def close(self) -> None:
        """Write what is not written and give the connections back."""
        try:
            self.write_uses(at_once=True)
        finally:
            super().close()

    def _look_up(self, presented: str, presented_hash: bytes) -> tuple[KeyIdentity, float]:
        """Return whom a key stands for and until when that needs no second look."""
        began = monotonic()
        key_id = read_key(presented).id
        with self._reading() as connection:
            row = connection.execute(statements.GET, {"id": key_id}).fetchone()
        same = compare_digest(_NO_HASH if row is None else row["hash"], presented_hash)
        if row is None or not same:
            raise InvalidKey(_UNKNOWN)
        return identity_of(row), began + min(WARM_SECONDS, _lasting(row, self._trust) / _SECOND)

    @staticmethod
    def _of_owner(connection: Connection, owner: str | None) -> tuple[ApiKey, ...]:
        return tuple(map(key_of, connection.execute(statements.LIST, {"owner": owner})))

    def _end(self, statement: str, **values: Any) -> int:
        with self._writing(values.get("owner")) as connection:
            ended = connection.execute(statement, {"now": now(), **values}).rowcount
        self._warm.clear()
        return ended


def _lasting(row: Mapping[str, Any], trust: int) -> int:
    """Return for how many microseconds yet a key is good. Raises InvalidKey: it ended, or its owner is unconfirmed."""
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
            "the API key is suspended: its owner's rights were not confirmed lately; it works again once they sign in"
        )
    return int(min(row["expires"], stale) - present)


_OWNERS = 4096
_OFTEN = 300 * 1_000_000
"""Microseconds between two writings of the same rights: another process may have written others meanwhile."""


def _changes(identity: Identity) -> str:
    """Return the members of the rights that the identity decides, as a JSON merge patch."""
    changes = {"roles": sorted(identity.roles), "groups": sorted(identity.groups)}
    if identity.method == "session":
        changes["scopes"] = sorted(identity.scopes)
    return json.dumps(changes, separators=(",", ":"))
