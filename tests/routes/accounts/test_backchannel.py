"""The issuer reports the end of a session (OpenID Connect Back-Channel Logout 1.0)."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from httpx2 import Response
from starlette.applications import Starlette

from tests.auth.issuers import rsa_key, signed
from tests.routes.people import EVENT, SECRET, Browser, LoginIssuer, another, browser_of

FORGED: list[dict[str, Any]] = [
    {"iss": "https://evil.example/realms/land"},
    {"iss": None},
    {"aud": "landcast-qgis"},
    {"aud": None},
    {"iat": None},
    {"iat": time.time() + 3600},
    {"iat": time.time() - 3600, "exp": time.time() + 3600},
    {"iat": True},
    {"exp": 1},
    {"exp": None},
    {"jti": None},
    {"jti": ""},
    {"events": None},
    {"events": {}},
    {"events": [EVENT]},
    {"events": {EVENT: True}},
    {"events": {"http://schemas.openid.net/event/other": {}}},
    {"sid": None, "sub": None},
    {"sid": 1, "sub": None},
    {"nonce": "a-nonce"},
    {"typ": "ID"},
    {"typ": "Bearer"},
]


def tell(browser: Browser, token: str, **more: str) -> Response:
    """Notify the server like the issuer, without a cookie."""
    return another(browser).http.post("/land/auth/backchannel-logout", data={"logout_token": token, **more})


def test_a_session_that_ended_at_the_issuer_ends_here(browser: Browser) -> None:
    browser.sign_in()
    neighbour = another(browser)
    neighbour.sign_in(sid="session-2")
    answer = tell(browser, browser.issuer.logout_token(), client_id="what is unknown is passed over")
    assert (answer.status_code, answer.headers["cache-control"], answer.content) == (200, "no-store", b"")
    assert not browser.is_signed_in()
    assert neighbour.is_signed_in()


def test_a_logout_without_a_session_id_ends_all_sessions_of_the_user(browser: Browser) -> None:
    browser.sign_in()
    second, other = another(browser), another(browser)
    second.sign_in(sid="session-2")
    other.sign_in(sid="session-3", sub="bob", access={"sub": "bob"})
    assert tell(browser, browser.issuer.logout_token(sid=None)).status_code == 200
    assert (browser.is_signed_in(), second.is_signed_in(), other.is_signed_in()) == (False, False, True)


def test_a_session_that_is_unknown_here_is_no_error(browser: Browser) -> None:
    assert tell(browser, browser.issuer.logout_token(sid="never-seen")).status_code == 200


def test_a_forged_logout_token_is_refused(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """Denial of service: an attacker with forged logout tokens would keep everybody signed out."""
    caplog.set_level("INFO", "landcast.audit")
    browser.sign_in()
    for changed in FORGED:
        answer = tell(browser, browser.issuer.logout_token(**changed))
        assert answer.status_code == 400, changed
        assert answer.headers["cache-control"] == "no-store"
        assert browser.is_signed_in(), changed
    lines = [vars(record) for record in caplog.records if record.name == "landcast.audit"]
    assert [line["decision"] for line in lines if line["action"] == "back-channel-logout"] == ["refused"] * len(FORGED)


def test_another_kind_of_token_is_refused_for_logout(browser: Browser) -> None:
    """An ID token or an access token of the person, which programs have, is signed by the same key."""
    browser.sign_in()
    issuer = browser.issuer
    access_token = issuer.token()
    tokens = {
        "access token": access_token,
        "ID token": issuer.sign(issuer.id_claims("n", access_token)),
        "header of another kind": issuer.logout_token({"typ": "at+jwt"}),
        "another key": signed(issuer.claims(typ="Logout", events={EVENT: {}}, jti="j"), rsa_key(), kid="first"),
        "no signature": signed(issuer.claims(events={EVENT: {}}, jti="j"), None, algorithm="none", kid="first"),  # type: ignore[arg-type]  # forged
        "nothing": "",
        "no token": "a.b.c",
    }
    for kind, token in tokens.items():
        assert tell(browser, token).status_code == 400, kind
        assert browser.is_signed_in(), kind


def test_a_logout_token_is_accepted_once(make_closed_app: Callable[..., Starlette], login_issuer: LoginIssuer) -> None:
    """Replay: a stolen logout token would end every later session of the user, at another process as well."""
    with browser_of(make_closed_app(), login_issuer) as first, browser_of(make_closed_app(), login_issuer) as second:
        first.sign_in()
        token = login_issuer.logout_token(sid=None)
        # The process that is told is not the one that the person signed in at.
        assert tell(second, token).status_code == 200
        assert not first.is_signed_in()
        first.sign_in()
        assert tell(first, token).status_code == 400
        assert tell(second, token).status_code == 400
        assert first.is_signed_in()


def test_without_signing_keys_a_logout_is_503(
    make_closed_app: Callable[..., Starlette], login_issuer: LoginIssuer
) -> None:
    login_issuer.answers["/certs"] = (500, b"")
    with browser_of(make_closed_app(client_secret=SECRET), login_issuer) as browser:
        token = login_issuer.logout_token()
        assert tell(browser, token).status_code == 503
