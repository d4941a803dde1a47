"""API keys against a real database, and several processes on it."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import psycopg2
import pytest

from auth.authenticate import identify_throttled
from auth.database import AccessUnavailable
from auth.identity import ANONYMOUS, Identity
from auth.keys.key import KeyIdentity, KeyRefused, WantedKey
from auth.keys.store import MOST_KEYS, TRUST_SECONDS, ApiKeys
from auth.keys.text import InvalidKey, _checksum, new_key
from auth.throttle import BY_NAME, Throttle, TooManyFailures
from sql.connect import connect
from tests.databases import BOTH, IN_A_PROCESS, DatabaseOf

ANN = Identity(
    "https://sso.example.org|ann",
    email="ann@example.org",
    subject="ann",
    name="Ann",
    scopes=frozenset({"openid", "order"}),
    roles=frozenset({"user", "gaf"}),
    groups=frozenset({"/makers"}),
    method="session",
)
WANTED = WantedKey("QGIS at work")
both = pytest.mark.parametrize("database_of", BOTH, indirect=True)
StartProgram = Callable[[str, str], tuple[Callable[[str], None], Callable[[], str]]]


@pytest.fixture
def keys(database_of: DatabaseOf) -> Iterator[ApiKeys]:
    with closing(ApiKeys(database_of())) as store:
        yield store


def change(database: DatabaseOf, assignment: str, value: object = None) -> None:
    database.run(f"update api_keys set {assignment}", value=value)  # noqa: S608 # words of the tests


def stored(database: DatabaseOf, column: str) -> list[object]:
    return [row[0] for row in database.run(f"select {column} from api_keys")]  # noqa: S608 # likewise


def micro(**ago: float) -> int:
    return int((time.time() - timedelta(**ago).total_seconds()) * 1_000_000)


def reason(keys: ApiKeys, text: str) -> str:
    with pytest.raises(InvalidKey) as caught:
        keys.identify(text)
    assert text not in str(caught.value)
    return str(caught.value)


def at(minutes: float = 0) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


@both
def test_a_key_identifies_its_owner(keys: ApiKeys) -> None:
    key, text = keys.create(ANN, WantedKey("QGIS", "order"))
    known = keys.identify(text)
    assert known == KeyIdentity(
        ANN.owner, ANN.email, ANN.subject, ANN.name, ANN.scopes, ANN.roles, ANN.groups, "key", key.id, "order"
    )
    assert keys.identify(text) == known


def test_a_key_has_the_scope_read_by_default() -> None:
    assert KeyIdentity("iss|x").key_scope == WantedKey("x").scope == "read"


@both
def test_a_key_is_valid_for_90_days_by_default(keys: ApiKeys) -> None:
    assert timedelta(days=90) == (key := keys.create(ANN, WANTED)[0]).expires - key.created
    assert timedelta(days=365) == (key := keys.create(ANN, WantedKey("x", days=365))[0]).expires - key.created


@pytest.mark.parametrize(
    ("name", "scope", "days"),
    [
        ("", "read", 1),
        (" ", "read", 1),
        ("x" * 81, "read", 1),
        ("a\x1b[2J", "read", 1),
        ("x", "read", 0),
        ("x", "read", 366),
        ("x", "admin", 1),
        ("x", "", 1),
    ],
)
def test_invalid_options_of_a_key_are_refused(name: str, scope: Literal["read"], days: int) -> None:
    with pytest.raises(KeyRefused):
        WantedKey(name, scope, days)


def test_a_stolen_database_contains_no_key(keys: ApiKeys, database_of: DatabaseOf) -> None:
    """Only a hash is stored; neither the database nor its write-ahead log contains a usable secret."""
    _, text = keys.create(ANN, WANTED)
    keys.identify(text)
    files = [file.read_bytes() for file in Path(database_of.text).parent.iterdir()]
    assert any(ANN.owner.encode() in content for content in files)
    for part in (text[database : database + 12] for database in range(16, 54)):
        assert not any(part.encode() in content for content in files)
    assert text[16:] not in repr(keys.list())


@both
def test_an_unknown_id_and_a_wrong_secret_have_the_same_answer(keys: ApiKeys) -> None:
    """Otherwise an attacker could find out which ids exist."""
    key, _ = keys.create(ANN, WANTED)
    other = new_key()
    forged = f"lc_{key.id}{other.text[15:59]}"
    assert reason(keys, other.text) == reason(keys, _with_checksum(forged))


@both
def test_an_unknown_id_costs_what_a_wrong_secret_costs(keys: ApiKeys) -> None:
    key, _ = keys.create(ANN, WANTED)
    times: dict[str, list[float]] = {"unknown": [], "wrong": []}
    for _ in range(300):
        text = new_key().text
        for kind, guess in (("unknown", text), ("wrong", _with_checksum(f"lc_{key.id}{text[15:59]}"))):
            began = time.perf_counter()
            reason(keys, guess)
            times[kind].append(time.perf_counter() - began)
    assert 0.5 < sorted(times["unknown"])[75] / sorted(times["wrong"])[75] < 2


def _with_checksum(body: str) -> str:
    return body + _checksum(body)


@both
def test_the_secret_of_another_key_is_refused(keys: ApiKeys) -> None:
    (first, _), (_, text) = keys.create(ANN, WANTED), keys.create(ANN, WANTED)
    reason(keys, _with_checksum(f"lc_{first.id}{text[15:59]}"))


@both
def test_an_expired_or_revoked_key_is_reported_only_to_its_holder(keys: ApiKeys, database_of: DatabaseOf) -> None:
    key, text = keys.create(ANN, WANTED)
    change(database_of, "created = 1, expires = :value", micro(seconds=1))
    assert "expired" in reason(keys, text)
    assert keys.revoke(key.id)
    assert "revoked" in reason(keys, text)
    assert "does not exist" in reason(keys, _with_checksum(f"lc_{key.id}{new_key().text[15:59]}"))


@both
def test_a_cached_key_ends_when_it_expires(keys: ApiKeys, database_of: DatabaseOf) -> None:
    _, text = keys.create(ANN, WANTED)
    change(database_of, "expires = :value", micro(seconds=-0.3))
    keys.identify(text)
    time.sleep(0.35)
    assert "expired" in reason(keys, text)


@both
def test_a_revoked_key_ends_at_once_in_the_process_that_revoked_it(keys: ApiKeys) -> None:
    key, text = keys.create(ANN, WANTED)
    keys.identify(text)
    assert keys.revoke(key.id)
    reason(keys, text)
    assert not keys.revoke(key.id)


_ASK = (
    IN_A_PROCESS
    + """from auth.keys.store import ApiKeys
from auth.keys.text import InvalidKey
keys = ApiKeys(database)
for line in sys.stdin:
    try:
        print(keys.identify(line.strip()).owner)
    except InvalidKey as error:
        print("refused:", error)
"""
)


def test_a_revocation_reaches_other_processes_within_the_documented_time(
    keys: ApiKeys, database_of: DatabaseOf, start_program: StartProgram
) -> None:
    """The operator revokes a stolen key, while servers have it cached and get requests with it."""
    key, text = keys.create(ANN, WANTED)
    tell, hear = start_program(_ASK, database_of.text)
    tell(text)
    assert hear() == ANN.owner
    keys.revoke(key.id)
    revoked, answer = time.monotonic(), ANN.owner
    while answer == ANN.owner:
        assert time.monotonic() - revoked < 15  # five on an idle machine
        time.sleep(0.05)
        tell(text)
        answer = hear()
    assert answer == "refused: the API key was revoked"


@both
def test_an_owner_revokes_their_own_keys_and_no_other(keys: ApiKeys) -> None:
    key, text = keys.create(ANN, WANTED)
    assert not keys.revoke(key.id, owner="https://sso.example.org|bob")
    assert keys.identify(text).owner == ANN.owner
    keys.create(ANN, WANTED)
    keys.create(replace(ANN, owner="https://sso.example.org|bob"), WANTED)
    assert keys.revoke_all(ANN.owner) == 2
    assert [key.revoked is None for key in keys.list()] == [False, False, True]
    assert {key.owner for key in keys.list(ANN.owner)} == {ANN.owner}


@both
def test_a_key_cannot_create_a_key(keys: ApiKeys) -> None:
    """Otherwise a stolen key could create keys that outlive it."""
    _, text = keys.create(ANN, WANTED)
    for identity in (keys.identify(text), ANONYMOUS):
        with pytest.raises(KeyRefused):
            keys.create(identity, WANTED)


@both
def test_an_owner_has_a_limited_number_of_valid_keys(keys: ApiKeys) -> None:
    made = [keys.create(ANN, WANTED)[0] for _ in range(MOST_KEYS)]
    with pytest.raises(KeyRefused, match=str(MOST_KEYS)):
        keys.create(ANN, WANTED)
    keys.revoke(made[0].id)
    keys.create(ANN, WANTED)
    keys.create(ANN, WANTED, maker="operator")


def seen(keys: ApiKeys, identity: Identity, text: str, *, issued: datetime | None = None) -> KeyIdentity:
    """Return the identity of a key after its owner signed in."""
    keys.refresh_rights(identity, issued or at())
    keys._warm.clear()
    return keys.identify(text)


@pytest.mark.parametrize("method", ["session", "token"])
@both
def test_a_key_loses_what_its_owner_lost(keys: ApiKeys, method: Literal["session", "token"]) -> None:
    """A person leaves the project and loses the role at the issuer; their key in QGIS loses it too."""
    _, text = keys.create(ANN, WANTED)
    less = replace(ANN, roles=frozenset({"user"}), groups=frozenset(), method=method)
    known = seen(keys, less, text)
    assert (known.roles, known.groups) == (frozenset({"user"}), frozenset())
    assert keys.list()[0].rights.roles == {"user"}
    assert seen(keys, replace(ANN, method=method), text, issued=at(1)).roles == ANN.roles


@both
def test_a_key_never_gains_rights(keys: ApiKeys) -> None:
    """A key given to a program with few rights must not become an administrator's when its owner becomes one."""
    _, text = keys.create(ANN, WANTED)
    more = replace(ANN, roles=ANN.roles | {"admin"}, scopes=ANN.scopes | {"all"})
    known = seen(keys, more, text)
    assert (known.roles, known.scopes) == (ANN.roles, ANN.scopes)


@both
def test_a_token_with_fewer_scopes_takes_no_rights_from_a_key(keys: ApiKeys) -> None:
    """QGIS requests few scopes; its user's key keeps its rights. Only a login on our site is compared in full."""
    _, text = keys.create(ANN, WANTED)
    narrow = replace(ANN, scopes=frozenset({"openid"}))
    assert seen(keys, replace(narrow, method="token"), text).scopes == ANN.scopes
    assert seen(keys, narrow, text, issued=at(1)).scopes == {"openid"}


@both
def test_an_old_token_does_not_restore_withdrawn_rights(keys: ApiKeys, database_of: DatabaseOf) -> None:
    """A token is valid for minutes after its role was withdrawn, and could be used in that time."""
    _, text = keys.create(ANN, WANTED)
    less = replace(ANN, roles=frozenset({"user"}))
    assert seen(keys, less, text, issued=at(2)).roles == {"user"}
    assert seen(keys, replace(ANN, method="token"), text, issued=at(1)).roles == {"user"}
    another_process = ApiKeys(database_of())
    another_process.refresh_rights(replace(ANN, method="token"), at(1))
    another_process.close()
    assert seen(keys, less, text, issued=at(2)).roles == {"user"}


@both
def test_a_key_does_not_renew_its_own_trust(keys: ApiKeys, database_of: DatabaseOf) -> None:
    _, text = keys.create(ANN, WANTED)
    change(database_of, "rights_at = :value", micro(hours=1))
    before = stored(database_of, "rights_at")
    keys.refresh_rights(keys.identify(text), at())
    assert stored(database_of, "rights_at") == before


@both
def test_a_key_is_suspended_until_its_owner_is_confirmed(keys: ApiKeys, database_of: DatabaseOf) -> None:
    """A user deleted at the issuer never signs in again: their keys end without an administrator's action."""
    _, text = keys.create(ANN, WANTED, rights_at=at() - timedelta(seconds=TRUST_SECONDS))
    assert "the API key is suspended" in reason(keys, text)
    with closing(ApiKeys(database_of(), trust_seconds=2 * TRUST_SECONDS)) as patient:
        assert patient.identify(text).roles == ANN.roles
    assert seen(keys, ANN, text).roles == ANN.roles
    change(database_of, "maker = 'operator', rights_at = :value", micro(seconds=TRUST_SECONDS + 60))
    keys._warm.clear()
    assert keys.identify(text).roles == ANN.roles


@both
def test_rights_granted_by_the_operator_are_only_withdrawn_by_them(keys: ApiKeys) -> None:
    _, text = keys.create(replace(ANN, method="local"), WANTED, maker="operator")
    assert seen(keys, replace(ANN, roles=frozenset()), text).roles == ANN.roles


@both
def test_repeated_use_of_a_token_causes_few_writes(keys: ApiKeys, database_of: DatabaseOf) -> None:
    keys.create(ANN, WANTED)
    issued = at(1)
    keys.refresh_rights(ANN, issued)
    change(database_of, "rights_at = 1")
    keys.refresh_rights(ANN, issued + timedelta(seconds=200))
    assert stored(database_of, "rights_at") == [1]
    keys.refresh_rights(ANN, issued + timedelta(seconds=301))
    assert stored(database_of, "rights_at") != [1]


@both
def test_a_use_is_recorded_later_and_at_most_once_a_minute(
    keys: ApiKeys, database_of: DatabaseOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, text = keys.create(ANN, WANTED)
    keys.identify(text)
    keys.write_uses()
    assert stored(database_of, "last_used") == [None]
    late = time.monotonic() + 61
    monkeypatch.setattr("auth.keys.store.monotonic", lambda: late)
    keys.write_uses()
    first = keys.list()[0].last_used
    assert first is not None
    keys.identify(text)
    keys.write_uses()
    assert keys.list()[0].last_used == first


@both
def test_the_last_uses_are_written_when_a_server_ends(database_of: DatabaseOf) -> None:
    with closing(ApiKeys(database_of())) as keys:
        keys.identify(keys.create(ANN, WANTED)[1])
    assert stored(database_of, "last_used") != [None]


def test_a_request_with_a_key_does_not_wait_for_writers(database_of: DatabaseOf) -> None:
    """Storing an order holds the only write lock; a map request must not wait for it."""
    with closing(ApiKeys(database_of(), busy_seconds=60)) as keys:
        _, text = keys.create(ANN, WANTED)
        with closing(connect(Path(database_of.text))) as writer:
            writer.execute("begin immediate")
            began = time.monotonic()
            keys.identify(text)
            assert time.monotonic() - began < 30


@both
def test_long_ended_keys_are_removed(keys: ApiKeys, database_of: DatabaseOf) -> None:
    keys.create(ANN, WANTED)
    change(database_of, "created = 1, expires = :value", micro(days=89))
    keys.create(ANN, WANTED)
    assert keys.sweep() == 0
    change(database_of, "created = 1, revoked = :value", micro(days=91))
    assert keys.sweep() == 2


def test_an_unavailable_database_refuses_every_key_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keys = ApiKeys(tmp_path / "file" / "orders.sqlite", lazy=True)
    throttle, text = Throttle(), new_key().text
    for _ in range(BY_NAME.free + 5):
        with pytest.raises(AccessUnavailable, match="keys and sessions"):
            identify_throttled(keys, throttle, text, address="192.0.2.1")


@both
def test_guesses_of_a_key_are_slowed_but_not_its_owner(keys: ApiKeys) -> None:
    key, text = keys.create(ANN, WANTED)
    throttle = Throttle()
    identify_throttled(keys, throttle, text, address="203.0.113.9")
    for _ in range(BY_NAME.free + 1):
        guess = _with_checksum(f"lc_{key.id}{new_key().text[15:59]}")
        with pytest.raises(InvalidKey):
            identify_throttled(keys, throttle, guess, address="203.0.113.9")
    with pytest.raises(TooManyFailures):
        identify_throttled(keys, throttle, guess, address="203.0.113.9")
    for address in ("203.0.113.9", "192.0.2.1"):
        assert identify_throttled(keys, throttle, text, address=address).owner == ANN.owner


@both
def test_an_invalid_hash_is_not_stored(keys: ApiKeys, database_of: DatabaseOf) -> None:
    """An unknown key is compared with a hash of zeros, so no row may have a shorter one."""
    keys.create(ANN, WANTED)
    with pytest.raises((sqlite3.IntegrityError, psycopg2.IntegrityError)):
        change(database_of, "hash = :value", b"\0")
