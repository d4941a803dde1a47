"""Pending logins, in a real database with several processes."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256

import pytest

from auth.logins import PendingLogins
from auth.session import digest, new_secret
from tests.databases import BOTH, IN_A_PROCESS, DatabaseOf

both = pytest.mark.parametrize("database_of", BOTH, indirect=True)
StartProgram = Callable[[str, str], tuple[Callable[[str], None], Callable[[], str]]]


@pytest.fixture
def logins(database_of: DatabaseOf) -> Iterator[PendingLogins]:
    with closing(PendingLogins(database_of())) as store:
        yield store


def count(database_of: DatabaseOf) -> int:
    return int(database_of.run("select count(*) from pending_logins")[0][0])


@both
def test_a_login_is_returned_exactly_once(logins: PendingLogins) -> None:
    """A code and state leaked from a log or a browser's history are useless after their first use."""
    login = logins.begin("/collections?f=html")
    assert logins.take(login.state, login.browser) == login
    assert logins.take(login.state, login.browser) is None


@both
def test_a_login_is_finished_only_in_the_browser_it_was_begun_in(logins: PendingLogins) -> None:
    """Login CSRF: an attacker starts a login, and sends the callback with their code to a victim."""
    attackers, victims = logins.begin("/"), logins.begin("/")
    assert logins.take(attackers.state, victims.browser) is None
    assert logins.take(attackers.state, new_secret()) is None
    assert logins.take(attackers.state, "") is None
    assert logins.take(attackers.state, attackers.state) is None
    assert logins.take(victims.state, victims.browser) == victims


@both
def test_the_challenge_is_that_of_the_verifier(logins: PendingLogins) -> None:
    login = logins.begin("/")
    assert 43 <= len(login.verifier) <= 128
    assert login.challenge == urlsafe_b64encode(sha256(login.verifier.encode()).digest()).decode().rstrip("=")


@both
def test_every_secret_is_unique_and_in_no_repr(logins: PendingLogins) -> None:
    secrets = [secret for _ in range(20) for secret in _secrets(logins)]
    assert len(set(secrets)) == 80
    login = logins.begin("/")
    assert not any(secret in repr(login) for secret in (login.state, login.browser, login.nonce, login.verifier))


def _secrets(logins: PendingLogins) -> tuple[str, ...]:
    login = logins.begin("/")
    return login.state, login.browser, login.nonce, login.verifier


@pytest.mark.parametrize("state", ["", "x" * 43, "\ud800" * 43, "x" * 100_000])
@both
def test_an_invalid_state_is_no_login(logins: PendingLogins, state: str) -> None:
    login = logins.begin("/")
    assert logins.take(state, login.browser) is None


@both
def test_a_login_that_takes_too_long_is_over(logins: PendingLogins, database_of: DatabaseOf) -> None:
    login = logins.begin("/")
    database_of.run("update pending_logins set expires = expires - 600000000")
    assert logins.take(login.state, login.browser) is None
    logins.begin("/")
    assert count(database_of) == 1


@both
def test_unfinished_logins_are_bounded(
    logins: PendingLogins, database_of: DatabaseOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can start a login: a flood of them must neither fill the disk nor prevent new logins."""
    monkeypatch.setattr("auth.logins.MOST", 5)
    begun = [logins.begin("/") for _ in range(12)]
    assert count(database_of) == 5
    assert logins.take(begun[0].state, begun[0].browser) is None
    assert logins.take(begun[-1].state, begun[-1].browser) == begun[-1]


_TAKE = (
    IN_A_PROCESS
    + """from auth.logins import PendingLogins
logins = PendingLogins(database)
print("ready")
for line in sys.stdin:
    print(logins.take(*line.split()) is not None)
"""
)


@both
def test_only_one_of_two_processes_gets_a_login(
    logins: PendingLogins, database_of: DatabaseOf, start_program: StartProgram
) -> None:
    servers = [start_program(_TAKE, database_of.text) for _ in range(3)]
    for _, hear in servers:
        assert hear() == "ready"
    for _ in range(40):
        login = logins.begin("/")
        for tell, _ in servers:
            tell(f"{login.state} {login.browser}")
        assert sorted(hear() for _, hear in servers) == ["False", "False", "True"]


@both
def test_unfinished_logins_are_removed(logins: PendingLogins, database_of: DatabaseOf) -> None:
    logins.begin("/")
    old = logins.begin("/")
    assert logins.sweep() == 0
    database_of.run("update pending_logins set expires = 1 where state = :state", state=digest(old.state))
    assert (logins.sweep(), count(database_of)) == (1, 1)
