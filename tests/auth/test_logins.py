"""Logins on their way, against a real database and with several processes on it."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from auth.logins import PendingLogins
from auth.session import digest, new_secret
from sql.connect import connect

StartProgram = Callable[[str, Path], tuple[Callable[[str], None], Callable[[], str]]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.sqlite"


@pytest.fixture
def logins(path: Path) -> Iterator[PendingLogins]:
    with closing(PendingLogins(path)) as store:
        yield store


def count(path: Path) -> int:
    with closing(connect(path)) as connection:
        return int(connection.execute("select count(*) from pending_logins").fetchone()[0])


def test_a_login_comes_back_as_it_was_begun_exactly_once(logins: PendingLogins) -> None:
    """A code and state that leaked from a log or a browser's history are worth nothing after their use."""
    login = logins.begin("/collections?f=html")
    assert logins.take(login.state, login.browser) == login
    assert logins.take(login.state, login.browser) is None


def test_a_login_is_finished_only_in_the_browser_it_was_begun_in(logins: PendingLogins) -> None:
    """Login CSRF: an attacker begins a login, and sends the way back with a code of theirs to a victim."""
    attackers, victims = logins.begin("/"), logins.begin("/")
    assert logins.take(attackers.state, victims.browser) is None
    assert logins.take(attackers.state, new_secret()) is None
    assert logins.take(attackers.state, "") is None
    assert logins.take(attackers.state, attackers.state) is None
    assert logins.take(victims.state, victims.browser) == victims


def test_the_challenge_is_that_of_the_verifier(logins: PendingLogins) -> None:
    login = logins.begin("/")
    assert 43 <= len(login.verifier) <= 128
    assert login.challenge == urlsafe_b64encode(sha256(login.verifier.encode()).digest()).decode().rstrip("=")


def test_every_secret_is_another_and_in_no_repr(logins: PendingLogins) -> None:
    secrets = [secret for _ in range(20) for secret in _secrets(logins)]
    assert len(set(secrets)) == 80
    login = logins.begin("/")
    assert not any(secret in repr(login) for secret in (login.state, login.browser, login.nonce, login.verifier))


def _secrets(logins: PendingLogins) -> tuple[str, ...]:
    login = logins.begin("/")
    return login.state, login.browser, login.nonce, login.verifier


@pytest.mark.parametrize("state", ["", "x" * 43, "\ud800" * 43, "x" * 100_000])
def test_a_state_that_is_none_is_no_login(logins: PendingLogins, state: str) -> None:
    login = logins.begin("/")
    assert logins.take(state, login.browser) is None


def test_a_login_that_takes_too_long_is_over(logins: PendingLogins, path: Path) -> None:
    login = logins.begin("/")
    with closing(connect(path)) as connection:
        connection.execute("update pending_logins set expires = expires - 600000000")
    assert logins.take(login.state, login.browser) is None
    logins.begin("/")
    assert count(path) == 1


def test_logins_that_nobody_comes_back_from_are_bounded(
    logins: PendingLogins, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may begin a login: a flood of them must not fill the disk, nor shut out who begins one now."""
    monkeypatch.setattr("auth.logins.MOST", 5)
    begun = [logins.begin("/") for _ in range(12)]
    assert count(path) == 5
    assert logins.take(begun[0].state, begun[0].browser) is None
    assert logins.take(begun[-1].state, begun[-1].browser) == begun[-1]


_TAKE = """
import sys
from pathlib import Path
from auth.logins import PendingLogins
logins = PendingLogins(Path(sys.argv[1]))
print("ready")
for line in sys.stdin:
    print(logins.take(*line.split()) is not None)
"""


def test_of_two_processes_that_take_one_login_exactly_one_gets_it(
    logins: PendingLogins, path: Path, start_program: StartProgram
) -> None:
    servers = [start_program(_TAKE, path) for _ in range(3)]
    for _, hear in servers:
        assert hear() == "ready"
    for _ in range(40):
        login = logins.begin("/")
        for tell, _ in servers:
            tell(f"{login.state} {login.browser}")
        assert sorted(hear() for _, hear in servers) == ["False", "False", "True"]


def test_what_nobody_came_back_from_is_forgotten(logins: PendingLogins, path: Path) -> None:
    logins.begin("/")
    old = logins.begin("/")
    assert logins.sweep() == 0
    with closing(connect(path)) as connection, connection:
        connection.execute("update pending_logins set expires = 1 where state = ?", (digest(old.state),))
    assert (logins.sweep(), count(path)) == (1, 1)
