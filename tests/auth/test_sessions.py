"""Browser sessions against a real database, and several processes on it."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from auth.identity import ANONYMOUS, Identity
from auth.keys.key import KeyIdentity
from auth.session import csrf_of
from auth.sessions import IDLE, LIFETIME, Sessions
from sql.connect import connect
from tests.places import BOTH, IN_A_PROCESS, PlaceOf

ANN = Identity(
    "https://sso.example.org|ann",
    email="ann@example.org",
    subject="ann",
    name="Ann",
    scopes=frozenset({"openid"}),
    roles=frozenset({"user", "gaf"}),
    groups=frozenset({"/makers"}),
    method="session",
)
StartProgram = Callable[[str, str], tuple[Callable[[str], None], Callable[[], str]]]

both = pytest.mark.parametrize("place_of", BOTH, indirect=True)
HINT = "id.token.x"


@pytest.fixture
def sessions(place_of: PlaceOf) -> Iterator[Sessions]:
    with closing(Sessions(place_of())) as store:
        yield store


def begin(sessions: Sessions, sid: str = "sid", identity: Identity = ANN) -> str:
    return sessions.create(identity, sid=sid, id_token=HINT)[0]


def change(place: PlaceOf, assignment: str, value: object = None) -> None:
    place.run(f"update sessions set {assignment}", value=value)  # noqa: S608 # words of the tests


def ago(time_ago: timedelta) -> int:
    return int((time.time() - time_ago.total_seconds()) * 1_000_000)


@both
def test_a_session_is_found_by_its_cookie(sessions: Sessions) -> None:
    secret, made = sessions.create(replace(ANN, method="token"), sid="sid", id_token=HINT)
    found = sessions.get(secret)
    assert found == made
    assert found is not None
    assert found.identity == ANN
    assert (found.sid, found.id_token) == ("sid", HINT)
    assert found.expires - found.created == LIFETIME


@both
def test_every_login_has_a_cookie_of_its_own(sessions: Sessions) -> None:
    """What an attacker planted in a browser before the login is never the session after it."""
    secrets = {begin(sessions) for _ in range(50)}
    assert len(secrets) == 50
    assert {len(secret) for secret in secrets} == {43}


def test_who_steals_the_database_has_no_session_and_no_form(sessions: Sessions, place_of: PlaceOf) -> None:
    secret = begin(sessions)
    files = [file.read_bytes() for file in Path(place_of.text).parent.iterdir()]
    assert any(HINT.encode() in content for content in files)
    for part in (secret, csrf_of(secret)):
        assert not any(part.encode() in content for content in files)
    session = sessions.get(secret)
    assert session is not None
    assert session.csrf == csrf_of(secret)
    assert session.csrf not in repr(session)
    assert HINT not in repr(session)


@both
def test_the_secret_of_the_forms_is_the_sessions_own(sessions: Sessions) -> None:
    assert csrf_of(begin(sessions)) != csrf_of(begin(sessions))
    _, session = sessions.create(ANN, sid=None, id_token=None)
    assert session.sent_form(session.csrf)
    for forged in ("", session.csrf[:-1], csrf_of(begin(sessions)), "é" * 43, "\ud800"):
        assert not session.sent_form(forged)


@pytest.mark.parametrize("cookie", ["", "x" * 43, "x" * 42, "x" * 100_000, "\ud800" * 43, "é" * 43, "x" * 43 + "\n"])
@both
def test_a_cookie_that_is_none_is_no_session(sessions: Sessions, cookie: str) -> None:
    begin(sessions)
    assert sessions.get(cookie) is None
    assert not sessions.delete(cookie)


@both
def test_a_session_ends_when_nobody_uses_it(sessions: Sessions, place_of: PlaceOf) -> None:
    secret = begin(sessions)
    change(place_of, "seen = :value", ago(IDLE - timedelta(seconds=5)))
    session = sessions.get(secret)
    assert session is not None
    sessions.touch(secret, session)
    touched = sessions.get(secret)
    assert touched is not None
    assert touched.seen > session.seen
    assert touched.expires == session.expires
    change(place_of, "seen = :value", ago(IDLE))
    assert sessions.get(secret) is None


@both
def test_a_session_that_ended_is_not_brought_back_by_a_late_touch(sessions: Sessions, place_of: PlaceOf) -> None:
    secret = begin(sessions)
    change(place_of, "seen = :value", ago(IDLE + timedelta(seconds=1)))
    [[seen]] = place_of.run("select seen from sessions")
    sessions.touch(secret, replace(sessions.create(ANN, sid=None, id_token=None)[1], seen=_long_ago()))
    assert sessions.get(secret) is None
    assert place_of.run("select min(seen) from sessions")[0][0] == seen


def _long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


@both
def test_a_session_ends_after_its_lifetime_however_it_is_used(sessions: Sessions, place_of: PlaceOf) -> None:
    secret = begin(sessions)
    change(place_of, "created = 1, expires = :value", ago(timedelta(0)))
    assert sessions.get(secret) is None


@both
def test_use_is_written_once_a_minute(sessions: Sessions, place_of: PlaceOf) -> None:
    secret = begin(sessions)
    for before, written in ((timedelta(seconds=50), False), (timedelta(seconds=61), True)):
        change(place_of, "seen = :value", ago(before))
        session = sessions.get(secret)
        assert session is not None
        sessions.touch(secret, session)
        after = sessions.get(secret)
        assert after is not None
        assert (after.seen > session.seen) == written


def test_a_page_waits_for_no_writer(sessions: Sessions, place_of: PlaceOf) -> None:
    """An order that is being stored holds the one lock for writing; reading a page must not need it each time."""
    secret, session = sessions.create(ANN, sid=None, id_token=None)
    with closing(connect(Path(place_of.text))) as writer:
        writer.execute("begin immediate")
        began = time.monotonic()
        sessions.get(secret)
        sessions.touch(secret, session)
        assert time.monotonic() - began < 4


@both
def test_a_logout_ends_the_one_session(sessions: Sessions) -> None:
    first, second = begin(sessions), begin(sessions)
    assert sessions.delete(first)
    assert not sessions.delete(first)
    assert sessions.get(first) is None
    assert sessions.get(second) is not None


@both
def test_the_issuer_ends_a_session_of_its_own_or_all_of_a_person(sessions: Sessions) -> None:
    bob = replace(ANN, owner="https://sso.example.org|bob", subject="bob")
    cookies = [begin(sessions, "a"), begin(sessions, "a"), begin(sessions, "b"), begin(sessions, "c", bob)]
    assert sessions.delete_by_sid("a") == 2
    assert [sessions.get(cookie) is not None for cookie in cookies] == [False, False, True, True]
    assert sessions.delete_by_subject("ann") == 1
    assert [sessions.get(cookie) is not None for cookie in cookies] == [False, False, False, True]


@both
def test_a_key_opens_no_session(sessions: Sessions) -> None:
    """A session may do what a person may, making keys too; a stolen key must not become one."""
    for identity in (KeyIdentity("iss|ann", method="key"), ANONYMOUS):
        with pytest.raises(ValueError, match="signed in"):
            sessions.create(identity, sid=None, id_token=None)


@both
def test_what_has_ended_is_swept(sessions: Sessions, place_of: PlaceOf) -> None:
    begin(sessions)
    change(place_of, "seen = :value", ago(IDLE))
    kept = begin(sessions)
    assert sessions.sweep() == 1
    assert sessions.get(kept) is not None


_ASK = (
    IN_A_PROCESS
    + """from auth.sessions import Sessions
sessions = Sessions(place)
for line in sys.stdin:
    print(sessions.get(line.strip()) is not None)
"""
)


@both
def test_a_logout_in_one_process_is_one_in_all_at_once(
    sessions: Sessions, place_of: PlaceOf, start_program: StartProgram
) -> None:
    secret = begin(sessions)
    tell, hear = start_program(_ASK, place_of.text)
    tell(secret)
    assert hear() == "True"
    sessions.delete_by_sid("sid")
    tell(secret)
    assert hear() == "False"
