"""The search of the logs finds a secret."""

import logging
from pathlib import Path

import pytest

from auth.keys.text import new_key
from auth.session import new_secret
from tests.auth.issuers import FakeIssuer
from tests.leaks import Leaks


@pytest.fixture
def leaks(tmp_path: Path) -> Leaks:
    return Leaks(tmp_path / "own")


@pytest.mark.parametrize("form", ["{}", "GET /?x={}", '{{"message": "tried {}"}}', "before,{},after"])
def test_a_secret_is_found_at_any_position(leaks: Leaks, tmp_path: Path, form: str) -> None:
    secret = new_secret()
    leaks.know(secret)
    (tmp_path / "server.log").write_text(f"all is well\n{form.format(secret)}\n")
    assert leaks.found(tmp_path) == [f"{tmp_path / 'server.log'}: {form.format(secret)}"]
    leaks.close()


def test_a_truncated_secret_is_found(leaks: Leaks, tmp_path: Path) -> None:
    secret = new_secret()
    leaks.know(secret)
    (tmp_path / "log").write_text(f"{secret[:20]}\n{secret[-20:]}\n{secret[:8]}\n")
    assert len(leaks.found(tmp_path)) == 2
    leaks.close()


def test_secrets_made_by_servers_are_recognized_by_their_form(leaks: Leaks, tmp_path: Path, issuer: FakeIssuer) -> None:
    made = (issuer.token(), new_key().text, f"/results/1/a?exp=1&sig={'0a' * 32}", f"__Host-landcast={new_secret()}")
    for secret in made:
        (tmp_path / "server.log").write_text(f"{secret}\n")
        assert len(leaks.found(tmp_path)) == 1, secret
    (tmp_path / "server.log").write_text("GET /results/1/a?exp=1&sig=… 3fa85f64-5717-4562-b3fc-2c963f66afa6\n")
    assert leaks.found(tmp_path) == []
    leaks.close()


def test_lines_of_this_process_are_read_as_those_of_the_server(tmp_path: Path) -> None:
    leaks = Leaks(tmp_path / "process.log")
    secret = new_secret()
    leaks.know(secret)
    leaks.listen()
    logging.getLogger("landcast.audit").info("who", extra={"said": f"token={secret}"})
    assert leaks.found(tmp_path) == []
    logging.getLogger("landcast.audit").info("who", extra={"said": secret})
    assert [secret in line for line in leaks.found(tmp_path)] == [True]
    leaks.close()
