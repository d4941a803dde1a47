"""Browser sessions in a real database with several processes."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from auth.identity import ANONYMOUS, Identity
from auth.keys.key import KeyIdentity
from auth.logout_token import Logout
from auth.session import csrf_of
from auth.sessions import IDLE, LIFETIME, Sessions
from sql.connect import connect
from tests.databases import BOTH, IN_A_PROCESS, DatabaseOf

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

both = pytest.mark.parametrize("database_of", BOTH, indirect=True)
HINT = "id.token.x"
BUSY = 40
"""Seconds that a store waits for who writes."""


def logout(jti: str, *, sid: str | None = None, subject: str | None = None) -> Logout:
    return Logout(jti, sid, subject, time.time() + 60)


@pytest.fixture
def sessions(database_of: DatabaseOf) -> Iterator[Sessions]:
    with closing(Sessions(database_of(), busy_seconds=BUSY)) as store:
        yield store


def begin(sessions: Sessions, sid: str = "sid", identity: Identity = ANN) -> str:
    return sessions.create(identity, sid=sid, id_token=HINT)[0]


def change(database: DatabaseOf, assignment: str, value: object = None) -> None:
    database.run(f"update sessions set {assignment}", value=value)  # noqa: S608 # words of the tests


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
    """A cookie that an attacker set before the login is never the session after it."""
    secrets = {begin(sessions) for _ in range(50)}
    assert len(secrets) == 50
    assert {len(secret) for secret in secrets} == {43}


def test_a_stolen_database_contains_no_session_or_form_token(sessions: Sessions, database_of: DatabaseOf) -> None:
    secret = begin(sessions)
    files = [file.read_bytes() for file in Path(database_of.text).parent.iterdir()]
    assert any(HINT.encode() in content for content in files)
    for part in (secret, csrf_of(secret)):
        assert not any(part.encode() in content for content in files)
    session = sessions.get(secret)
    assert session is not None
    assert session.csrf == csrf_of(secret)
    assert session.csrf not in repr(session)
    assert HINT not in repr(session)


@both
def test_each_session_has_its_own_form_token(sessions: Sessions) -> None:
    assert csrf_of(begin(sessions)) != csrf_of(begin(sessions))
    _, session = sessions.create(ANN, sid=None, id_token=None)
    assert session.sent_form(session.csrf)
    for forged in ("", session.csrf[:-1], csrf_of(begin(sessions)), "é" * 43, "\ud800"):
        assert not session.sent_form(forged)


@pytest.mark.parametrize("cookie", ["", "x" * 43, "x" * 42, "x" * 100_000, "\ud800" * 43, "é" * 43, "x" * 43 + "\n"])
@both
def test_an_invalid_cookie_is_no_session(sessions: Sessions, cookie: str) -> None:
    begin(sessions)
    assert sessions.get(cookie) is None
    assert not sessions.delete(cookie)


@both
def test_an_unused_session_ends(sessions: Sessions, database_of: DatabaseOf) -> None:
    secret = begin(sessions)
    change(database_of, "seen = :value", ago(IDLE - timedelta(seconds=5)))
    session = sessions.get(secret)
    assert session is not None
    sessions.touch(secret, session)
    touched = sessions.get(secret)
    assert touched is not None
    assert touched.seen > session.seen
    assert touched.expires == session.expires
    change(database_of, "seen = :value", ago(IDLE))
    assert sessions.get(secret) is None


@both
def test_a_late_use_does_not_revive_an_ended_session(sessions: Sessions, database_of: DatabaseOf) -> None:
    secret = begin(sessions)
    change(database_of, "seen = :value", ago(IDLE + timedelta(seconds=1)))
    [[seen]] = database_of.run("select seen from sessions")
    sessions.touch(secret, replace(sessions.create(ANN, sid=None, id_token=None)[1], seen=_long_ago()))
    assert sessions.get(secret) is None
    assert database_of.run("select min(seen) from sessions")[0][0] == seen


def _long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


@both
def test_a_session_ends_after_its_lifetime_however_it_is_used(sessions: Sessions, database_of: DatabaseOf) -> None:
    secret = begin(sessions)
    change(database_of, "created = 1, expires = :value", ago(timedelta(0)))
    assert sessions.get(secret) is None


@both
def test_use_is_recorded_once_a_minute(sessions: Sessions, database_of: DatabaseOf) -> None:
    secret = begin(sessions)
    for before, written in ((timedelta(seconds=50), False), (timedelta(seconds=61), True)):
        change(database_of, "seen = :value", ago(before))
        session = sessions.get(secret)
        assert session is not None
        sessions.touch(secret, session)
        after = sessions.get(secret)
        assert after is not None
        assert (after.seen > session.seen) == written


def test_a_page_does_not_wait_for_writers(sessions: Sessions, database_of: DatabaseOf) -> None:
    """Storing an order holds the only write lock; reading a page must not need it each time."""
    secret, session = sessions.create(ANN, sid=None, id_token=None)
    with closing(connect(Path(database_of.text))) as writer:
        writer.execute("begin immediate")
        began = time.monotonic()
        sessions.get(secret)
        sessions.touch(secret, session)
        assert time.monotonic() - began < BUSY / 2


@both
def test_a_logout_ends_only_its_session(sessions: Sessions) -> None:
    first, second = begin(sessions), begin(sessions)
    assert sessions.delete(first)
    assert not sessions.delete(first)
    assert sessions.get(first) is None
    assert sessions.get(second) is not None


@both
def test_the_issuer_ends_a_session_of_its_own_or_all_of_a_person(sessions: Sessions) -> None:
    bob = replace(ANN, owner="https://sso.example.org|bob", subject="bob")
    cookies = [begin(sessions, "a"), begin(sessions, "a"), begin(sessions, "b"), begin(sessions, "c", bob)]
    assert sessions.apply_logout(logout("first", sid="a")) == 2
    assert [sessions.get(cookie) is not None for cookie in cookies] == [False, False, True, True]
    assert sessions.apply_logout(logout("second", subject="ann")) == 1
    assert sessions.apply_logout(logout("second", subject="bob")) is None, "a token counts once"
    assert [sessions.get(cookie) is not None for cookie in cookies] == [False, False, False, True]


@both
def test_a_key_is_not_accepted_as_a_session(sessions: Sessions) -> None:
    """A session has all rights of its user, including the creation of keys; a stolen key must not become one."""
    for identity in (KeyIdentity("iss|ann", method="key"), ANONYMOUS):
        with pytest.raises(ValueError, match="signed in"):
            sessions.create(identity, sid=None, id_token=None)


@both
def test_ended_sessions_are_removed(sessions: Sessions, database_of: DatabaseOf) -> None:
    begin(sessions)
    change(database_of, "seen = :value", ago(IDLE))
    kept = begin(sessions)
    assert sessions.sweep() == 1
    assert sessions.get(kept) is not None


_ASK = (
    IN_A_PROCESS
    + """from auth.sessions import Sessions
sessions = Sessions(database)
for line in sys.stdin:
    print(sessions.get(line.strip()) is not None)
"""
)


@both
def test_a_logout_takes_effect_in_all_processes_at_once(
    sessions: Sessions, database_of: DatabaseOf, start_program: StartProgram
) -> None:
    secret = begin(sessions)
    tell, hear = start_program(_ASK, database_of.text)
    tell(secret)
    assert hear() == "True"
    sessions.apply_logout(logout("only", sid="sid"))
    tell(secret)
    assert hear() == "False"
