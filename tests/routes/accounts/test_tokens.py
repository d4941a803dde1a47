"""The old API's token endpoints, in front of an issuer of the test; `test_people` asks a real Keycloak."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.routes.people import SECRET, LoginIssuer, browser_of

OLD_FIELDS = [
    "access_token",
    "expires_in",
    "refresh_expires_in",
    "refresh_token",
    "token_type",
    "session_state",
    "scope",
]
TOKEN, LOGOUT = "/protocol/openid-connect/token", "/protocol/openid-connect/logout"
ADA = {"username": "ada", "password": "her password"}


@pytest.fixture
def passwords(make_closed_app: Callable[..., Starlette], login_issuer: LoginIssuer) -> Iterator[TestClient]:
    """Return a client of a server that accepts passwords."""
    with browser_of(make_closed_app(password_grant=True), login_issuer) as browser:
        yield browser.http


def grant(issuer: LoginIssuer) -> None:
    answer: dict[str, Any] = {name: name for name in OLD_FIELDS}
    issuer.answers[TOKEN] = (200, json.dumps({**answer, "id_token": "x", "not-before-policy": 0}).encode())


def test_the_old_fields_are_answered(passwords: TestClient, login_issuer: LoginIssuer) -> None:
    grant(login_issuer)
    for answer in (
        passwords.post("/auth/token", data=ADA),
        passwords.post("/auth/token", data={**ADA, "grant_type": "password", "scope": "openid products"}),
        passwords.post("/auth/refresh", json={"refresh_token": "a-token"}),
    ):
        assert answer.status_code == 200
        assert list(answer.json()) == OLD_FIELDS
        assert answer.headers["cache-control"] == "no-store"
    first, second, third = login_issuer.posted
    assert (first["username"], first["password"], first["client_id"]) == ("ada", "her password", "landcast")
    assert (first["client_secret"], first["scope"], second["scope"]) == (SECRET, "openid", "openid products")
    assert (third["grant_type"], third["refresh_token"], third["client_secret"]) == (
        "refresh_token",
        "a-token",
        SECRET,
    )


def test_passwords_are_refused_unless_the_operator_allows_them(
    make_closed_app: Callable[..., Starlette], login_issuer: LoginIssuer
) -> None:
    with browser_of(make_closed_app(), login_issuer) as browser:
        answer = browser.http.post("/auth/token", data=ADA)
    assert answer.status_code == 403
    detail = answer.json()["detail"]
    assert all(word in detail for word in ("LANDCAST_AUTH_PASSWORD_GRANT", "/auth/account", "client_credentials"))
    assert not login_issuer.posted


def test_a_wrong_password_is_401_and_a_bad_refresh_token_400(passwords: TestClient, login_issuer: LoginIssuer) -> None:
    login_issuer.refuse_token(401, "invalid_grant")
    wrong = passwords.post("/auth/token", data=ADA)
    assert wrong.status_code == 401
    assert wrong.headers["www-authenticate"].startswith("Bearer")
    login_issuer.refuse_token(400, "invalid_grant")
    login_issuer.answers[LOGOUT] = (400, b'{"error": "invalid_grant"}')
    for path in ("refresh", "revoke"):
        answer = passwords.post(f"/auth/{path}", json={"refresh_token": "x"})
        assert (answer.status_code, answer.headers["cache-control"]) == (400, "no-store")


def test_a_session_is_revoked(passwords: TestClient, login_issuer: LoginIssuer) -> None:
    login_issuer.answers[LOGOUT] = (204, b"")
    assert passwords.post("/auth/revoke", json={"refresh_token": "a-token"}).status_code == 204
    assert [posted["refresh_token"] for posted in login_issuer.posted] == ["a-token"]


def test_a_program_gets_a_token_with_its_own_secret(passwords: TestClient, login_issuer: LoginIssuer) -> None:
    grant(login_issuer)
    form = {"grant_type": "client_credentials", "client_id": "landcast-script", "client_secret": "its own secret"}
    assert passwords.post("/auth/token", data=form).status_code == 200
    (posted,) = login_issuer.posted
    assert (posted["client_id"], posted["client_secret"]) == (form["client_id"], form["client_secret"])
    login_issuer.refuse_token(401, "unauthorized_client")
    assert passwords.post("/auth/token", data=form).status_code == 401


def test_our_secret_is_sent_for_no_other_client(passwords: TestClient, login_issuer: LoginIssuer) -> None:
    """Confused deputy: with our secret added, anybody would get a token as the server's client."""
    grant(login_issuer)
    for client in ("landcast", "landcast-script"):
        form = {"grant_type": "client_credentials", "client_id": client}
        assert passwords.post("/auth/token", data=form).status_code == 400
        assert passwords.post("/auth/token", data={**form, "client_secret": ""}).status_code == 400
        passwords.post("/auth/token", data=ADA)
        passwords.post("/auth/token", data={**form, "client_secret": "guessed"})
    assert {posted["client_secret"] for posted in login_issuer.posted} == {SECRET, "guessed"}
    by_clients = {
        posted["client_secret"] for posted in login_issuer.posted if posted["grant_type"] == "client_credentials"
    }
    assert by_clients == {"guessed"}


def test_guessing_is_slowed(passwords: TestClient, login_issuer: LoginIssuer) -> None:
    """Password guessing: after ten failures with one name, the next attempt is not sent to the issuer."""
    login_issuer.refuse_token(401, "invalid_grant")
    answers = [passwords.post("/auth/token", data={**ADA, "password": f"guess {number}"}) for number in range(14)]
    assert [answer.status_code for answer in answers[:11]] == [401] * 11
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert len(login_issuer.posted) < 14


def test_guesses_are_audited_with_the_address_but_not_the_password(
    passwords: TestClient, login_issuer: LoginIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    """Attack: guess passwords, clients and refresh tokens here, without a trace in a log."""
    login_issuer.refuse_token(401, "invalid_grant")
    caplog.set_level("INFO", "landcast.audit")
    for number in range(12):
        passwords.post("/auth/token", data={**ADA, "password": f"guess {number}"})
    passwords.post("/auth/refresh", json={"refresh_token": "guess"})
    lines = [vars(record) for record in caplog.records if record.name == "landcast.audit"]
    assert [(line["action"], line["decision"], line["who"]) for line in lines] == [
        ("bad-credentials", "refused", "unknown")
    ] * 13
    assert all(line["address"] for line in lines)
    assert "too many failed attempts" in lines[11]["reason"]
    assert "guess" not in str(lines)
    assert "ada" not in str([line["reason"] for line in lines])


@pytest.mark.parametrize(
    ("subject", "who"), [("0b1c", "|0b1c"), ("", "unknown"), ("a\nb", "unknown"), (None, "unknown")]
)
def test_the_owner_of_a_refreshed_or_revoked_token_is_audited(
    passwords: TestClient, login_issuer: LoginIssuer, caplog: pytest.LogCaptureFixture, subject: str | None, who: str
) -> None:
    """Attack: use a stolen refresh token unnoticed."""
    grant(login_issuer)
    login_issuer.answers[LOGOUT] = (204, b"")
    caplog.set_level("INFO", "landcast.audit")
    token = login_issuer.sign(login_issuer.claims(sub=subject, typ="Refresh")) if subject is not None else "opaque"
    for path in ("refresh", "revoke"):
        assert passwords.post(f"/auth/{path}", json={"refresh_token": token}).is_success
    lines = [vars(record) for record in caplog.records if record.name == "landcast.audit"]
    assert [line["action"] for line in lines] == ["refresh-token", "revoke-token"]
    assert {line["who"] for line in lines} == {who if who == "unknown" else login_issuer.url + who}
    assert token not in str(lines)


def test_an_unavailable_issuer_does_not_count_as_a_failure(passwords: TestClient, login_issuer: LoginIssuer) -> None:
    for status in (500, 502, 404, 429):
        login_issuer.answers[TOKEN] = (status, b"")
        for _ in range(4):
            answer = passwords.post("/auth/token", data=ADA)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5"), status
    login_issuer.answers[TOKEN] = (200, b"<html>")
    assert passwords.post("/auth/token", data=ADA).status_code == 503
    grant(login_issuer)
    assert passwords.post("/auth/token", data=ADA).status_code == 200


def test_a_misconfigured_client_is_a_server_error(passwords: TestClient, login_issuer: LoginIssuer) -> None:
    for status, error in ((401, "unauthorized_client"), (401, "invalid_client"), (400, "unauthorized_client")):
        login_issuer.refuse_token(status, error)
        answer = passwords.post("/auth/token", data=ADA)
        assert answer.status_code == 503
        assert "not set up" in answer.json()["detail"]


def test_malformed_requests_never_reach_the_issuer(passwords: TestClient, login_issuer: LoginIssuer) -> None:
    for form in (
        {},
        {"username": "ada"},
        {"username": "", "password": "x"},
        {**ADA, "grant_type": "authorization_code"},
        {**ADA, "totp": "1"},
    ):
        assert passwords.post("/auth/token", data={"scope": "", **form}).status_code == 400, form
    assert passwords.post("/auth/token", json=ADA).status_code == 415
    bodies: list[Any] = [{}, {"refresh_token": ""}, {"refresh_token": 1}, {"refresh_token": "x", "more": 1}, []]
    for body in bodies:
        assert passwords.post("/auth/refresh", json=body).status_code == 400, body
    assert passwords.post("/auth/refresh", data={"refresh_token": "x"}).status_code == 415
    assert passwords.get("/auth/token").status_code == 405
    assert not login_issuer.posted
