"""`landcast keys` with a real database."""

import json
import os
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auth.keys.store import ApiKeys
from auth.keys.text import InvalidKey
from server.cli import main

ANN = "https://sso.example.org|ann"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def keys(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["keys", *arguments])


def test_a_new_key_authenticates_with_its_options(state: Path) -> None:
    made = keys("create", "--owner", ANN, "--name", "QGIS", "--role", "gaf", "--role", "user", "--email", "a@b.org")
    assert made.exit_code == 0, made.stderr
    with closing(ApiKeys(state / "orders.sqlite")) as store:
        known = store.identify(made.stdout.strip())
    assert (known.owner, known.subject, known.email) == (ANN, "ann", "a@b.org")
    assert (known.roles, known.key_scope, known.method) == (frozenset({"gaf", "user"}), "read", "key")


def test_keys_are_listed_without_their_secrets() -> None:
    text = keys("create", "--owner", ANN, "--name", "QGIS", "--scope", "order", "--days", "7").stdout.strip()
    table = keys("list").stdout
    document = keys("list", "--json", "--owner", ANN).stdout
    assert text[3:15] in table
    assert text[15:] not in table + document
    (shown,) = json.loads(document)
    assert (shown["id"], shown["owner"], shown["scope"], shown["state"]) == (text[3:15], ANN, "order", "active")
    assert json.loads(keys("list", "--json", "--owner", "nobody").stdout) == []


def test_a_key_is_revoked_by_its_id_or_with_all_of_its_owner(state: Path) -> None:
    first, second = (keys("create", "--owner", ANN, "--name", "x").stdout.strip() for _ in range(2))
    assert keys("revoke", first[3:15]).stdout == "1 revoked\n"
    assert keys("revoke", "--owner", ANN).stdout == "1 revoked\n"
    for text in (first, second):
        with closing(ApiKeys(state / "orders.sqlite")) as store, pytest.raises(InvalidKey, match="revoked"):
            store.identify(text)
    again = keys("revoke", first[3:15])
    assert again.exit_code == 1
    assert "no key to revoke" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["create", "--owner", "ann", "--name", "x"], "iss|sub"),
        (["create", "--owner", ANN, "--name", ""], "1 to 80 printable"),
        (["create", "--owner", ANN, "--name", "x", "--scope", "admin"], "'admin' is not one of"),
        (["create", "--owner", ANN, "--name", "x", "--days", "366"], "1<=x<=365"),
        (["revoke"], "give either the ID of a key"),
        (["revoke", "x", "--owner", ANN], "give either the ID of a key"),
    ],
)
def test_each_mistake_has_a_clear_message(arguments: list[str], expected: str) -> None:
    refused = keys(*arguments)
    assert refused.exit_code != 0
    assert expected in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unknown_role_is_refused_with_the_known_ones(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text("roles: [admin, mapper]\ngrants: {}\n")
    monkeypatch.setenv("LANDCAST_AUTH_POLICY", str(policy))
    refused = keys("create", "--owner", ANN, "--name", "x", "--role", "amdin", "--role", "mapper")
    assert refused.exit_code == 2
    assert "'amdin' is not a role of" in refused.stderr
    assert "allowed: admin, mapper" in refused.stderr
    assert not state.exists()
    assert keys("create", "--owner", ANN, "--name", "x", "--role", "mapper").exit_code == 0
    policy.write_text("roles: 5")
    refused = keys("create", "--owner", ANN, "--name", "x", "--role", "mapper")
    assert (refused.exit_code, "roles: 5 is neither" in refused.stderr) == (1, True)


def test_listing_creates_no_database(state: Path) -> None:
    for arguments in (["list"], ["revoke", "x"]):
        refused = keys(*arguments)
        assert refused.exit_code == 1
        assert "orders.sqlite does not exist" in refused.stderr
    assert not state.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave a file that the server's user cannot open")
def test_root_makes_no_database_that_the_server_cannot_open(state: Path) -> None:
    state.mkdir()
    os.chown(state, 65534, 65534)
    refused = keys("create", "--owner", ANN, "--name", "x")
    assert (refused.exit_code, "run this as that user, not as root" in refused.stderr) == (1, True)
    assert list(state.iterdir()) == []
