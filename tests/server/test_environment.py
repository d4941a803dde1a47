from pathlib import Path

import pytest

from server.database import describe_connections, postgres_of
from server.environment import WrongSettings, read_settings, variables


def problems_with(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings) as caught:
        read_settings()
    return caught.value.problems


def test_defaults_serve_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANDCAST_AUTH_OPEN", raising=False)
    monkeypatch.delenv("LANDCAST_STATE_DIR", raising=False)
    settings = read_settings()
    assert settings.server.public_url == "http://127.0.0.1:5000"
    assert not settings.auth.open
    assert settings.state.dir == Path("var")


@pytest.mark.parametrize(
    ("given", "size"),
    [("50G", 50 << 30), ("1.5t", 3 << 39), ("500M", 500 << 20), ("2048k", 2 << 20), ("1048576", 1 << 20)],
)
def test_a_cap_accepts_units(monkeypatch: pytest.MonkeyPatch, given: str, size: int) -> None:
    assert read_settings().results.cap is None
    monkeypatch.setenv("LANDCAST_RESULTS_CAP", given)
    assert read_settings().results.cap == size


def test_every_mistake_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = problems_with(
        monkeypatch, LANDCAST_SERVER_WORKERS="none", LANDCAST_JOBS_RETENTION="0", LANDCAST_SERVRE_BIND="x"
    )
    assert [problem.split(":")[0] for problem in problems] == [
        "LANDCAST_SERVRE_BIND",
        "LANDCAST_SERVER_WORKERS",
        "LANDCAST_JOBS_RETENTION",
    ]


@pytest.mark.parametrize("name", ["WORKERS", "MAIL_TO", "RUNS_NATIONAL_PRODUCT", "TASKS_ECHO"])
def test_variables_of_airflow_tasks_are_accepted(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"LANDCAST_AIRFLOW_{name}", "4")
    read_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LANDCAST_SERVER_BIND", "5000"),
        ("LANDCAST_SERVER_BIND", "a b:5000"),
        ("LANDCAST_SERVER_BIND", "127.0.0.1:65536"),
        ("LANDCAST_SERVER_URL", "example.org"),
        ("LANDCAST_SERVER_URL", "ftp://example.org"),
        ("LANDCAST_SERVER_URL", "https://user@example.org/"),
        ("LANDCAST_SERVER_URL", "https://example.org/?a=b"),
        ("LANDCAST_DATABASE_URL", "mysql://u:p@h/d"),
        ("LANDCAST_DATABASE_URL", "postgresql://host"),
        ("LANDCAST_DATABASE_URL", "postgresql://u:p@ss@host/d"),
        ("LANDCAST_DATABASE_POOL", "1"),
        ("LANDCAST_RESULTS_KEY", "short"),
        ("LANDCAST_RESULTS_LINK_DAYS", "8"),
        ("LANDCAST_RESULTS_CAP", "50 GB"),
        ("LANDCAST_RESULTS_CAP", "-1G"),
        ("LANDCAST_RESULTS_CAP", "0"),
        ("LANDCAST_RESULTS_CAP", "1023K"),
        ("LANDCAST_RESULTS_CAP", "1e9"),
        ("LANDCAST_CALLBACKS_TRIES", "0"),
        ("LANDCAST_CALLBACKS_PAUSE", "0"),
        ("LANDCAST_CALLBACKS_TIMEOUT", "61"),
        ("LANDCAST_CALLBACKS_KEY", "short"),
        ("LANDCAST_CALLBACKS_KEY", "whsec_no base64, however long it may be"),
        ("LANDCAST_MAIL_URL", "http://example.org"),
        ("LANDCAST_MAIL_URL", "smtp://me:secret@example.org:x"),
        ("LANDCAST_MAIL_TO", "nobody"),
        ("LANDCAST_MAIL_TO", "a@example.org, b@example.org"),
        ("LANDCAST_MAIL_SENDER", "a@example.org\r\nBcc: b@example.org"),
        ("LANDCAST_MAIL_TIMEOUT", "0"),
        ("LANDCAST_LOG_LEVEL", "loud"),
        ("LANDCAST_AUTH_OPEN", "perhaps"),
        ("LANDCAST_AUTH_ISSUER", "http://sso.example.org/realms/land"),
        ("LANDCAST_AUTH_ISSUER", "sso.example.org"),
        ("LANDCAST_AUTH_ISSUER", "https://me@sso.example.org/"),
        ("LANDCAST_AUTH_ISSUER", "https://sso.example.org/?realm=land"),
        ("LANDCAST_AUTH_ISSUER", "https://sso.example.org/#"),
        ("LANDCAST_AUTH_AUDIENCE", 'land"cast'),
        ("LANDCAST_AUTH_CLIENT_ID", "land cast"),
        ("LANDCAST_AUTH_CLIENT_SECRET", "short"),
        ("LANDCAST_AUTH_ALGORITHMS", "none"),
        ("LANDCAST_AUTH_ALGORITHMS", "RS256,HS256"),
        ("LANDCAST_AUTH_ALGORITHMS", ","),
        ("LANDCAST_AUTH_TIMEOUT", "0"),
    ],
)
def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    (problem,) = problems_with(monkeypatch, **{name: value})
    assert problem.startswith(f"{name}: ")


def test_an_issuer_is_kept_verbatim(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token's `iss` is compared with it; with an added slash, every token would be refused."""
    monkeypatch.setenv("LANDCAST_AUTH_ISSUER", "https://sso.example.org")
    auth = read_settings().auth
    assert auth.issuer == "https://sso.example.org"
    assert (auth.audience, auth.client_id, auth.algorithms) == ("landcast", "landcast", ("RS256", "ES256"))


def test_an_open_server_has_no_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who sets an issuer expects it to be used."""
    monkeypatch.setenv("LANDCAST_AUTH_OPEN", "yes")
    (problem,) = problems_with(monkeypatch, LANDCAST_AUTH_ISSUER="https://sso.example.org/realms/land")
    assert problem.startswith("LANDCAST_AUTH_ISSUER: not allowed with LANDCAST_AUTH_OPEN=yes")


@pytest.mark.parametrize("written", ["PS256,ES512", "PS256, ES512", "PS256 ES512"])
def test_algorithms_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("LANDCAST_AUTH_ALGORITHMS", written)
    assert read_settings().auth.algorithms == ("PS256", "ES512")


def test_the_secret_of_the_client_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCAST_AUTH_CLIENT_SECRET", "a hidden secret of the client")
    assert "hidden" not in repr(read_settings())
    monkeypatch.setenv("LANDCAST_AUTH_CLIENT_SECRET", "hidden")
    assert "hidden" not in str(problems_with(monkeypatch))


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "0123456789abcdef0123456789abcdef-secret"  # noqa: S105 - made up
    monkeypatch.setenv("LANDCAST_RESULTS_KEY", secret)
    assert secret not in repr(read_settings())
    monkeypatch.setenv("LANDCAST_RESULTS_KEY", secret[:10])
    assert secret[:10] not in str(problems_with(monkeypatch))


def test_a_mail_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCAST_MAIL_URL", "smtp://me:hidden@example.org")
    assert "hidden" not in repr(read_settings())
    monkeypatch.setenv("LANDCAST_MAIL_URL", "smtp://me:hidden@example.org:x")
    assert "hidden" not in str(problems_with(monkeypatch))


def test_the_password_of_the_database_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCAST_DATABASE_URL", "postgresql://me:hidden@example.org/land")
    settings = read_settings()
    assert "hidden" not in repr(settings) + repr(postgres_of(settings)) + describe_connections(settings)
    monkeypatch.setenv("LANDCAST_DATABASE_URL", "postgresql://me:hidden@example.org")
    assert "hidden" not in str(problems_with(monkeypatch))


def test_the_largest_number_of_connections_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SERVER_WORKERS": "4", "DATABASE_POOL": "7", "JOBS_PARALLEL": "2"}.items():
        monkeypatch.setenv(f"LANDCAST_{name}", value)
    assert describe_connections(read_settings()).startswith(
        "at most 44 connections to PostgreSQL: 4 server processes x 7"
    )


def test_public_url_keeps_its_path_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCAST_SERVER_URL", "https://example.org/land/")
    assert read_settings().server.public_url == "https://example.org/land"


def test_proxies_are_networks_and_none_is_trusted_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().server.proxies == ()
    monkeypatch.setenv("LANDCAST_SERVER_PROXIES", "127.0.0.1, 10.0.0.0/8,fd00::/8")
    assert [str(network) for network in read_settings().server.proxies] == ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"]
    for wrong in ("proxy.example.org", "10.0.0.1/8", "10.0.0.0/8,"):
        monkeypatch.setenv("LANDCAST_SERVER_PROXIES", wrong)
        assert any("LANDCAST_SERVER_PROXIES" in problem for problem in problems_with(monkeypatch))


def test_every_setting_is_documented() -> None:
    documented = Path("docs/settings.md").read_text()
    for name, meaning in variables().items():
        assert meaning, name
        assert documented.count(f"\n`{name}` |") == 1, name
        assert meaning.split(". ")[0].rstrip(".") in documented, name
