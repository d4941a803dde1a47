"""The owners of API keys, as a real Keycloak has them."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from keycloak import KeycloakAdmin, KeycloakError

from auth.identity import Identity
from auth.issuer import IssuerUnreachable
from auth.keys.key import KeyScope, Rights, WantedKey
from auth.keys.owners import KeycloakDirectory, Person, confirm_owners, confirming_owners
from auth.keys.store import ApiKeys
from auth.keys.text import InvalidKey
from auth.token_endpoint import Client
from tests.auth.keycloak import Keycloak
from tests.databases import BOTH, DatabaseOf
from tests.ports import free_port

both = pytest.mark.parametrize("database_of", BOTH, indirect=True)
_WRONG = "of nobody at all"
ISSUER = "https://sso.example.org/realms/land"


@pytest.fixture
def keys(database_of: DatabaseOf) -> Iterator[ApiKeys]:
    with closing(ApiKeys(database_of())) as store:
        yield store


@pytest.fixture(scope="module")
def directory(keycloak: Keycloak) -> KeycloakDirectory:
    return directory_of(keycloak)


@pytest.fixture
def person(keycloak: Keycloak, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the id of a user with two roles and a group; the user is removed at the end."""
    group = keycloak.admin("POST", "/groups", {"name": f"makers {time.monotonic_ns()}"})
    path = keycloak.admin("GET", f"/groups/{group}")["path"]
    user = keycloak.add_user(f"owner{abs(hash(request.node.name))}", "user", "gaf", groups=[path])
    yield user
    if any(one["id"] == user for one in keycloak.admin("GET", "/users?max=1000")):
        keycloak.admin("DELETE", f"/users/{user}")
    keycloak.admin("DELETE", f"/groups/{group}")


def directory_of(keycloak: Keycloak, client: str = "landcast-owners", secret: str | None = None) -> KeycloakDirectory:
    secret = keycloak.client(client)["secret"] if secret is None else secret
    return KeycloakDirectory(keycloak.issuer, Client(client, secret), rights_client="landcast", timeout=20)


def identity(keycloak: Keycloak, user: str, *roles: str, groups: frozenset[str] = frozenset()) -> Identity:
    rights = {"roles": frozenset(roles), "groups": groups, "scopes": frozenset({"openid"})}
    return Identity(f"{keycloak.issuer}|{user}", subject=user, method="session", **rights)  # type: ignore[arg-type]


def make(keys: ApiKeys, owner: Identity, scope: KeyScope = "read") -> str:
    return keys.create(owner, WantedKey("at work", scope))[1]


def reason(keys: ApiKeys, text: str) -> str:
    keys._warm.clear()
    with pytest.raises(InvalidKey) as caught:
        keys.identify(text)
    return str(caught.value)


def roles(keys: ApiKeys, text: str) -> frozenset[str]:
    keys._warm.clear()
    return keys.identify(text).roles


@both
def test_keys_of_a_deleted_user_end(
    keys: ApiKeys, keycloak: Keycloak, directory: KeycloakDirectory, person: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    owner = identity(keycloak, person, "user", "gaf")
    own = make(keys, owner)
    operators = keys.create(replace(owner, method="local"), WantedKey("nightly"), maker="operator")[1]
    confirm_owners(keys, directory, keycloak.issuer)
    assert roles(keys, own) == {"user", "gaf"}
    keycloak.admin("DELETE", f"/users/{person}")
    confirm_owners(keys, directory, keycloak.issuer)
    assert reason(keys, own) == "the API key was revoked"
    assert roles(keys, operators) == {"user", "gaf"}
    assert [record.getMessage() for record in caplog.records if record.name == "landcast.audit"] == ["keys revoked"]
    assert keys.owners() == ()


@both
def test_keys_of_a_disabled_user_are_suspended_until_they_are_enabled(
    keys: ApiKeys, keycloak: Keycloak, directory: KeycloakDirectory, person: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    text = make(keys, identity(keycloak, person, "user"))
    keycloak.admin("PUT", f"/users/{person}", {"enabled": False})
    for _ in range(2):
        confirm_owners(keys, directory, keycloak.issuer)
    assert "the API key is suspended" in reason(keys, text)
    assert [record.getMessage() for record in caplog.records if record.name == "landcast.audit"] == ["keys suspended"]
    keycloak.admin("PUT", f"/users/{person}", {"enabled": True})
    confirm_owners(keys, directory, keycloak.issuer)
    assert roles(keys, text) == {"user"}


@both
def test_keys_lose_and_regain_the_rights_of_their_owner(
    keys: ApiKeys, keycloak: Keycloak, directory: KeycloakDirectory, person: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    group = keycloak.admin("GET", f"/users/{person}/groups")[0]
    text = make(keys, identity(keycloak, person, "user", "gaf", groups=frozenset({group["path"]})))
    keycloak.withdraw(person, "gaf")
    keycloak.admin("DELETE", f"/users/{person}/groups/{group['id']}")
    confirm_owners(keys, directory, keycloak.issuer)
    keys._warm.clear()
    less = keys.identify(text)
    assert (set(less.roles), set(less.groups), set(less.scopes)) == ({"user"}, set(), {"openid"})
    keycloak.grant(person, "gaf", "admin")
    keycloak.admin("PUT", f"/users/{person}/groups/{group['id']}")
    confirm_owners(keys, directory, keycloak.issuer)
    keys._warm.clear()
    again = keys.identify(text)
    assert (set(again.roles), set(again.groups)) == ({"user", "gaf"}, {group["path"]})
    lines = [record for record in caplog.records if record.name == "landcast.audit"]
    assert [line.__dict__["rights"] for line in lines] == [
        "roles user; groups none",
        f"roles gaf, user; groups {group['path']}",
    ]


def test_client_roles_count_if_assigned_directly_or_by_a_group(
    keycloak: Keycloak, directory: KeycloakDirectory, person: str
) -> None:
    client = keycloak.client("landcast")["id"]
    group = keycloak.admin("GET", f"/users/{person}/groups")[0]["id"]
    for name in ("surveyor", "editor"):
        keycloak.admin("POST", f"/clients/{client}/roles", {"name": name})
    surveyor, editor = (keycloak.admin("GET", f"/clients/{client}/roles/{name}") for name in ("surveyor", "editor"))
    keycloak.admin("POST", f"/groups/{group}/role-mappings/clients/{client}", [editor])
    found = directory.ask(person)
    assert found is not None
    assert found.rights.roles >= {"user", "gaf", "editor"}
    keycloak.admin("POST", f"/users/{person}/role-mappings/clients/{client}", [surveyor])
    found = directory.ask(person)
    assert found is not None
    assert found.rights.roles >= {"user", "gaf", "editor", "surveyor"}
    for name in ("surveyor", "editor"):
        keycloak.admin("DELETE", f"/clients/{client}/roles/{name}")


@pytest.fixture
def program(keycloak: Keycloak) -> Iterator[str]:
    """Return the id of a program's account with a role."""
    account = keycloak.service_account("landcast-script")
    keycloak.grant(account, "geoville")
    yield account
    keycloak.withdraw(account, "geoville")


@both
def test_a_service_account_is_confirmed_without_a_sign_in(
    keys: ApiKeys, database_of: DatabaseOf, keycloak: Keycloak, directory: KeycloakDirectory, program: str
) -> None:
    text = make(keys, identity(keycloak, program, "geoville"))
    database_of.run("update api_keys set rights_at = 1")
    assert "suspended" in reason(keys, text)
    confirm_owners(keys, directory, keycloak.issuer)
    assert roles(keys, text) == {"geoville"}


@both
def test_keys_are_suspended_but_not_lost_while_keycloak_is_unavailable(
    keys: ApiKeys, database_of: DatabaseOf, keycloak: Keycloak, directory: KeycloakDirectory, person: str
) -> None:
    text = make(keys, identity(keycloak, person, "user"))
    client = Client("landcast-owners", "no secret of anybody")
    away = f"http://127.0.0.1:{free_port()}/realms/landcast"
    for wrong in (
        KeycloakDirectory(away, client, rights_client="landcast", timeout=1),
        directory_of(keycloak, secret=_WRONG),
    ):
        with pytest.raises(IssuerUnreachable):
            wrong.ask(person)
        with pytest.raises(IssuerUnreachable):
            confirm_owners(keys, wrong, keycloak.issuer)
    assert roles(keys, text) == {"user"}
    database_of.run("update api_keys set rights_at = rights_at - 86401000000")
    assert "suspended" in reason(keys, text)
    confirm_owners(keys, directory, keycloak.issuer)
    assert roles(keys, text) == {"user"}


def test_a_service_account_without_the_role_is_reported(keycloak: Keycloak, person: str) -> None:
    with pytest.raises(
        IssuerUnreachable, match=r"403.*landcast-script needs a service account with the role view-users"
    ):
        directory_of(keycloak, "landcast-script").ask(person)
    with pytest.raises(IssuerUnreachable, match="401"):
        directory_of(keycloak, secret=_WRONG).check()
    directory_of(keycloak).check()


def test_the_account_of_the_check_can_only_view_users(keycloak: Keycloak, person: str) -> None:
    directory = directory_of(keycloak)
    client = keycloak.client("landcast")["id"]
    attempts: tuple[Callable[[KeycloakAdmin], object], ...] = (
        lambda admin: admin.update_user(person, {"enabled": False}),
        lambda admin: admin.delete_user(person),
        lambda admin: admin.get_client_secrets(client),
        lambda admin: admin.create_user({"username": "mallory"}),
    )
    for attempt in attempts:
        with pytest.raises(KeycloakError) as caught:
            attempt(directory._connect())
        assert caught.value.response_code in (403, 404)


@pytest.mark.parametrize("subject", ["../clients", "a b", "ä", "?max=1", "%2e%2e", "..", ".", "", "a/b", "\u2026"])
def test_a_subject_cannot_change_the_path(directory: KeycloakDirectory, subject: str) -> None:
    try:
        found = directory.ask(subject)
    except IssuerUnreachable:
        return
    assert found is None


class Scripted:
    """Returns the answers in turn; the last one repeatedly."""

    def __init__(self, *answers: Person | Exception | None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def ask(self, subject: str) -> Person | None:
        self.asked.append(subject)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_owners_of_another_issuer_are_not_asked_for(database_of: DatabaseOf) -> None:
    with closing(ApiKeys(database_of())) as keys:
        text = make(keys, Identity("https://other.example.org|ann", subject="ann", method="session"))
        directory = Scripted(None)
        confirm_owners(keys, directory, ISSUER)
        assert not directory.asked
        keys.identify(text)


def test_a_failing_lookup_of_one_owner_delays_no_other(database_of: DatabaseOf) -> None:
    with closing(ApiKeys(database_of())) as keys:
        texts = [make(keys, Identity(f"{ISSUER}|{name}", subject=name, method="session")) for name in "abcdefg"]
        odd = IssuerUnreachable("Keycloak answers 400")
        directory = Scripted(odd, None, odd, odd, odd)
        with pytest.raises(IssuerUnreachable):
            confirm_owners(keys, directory, ISSUER)
        assert directory.asked == ["a", "b", "c", "d", "e"]
        assert "revoked" in reason(keys, texts[1])
        keys.identify(texts[0])


def test_a_failed_check_is_repeated_and_reported_once(
    database_of: DatabaseOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with closing(ApiKeys(database_of())) as keys:
        text = make(keys, Identity(f"{ISSUER}|ann", subject="ann", roles=frozenset({"user"}), method="session"))
        away = IssuerUnreachable("Keycloak cannot be reached")
        directory = Scripted(away, away, Person(enabled=True, rights=Rights()))
        with confirming_owners(keys, directory, ISSUER, interval=0.05):
            wait(lambda: not roles(keys, text))
        said = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
    assert [line for line in said if "cannot be confirmed" in line] == [
        "the owners of keys cannot be confirmed: Keycloak cannot be reached"
    ]


def test_the_worker_confirms_owners(keycloak: Keycloak, person: str, tmp_path: Path) -> None:
    """Only `landcast work` does it, the process that `serve` starts."""
    with closing(ApiKeys(tmp_path / "orders.sqlite")) as keys:
        text = make(keys, identity(keycloak, person, "user"))
        environment = {
            **os.environ,
            "LANDCAST_STATE_DIR": str(tmp_path),
            "LANDCAST_AUTH_ISSUER": keycloak.issuer,
            "LANDCAST_AUTH_POLICY": "deploy/policy.yml",
            "LANDCAST_AUTH_OWNERS_SECRET": keycloak.client("landcast-owners")["secret"],
            "LANDCAST_AUTH_OWNERS_INTERVAL": "1",
            "LANDCAST_AUTH_TIMEOUT": "20",
        }
        with subprocess.Popen([sys.executable, "-m", "server.cli", "work"], env=environment) as worker:
            keycloak.admin("DELETE", f"/users/{person}")
            wait(lambda: not keys.owners())
            worker.terminate()
        assert reason(keys, text) == "the API key was revoked"


def wait(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.05)
