"""Settings from a real OpenBao: each login, each kind of secret, each refusal."""

import os
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from server.environment import WrongSettings, read_settings
from server.secrets.errors import SecretMissing, VaultForbidden, VaultUnavailable
from server.secrets.settings import VaultSettings
from server.secrets.vault import Vault
from tests.openbao import OpenBao, start_openbao
from tests.postgres import Postgres

READ = 'path "secret/data/landcast/*" { capabilities = ["read"] }\n'
LEND = 'path "database/*" { capabilities = ["read"] }\npath "sys/leases/revoke" { capabilities = ["update"] }\n'
PASSWORD = "p@ss:/w%rd"  # noqa: S105  made up
KEY = "a-key-that-signs-links-0123456789abcdef"


@pytest.fixture(scope="module")
def openbao() -> Iterator[OpenBao]:
    with start_openbao() as running:
        running.put("landcast/results", key=KEY, days=9, other="x")
        running.put("landcast/database", host="db.example.org", database="land", user="me", password=PASSWORD, port=6)
        running.put("landcast/keycloak", keycloak_url="https://sso.example.org/", realm="land cast")
        running.put("landcast/odd", number=7, truth=True, nothing=None, empty="", list=["a"], nul="a\0b")
        running.put("elsewhere", key=KEY)
        yield running


@pytest.fixture(scope="module")
def approle(openbao: OpenBao) -> dict[str, str]:
    return openbao.approle("reader", READ)


def given(monkeypatch: pytest.MonkeyPatch, *several: dict[str, str], **more: str) -> None:
    for name, value in {name: value for each in (*several, more) for name, value in each.items()}.items():
        monkeypatch.setenv(name, value)


def problems() -> list[str]:
    with pytest.raises(WrongSettings) as caught:
        read_settings()
    return caught.value.problems


def vault(login: dict[str, str], **settings: Any) -> Vault:
    values = {name.removeprefix("LANDCAST_VAULT_").lower(): value for name, value in login.items()}
    return Vault(VaultSettings(**(values | settings)))


def test_any_setting_may_be_in_vault(monkeypatch: pytest.MonkeyPatch, approle: dict[str, str]) -> None:
    given(
        monkeypatch,
        approle,
        LANDCAST_RESULTS_KEY="vault:landcast/results#key",
        LANDCAST_RESULTS_LINK_DAYS="vault:landcast/odd#number",
        LANDCAST_DATABASE_URL="vault:landcast/database",
        LANDCAST_AUTH_ISSUER="vault:landcast/keycloak",
    )
    settings = read_settings()
    assert settings.results.key is not None
    assert settings.results.key.get_secret_value() == KEY
    assert settings.results.link_days == 7
    assert settings.database.url is not None
    assert settings.database.url.get_secret_value() == "postgresql://me:p%40ss%3A%2Fw%25rd@db.example.org:6/land"
    assert settings.auth.issuer == "https://sso.example.org/realms/land%20cast"
    assert settings.live is not None
    assert settings.live.renewer is None
    assert not settings.live.trouble()
    for secret in (KEY, "p%40ss", "p@ss", approle["LANDCAST_VAULT_SECRET_ID"]):
        assert secret not in repr(settings) + str(settings) + repr(settings.live) + repr(settings.live.address.read())


def test_a_login_for_reading_ends_at_once(
    monkeypatch: pytest.MonkeyPatch, openbao: OpenBao, approle: dict[str, str]
) -> None:
    before = openbao.tokens()
    given(monkeypatch, approle, LANDCAST_RESULTS_KEY="vault:landcast/results#key")
    read_settings()
    assert openbao.tokens() == before


def test_every_login_method_can_read_a_secret(
    monkeypatch: pytest.MonkeyPatch, openbao: OpenBao, approle: dict[str, str]
) -> None:
    openbao.ask("POST", "auth/userpass/users/landcast", {"password": "a password", "token_policies": ["reader"]})
    openbao.ask("POST", "sys/auth/people", {"type": "userpass"})
    openbao.ask("POST", "auth/people/users/landcast", {"password": "another", "token_policies": ["reader"]})
    token = openbao.ask("POST", "auth/token/create", {"policies": ["reader"]})["auth"]["client_token"]
    url = {"LANDCAST_VAULT_URL": openbao.url}
    logins = (
        approle,
        url | {"LANDCAST_VAULT_TOKEN": token},
        url | {"LANDCAST_VAULT_USERNAME": "landcast", "LANDCAST_VAULT_PASSWORD": "a password"},
        url
        | {
            "LANDCAST_VAULT_USERNAME": "landcast",
            "LANDCAST_VAULT_PASSWORD": "another",
            "LANDCAST_VAULT_LOGIN_MOUNT": "people",
        },
    )
    for login in logins:
        with monkeypatch.context() as changed:
            given(changed, login, LANDCAST_RESULTS_KEY="vault:landcast/results#key")
            key = read_settings().results.key
            assert key is not None
            assert key.get_secret_value() == KEY
    assert openbao.ask("GET", "auth/token/lookup-self", token=token)["data"]["id"] == token, "it is not ours to revoke"


def test_variables_of_the_vault_program_are_ignored(
    monkeypatch: pytest.MonkeyPatch, openbao: OpenBao, approle: dict[str, str]
) -> None:
    given(
        monkeypatch, approle, VAULT_TOKEN=openbao.root, VAULT_ADDR="http://127.0.0.1:1", HTTP_PROXY="http://127.0.0.1:1"
    )
    with pytest.raises(VaultForbidden, match=r"secret/elsewhere: .* \(403\)"):
        vault(approle).key_values("elsewhere")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LANDCAST_RESULTS_KEY", "vault:elsewhere#key", "secret/elsewhere: Vault forbids it (403)"),
        ("LANDCAST_RESULTS_KEY", "vault:landcast/nothing#key", "secret/landcast/nothing: Vault has no such path (404)"),
        ("LANDCAST_RESULTS_KEY", "vault:landcast/results#none", "none: missing"),
        ("LANDCAST_RESULTS_KEY", "vault:landcast/results", "must name a key, vault:landcast/results#key; only"),
        ("LANDCAST_RESULTS_KEY", "vault:", "must be vault:path#key"),
        ("LANDCAST_RESULTS_KEY", "vault:../sys/raw#key", "must be vault:path#key"),
        ("LANDCAST_RESULTS_KEY", "vault:landcast/../../auth#key", "must be vault:path#key"),
        ("LANDCAST_RESULTS_KEY", "vault:/landcast/results#key", "must be vault:path#key"),
        ("LANDCAST_RESULTS_KEY", "vault:landcast/results?version=1#key", "must be vault:path#key"),
        ("LANDCAST_RESULTS_KEY", "vault:landcast/results#other", "should have at least 32 items"),
        ("LANDCAST_RESULTS_LINK_DAYS", "vault:landcast/results#days", "Input should be less than or equal to 7"),
        ("LANDCAST_MAIL_TO", "vault:landcast/odd#truth", "truth: must be a text or a number"),
        ("LANDCAST_MAIL_TO", "vault:landcast/odd#nothing", "nothing: missing"),
        ("LANDCAST_MAIL_TO", "vault:landcast/odd#empty", "empty: must be a text that is not empty"),
        ("LANDCAST_MAIL_TO", "vault:landcast/odd#list", "list: must be a text that is not empty"),
        ("LANDCAST_MAIL_TO", "vault:landcast/odd#nul", "nul: must be a text that is not empty"),
        ("LANDCAST_DATABASE_URL", "vault:landcast/keycloak", "host: missing"),
        ("LANDCAST_AUTH_ISSUER", "vault:landcast/database", "keycloak_url: missing"),
        ("LANDCAST_VAULT_SECRET_ID", "vault:landcast/results#key", "cannot be in Vault itself"),
    ],
)
def test_an_unavailable_secret_is_named(
    monkeypatch: pytest.MonkeyPatch, approle: dict[str, str], variable: str, value: str, said: str
) -> None:
    given(monkeypatch, approle, **{variable: value})
    (problem,) = problems()
    assert problem.startswith(f"{variable}: ")
    assert said in problem
    assert KEY not in problem


def test_a_deleted_secret_is_unavailable(openbao: OpenBao, approle: dict[str, str]) -> None:
    openbao.put("landcast/old", key=KEY)
    openbao.ask("DELETE", "secret/data/landcast/old")
    with pytest.raises(SecretMissing):
        vault(approle).key_values("landcast/old")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"LANDCAST_VAULT_SECRET_ID": "wrong"}, "the login by AppRole: Vault refuses it (400)"),
        ({"LANDCAST_VAULT_ROLE_ID": "wrong"}, "the login by AppRole: Vault refuses it (400)"),
        ({"LANDCAST_VAULT_LOGIN_MOUNT": "none"}, "the login by AppRole: Vault forbids it (403)"),
        ({"LANDCAST_VAULT_KV": "none"}, "none/landcast/results: Vault forbids it (403)"),
        ({"LANDCAST_VAULT_TOKEN": "x"}, "needs one login, there is token and AppRole"),
        ({"LANDCAST_VAULT_ROLE_ID": ""}, "needs one login, there is none"),
        ({"LANDCAST_VAULT_URL": ""}, "LANDCAST_VAULT_URL: missing, needed for settings in Vault"),
        ({"LANDCAST_VAULT_URL": "http://vault.example.org"}, "LANDCAST_VAULT_URL: must be an https address"),
        ({"LANDCAST_VAULT_URL": "http://127.0.0.1:1"}, "LANDCAST_VAULT_URL: Vault cannot be reached"),
        ({"LANDCAST_VAULT_DATABASE": "database/creds/x"}, "LANDCAST_VAULT_DATABASE: needs LANDCAST_DATABASE_URL"),
    ],
)
def test_invalid_vault_settings_are_named(
    monkeypatch: pytest.MonkeyPatch, approle: dict[str, str], changed: dict[str, str], said: str
) -> None:
    given(monkeypatch, approle, changed, LANDCAST_RESULTS_KEY="vault:landcast/results#key")
    (problem,) = problems()
    assert said in problem
    assert "wrong" not in problem


def test_an_expired_login_is_repeated(openbao: OpenBao) -> None:
    """It is repeated after its expiry and after an early revocation."""
    asking = vault(openbao.approle("brief", READ, ttl="1s", max_ttl="2s"))
    first = asking.log_in().value["token"]
    time.sleep(1.1)
    assert asking.key_values("landcast/results").value["key"] == KEY
    assert asking.login is not None
    second = asking.login.value["token"]
    openbao.ask("POST", "auth/token/revoke", {"token": second})
    assert asking.key_values("landcast/results").value["key"] == KEY
    assert len({first, second, asking.login.value["token"]}) == 3


def test_a_login_is_renewed_as_long_as_it_can_be(openbao: OpenBao) -> None:
    asking = vault(openbao.approle("renewed", READ, ttl="100s", max_ttl="200s"))
    first = asking.log_in()
    assert not first.needs_renewal()
    time.sleep(1)
    renewed = asking.renew_login()
    assert renewed.value == first.value
    assert renewed.expires is not None
    assert first.expires is not None
    assert renewed.expires > first.expires
    asking._login = replace(renewed, seconds=300.0)
    assert asking.renew_login().value != first.value, "it cannot have half of its time again: another login is made"
    asking.log_out()


def test_a_database_user_is_leased_renewed_and_revoked(openbao: OpenBao, postgres: Postgres) -> None:
    url = postgres.migrated()
    vaults = f"vault_{os.getpid()}"
    postgres.run(url, f"create role {vaults} login createrole password 'of-vault'")
    postgres.run(url, f"grant landcast_server to {vaults} with admin option")
    parts = urlsplit(url)
    by_vault = f"postgresql://{vaults}:of-vault@{parts.hostname}:{parts.port}{parts.path}"
    path = openbao.database("lent", by_vault, ttl="60s", max_ttl="90s", thrown_out=False)
    asking = vault(openbao.approle("lender", LEND))
    lent = asking.credentials(path)
    assert 55 < lent.left <= 60
    user, password = lent.value["username"], lent.value["password"]
    theirs = f"postgresql://{user}:{password}@{parts.hostname}:{parts.port}{parts.path}"
    with closing(psycopg2.connect(theirs)) as connection:
        connection.cursor().execute("select count(*) from jobs")
    assert asking.renew(lent).left > lent.left
    asking.revoke(lent)
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(theirs)
    assert password not in repr(lent) + repr(asking)
    asking.log_out()
    postgres.run(url, f"drop role {vaults}")
    postgres.give_back(url)


def test_logging_out_revokes_the_leases(openbao: OpenBao, postgres: Postgres) -> None:
    url = postgres.migrated()
    path = openbao.database("ended", url, ttl="60s", max_ttl="90s")
    asking = vault(openbao.approle("ender", 'path "database/creds/*" { capabilities = ["read"] }'))
    lent = asking.credentials(path)
    with pytest.raises(VaultForbidden):
        asking.revoke(lent)
    assert openbao.leases("ended")
    asking.log_out()
    until = time.monotonic() + 30
    while openbao.leases("ended"):
        assert time.monotonic() < until
        time.sleep(0.1)
    postgres.give_back(url)


def test_a_static_password_is_valid_until_its_rotation(openbao: OpenBao, postgres: Postgres) -> None:
    url = postgres.migrated()
    openbao.database("static", url, ttl="60s", max_ttl="90s")
    with suppress(psycopg2.errors.DuplicateObject):
        postgres.run(url, "create role landcast_static login in role landcast_server")
    role = {"db_name": "static", "username": "landcast_static", "rotation_period": "100s"}
    openbao.ask("POST", "database/static-roles/landcast", role)
    given = vault(openbao.approle("static", LEND)).credentials("database/static-creds/landcast")
    assert given.value["username"] == "landcast_static"
    assert 90 < given.left <= 100
    assert not given.id
    postgres.give_back(url)


def test_a_frozen_and_a_sealed_vault_are_distinguished(openbao: OpenBao, approle: dict[str, str]) -> None:
    asking = vault(approle, timeout=1)
    asking.log_in()
    openbao.freeze()
    try:
        with pytest.raises(VaultUnavailable, match="does not answer in time"):
            asking.key_values("landcast/results")
        with pytest.raises(VaultUnavailable, match="does not answer in time"):
            asking.check()
    finally:
        openbao.thaw()
    openbao.seal()
    try:
        with pytest.raises(VaultUnavailable, match=r"sealed .*\(503\)"):
            asking.key_values("landcast/results")
        with pytest.raises(VaultUnavailable, match=r"sealed .*\(503\)"):
            asking.check()
    finally:
        openbao.unseal()
    asking.check()
    assert asking.key_values("landcast/results").value["key"] == KEY
