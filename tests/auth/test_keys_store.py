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

from auth.database import AccessUnavailable
from auth.identity import ANONYMOUS, Identity
from auth.keys.key import KeyIdentity, KeyRefused, WantedKey
from auth.keys.store import MOST_KEYS, TRUST_SECONDS, ApiKeys
from auth.keys.text import InvalidKey, _checksum, new_key
from auth.keys.throttled import identify_throttled
from auth.throttle import BY_NAME, Throttle, TooManyFailures
from sql.connect import connect
from tests.places import BOTH, IN_A_PROCESS, PlaceOf

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
both = pytest.mark.parametrize("place_of", BOTH, indirect=True)
StartProgram = Callable[[str, str], tuple[Callable[[str], None], Callable[[], str]]]


@pytest.fixture
def keys(place_of: PlaceOf) -> Iterator[ApiKeys]:
    with closing(ApiKeys(place_of())) as store:
        yield store


def change(place: PlaceOf, assignment: str, value: object = None) -> None:
    place.run(f"update api_keys set {assignment}", value=value)  # noqa: S608 # words of the tests


def stored(place: PlaceOf, column: str) -> list[object]:
    return [row[0] for row in place.run(f"select {column} from api_keys")]  # noqa: S608 # likewise


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
def test_a_key_stands_for_its_owner_as_known_by_a_key(keys: ApiKeys) -> None:
    key, text = keys.create(ANN, WantedKey("QGIS", "order"))
    known = keys.identify(text)
    assert known == KeyIdentity(
        ANN.owner, ANN.email, ANN.subject, ANN.name, ANN.scopes, ANN.roles, ANN.groups, "key", key.id, "order"
    )
    assert keys.identify(text) == known


def test_a_key_reads_unless_more_was_wanted() -> None:
    assert KeyIdentity("iss|x").key_scope == WantedKey("x").scope == "read"


@both
def test_a_key_lives_90_days_or_as_wanted(keys: ApiKeys) -> None:
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
def test_what_may_not_be_wanted_is_refused(name: str, scope: Literal["read"], days: int) -> None:
    with pytest.raises(KeyRefused):
        WantedKey(name, scope, days)


def test_who_steals_the_database_has_no_key(keys: ApiKeys, place_of: PlaceOf) -> None:
    """Only a hash is stored; neither the database nor its write-ahead log holds what lets somebody in."""
    _, text = keys.create(ANN, WANTED)
    keys.identify(text)
    files = [file.read_bytes() for file in Path(place_of.text).parent.iterdir()]
    assert any(ANN.owner.encode() in content for content in files)
    for part in (text[place : place + 12] for place in range(16, 54)):
        assert not any(part.encode() in content for content in files)
    assert text[16:] not in repr(keys.list())


@both
def test_an_unknown_id_and_a_wrong_secret_are_not_told_apart(keys: ApiKeys) -> None:
    """Else somebody could find out which ids there are."""
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
def test_a_secret_of_another_key_of_the_same_owner_opens_nothing(keys: ApiKeys) -> None:
    (first, _), (_, text) = keys.create(ANN, WANTED), keys.create(ANN, WANTED)
    reason(keys, _with_checksum(f"lc_{first.id}{text[15:59]}"))


@both
def test_an_expired_key_and_a_revoked_one_say_so_to_their_holder_only(keys: ApiKeys, place_of: PlaceOf) -> None:
    key, text = keys.create(ANN, WANTED)
    change(place_of, "created = 1, expires = :value", micro(seconds=1))
    assert "expired" in reason(keys, text)
    assert keys.revoke(key.id)
    assert "revoked" in reason(keys, text)
    assert "does not exist" in reason(keys, _with_checksum(f"lc_{key.id}{new_key().text[15:59]}"))


@both
def test_a_key_that_is_warm_ends_when_it_expires(keys: ApiKeys, place_of: PlaceOf) -> None:
    _, text = keys.create(ANN, WANTED)
    change(place_of, "expires = :value", micro(seconds=-0.3))
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
keys = ApiKeys(place)
for line in sys.stdin:
    try:
        print(keys.identify(line.strip()).owner)
    except InvalidKey as error:
        print("refused:", error)
"""
)


def test_a_revocation_is_seen_by_another_process_within_the_seconds_that_are_said(
    keys: ApiKeys, place_of: PlaceOf, start_program: StartProgram
) -> None:
    """A stolen key is revoked by the operator's command, while servers hold it warm and are asked all the time."""
    key, text = keys.create(ANN, WANTED)
    tell, hear = start_program(_ASK, place_of.text)
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
def test_a_key_makes_no_key(keys: ApiKeys) -> None:
    """A stolen key would else make others that outlive it."""
    _, text = keys.create(ANN, WANTED)
    for identity in (keys.identify(text), ANONYMOUS):
        with pytest.raises(KeyRefused):
            keys.create(identity, WANTED)


@both
def test_an_owner_has_a_bounded_number_of_keys_that_have_not_ended(keys: ApiKeys) -> None:
    made = [keys.create(ANN, WANTED)[0] for _ in range(MOST_KEYS)]
    with pytest.raises(KeyRefused, match=str(MOST_KEYS)):
        keys.create(ANN, WANTED)
    keys.revoke(made[0].id)
    keys.create(ANN, WANTED)
    keys.create(ANN, WANTED, maker="operator")


def seen(keys: ApiKeys, identity: Identity, text: str, *, issued: datetime | None = None) -> KeyIdentity:
    """Return what a key is worth after its owner was seen."""
    keys.refresh_rights(identity, issued or at())
    keys._warm.clear()
    return keys.identify(text)


@pytest.mark.parametrize("method", ["session", "token"])
@both
def test_a_key_loses_what_its_owner_lost(keys: ApiKeys, method: Literal["session", "token"]) -> None:
    """A person leaves the project: the role is taken at the issuer, the key in their QGIS must not keep it."""
    _, text = keys.create(ANN, WANTED)
    less = replace(ANN, roles=frozenset({"user"}), groups=frozenset(), method=method)
    known = seen(keys, less, text)
    assert (known.roles, known.groups) == (frozenset({"user"}), frozenset())
    assert keys.list()[0].rights.roles == {"user"}
    assert seen(keys, replace(ANN, method=method), text, issued=at(1)).roles == ANN.roles


@both
def test_a_key_gains_nothing_that_it_had_not_when_it_was_made(keys: ApiKeys) -> None:
    """A key given to a program with few rights must not become an administrator's when its owner becomes one."""
    _, text = keys.create(ANN, WANTED)
    more = replace(ANN, roles=ANN.roles | {"admin"}, scopes=ANN.scopes | {"all"})
    known = seen(keys, more, text)
    assert (known.roles, known.scopes) == (ANN.roles, ANN.scopes)


@both
def test_the_scopes_of_a_program_say_nothing_of_its_person(keys: ApiKeys) -> None:
    """QGIS asks with few scopes of its own; the key beside it must go on working. A login here is compared wholly."""
    _, text = keys.create(ANN, WANTED)
    narrow = replace(ANN, scopes=frozenset({"openid"}))
    assert seen(keys, replace(narrow, method="token"), text).scopes == ANN.scopes
    assert seen(keys, narrow, text, issued=at(1)).scopes == {"openid"}


@both
def test_an_old_token_does_not_bring_back_what_was_taken(keys: ApiKeys, place_of: PlaceOf) -> None:
    """A token is valid for minutes after the role is gone; its bearer hurries to use it."""
    _, text = keys.create(ANN, WANTED)
    less = replace(ANN, roles=frozenset({"user"}))
    assert seen(keys, less, text, issued=at(2)).roles == {"user"}
    assert seen(keys, replace(ANN, method="token"), text, issued=at(1)).roles == {"user"}
    another_process = ApiKeys(place_of())
    another_process.refresh_rights(replace(ANN, method="token"), at(1))
    another_process.close()
    assert seen(keys, less, text, issued=at(2)).roles == {"user"}


@both
def test_a_key_does_not_refresh_itself(keys: ApiKeys, place_of: PlaceOf) -> None:
    _, text = keys.create(ANN, WANTED)
    change(place_of, "rights_at = :value", micro(hours=1))
    before = stored(place_of, "rights_at")
    keys.refresh_rights(keys.identify(text), at())
    assert stored(place_of, "rights_at") == before


@both
def test_a_key_whose_owner_is_not_confirmed_is_suspended_until_they_are(keys: ApiKeys, place_of: PlaceOf) -> None:
    """Who was deleted at the issuer never signs in again: their keys end without anybody thinking of them."""
    _, text = keys.create(ANN, WANTED, rights_at=at() - timedelta(seconds=TRUST_SECONDS))
    assert "the API key is suspended" in reason(keys, text)
    with closing(ApiKeys(place_of(), trust_seconds=2 * TRUST_SECONDS)) as patient:
        assert patient.identify(text).roles == ANN.roles
    assert seen(keys, ANN, text).roles == ANN.roles
    change(place_of, "maker = 'operator', rights_at = :value", micro(seconds=TRUST_SECONDS + 60))
    keys._warm.clear()
    assert keys.identify(text).roles == ANN.roles


@both
def test_what_the_operator_gave_is_the_operators_to_take(keys: ApiKeys) -> None:
    _, text = keys.create(replace(ANN, method="local"), WANTED, maker="operator")
    assert seen(keys, replace(ANN, roles=frozenset()), text).roles == ANN.roles


@both
def test_a_token_used_all_day_is_not_written_all_day(keys: ApiKeys, place_of: PlaceOf) -> None:
    keys.create(ANN, WANTED)
    issued = at(1)
    keys.refresh_rights(ANN, issued)
    change(place_of, "rights_at = 1")
    keys.refresh_rights(ANN, issued + timedelta(seconds=200))
    assert stored(place_of, "rights_at") == [1]
    keys.refresh_rights(ANN, issued + timedelta(seconds=301))
    assert stored(place_of, "rights_at") != [1]


@both
def test_a_use_is_noted_later_and_at_most_once_a_minute(
    keys: ApiKeys, place_of: PlaceOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, text = keys.create(ANN, WANTED)
    keys.identify(text)
    keys.write_uses()
    assert stored(place_of, "last_used") == [None]
    late = time.monotonic() + 61
    monkeypatch.setattr("auth.keys.store.monotonic", lambda: late)
    keys.write_uses()
    first = keys.list()[0].last_used
    assert first is not None
    keys.identify(text)
    keys.write_uses()
    assert keys.list()[0].last_used == first


@both
def test_the_last_uses_are_written_when_a_server_ends(place_of: PlaceOf) -> None:
    with closing(ApiKeys(place_of())) as keys:
        keys.identify(keys.create(ANN, WANTED)[1])
    assert stored(place_of, "last_used") != [None]


def test_a_request_with_a_key_waits_for_no_writer(keys: ApiKeys, place_of: PlaceOf) -> None:
    """An order that is being stored holds the one lock for writing; a map must go on."""
    _, text = keys.create(ANN, WANTED)
    with closing(connect(Path(place_of.text))) as writer:
        writer.execute("begin immediate")
        began = time.monotonic()
        keys.identify(text)
        assert time.monotonic() - began < 4


@both
def test_keys_that_ended_long_ago_are_forgotten(keys: ApiKeys, place_of: PlaceOf) -> None:
    keys.create(ANN, WANTED)
    change(place_of, "created = 1, expires = :value", micro(days=89))
    keys.create(ANN, WANTED)
    assert keys.sweep() == 0
    change(place_of, "created = 1, revoked = :value", micro(days=91))
    assert keys.sweep() == 2


def test_a_database_that_is_away_lets_nobody_in_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keys = ApiKeys(tmp_path / "file" / "orders.sqlite", lazy=True)
    throttle, text = Throttle(), new_key().text
    for _ in range(BY_NAME.free + 5):
        with pytest.raises(AccessUnavailable, match="keys and sessions"):
            identify_throttled(keys, throttle, text, address="192.0.2.1")


@both
def test_guesses_at_a_key_are_slowed_and_its_owner_is_not(keys: ApiKeys) -> None:
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
def test_a_hash_that_is_none_is_not_stored(keys: ApiKeys, place_of: PlaceOf) -> None:
    """The hash that an unknown key is compared with is zeros: a row must never hold a short one."""
    keys.create(ANN, WANTED)
    with pytest.raises((sqlite3.IntegrityError, psycopg2.IntegrityError)):
        change(place_of, "hash = :value", b"\0")
