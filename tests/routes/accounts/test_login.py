"""Sign-in with an issuer of the test, by users and by attackers."""

import base64
import hashlib
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from auth.throttle import LOGINS
from tests.auth.issuers import rsa_key, signed
from tests.routes.people import PAGE, SECRET, Browser, LoginIssuer, another, browser_of

ACCOUNT = "https://maps.example.org/land/auth/account"


def cookies_set(answer: httpx2.Response) -> dict[str, Any]:
    return {
        name: morsel for line in answer.headers.get_list("set-cookie") for name, morsel in SimpleCookie(line).items()
    }


def test_the_issuer_is_asked_for_a_code_bound_to_this_login(browser: Browser) -> None:
    asked = browser.begin()
    assert {name: asked[name] for name in ("response_type", "client_id", "redirect_uri", "code_challenge_method")} == {
        "response_type": "code",
        "client_id": "landcast",
        "redirect_uri": "https://maps.example.org/land/auth/callback",
        "code_challenge_method": "S256",
    }
    browser.issuer.grant(asked["nonce"])
    assert browser.come_back(asked["state"]).headers["location"] == ACCOUNT
    (posted,) = browser.issuer.posted
    challenge = base64.urlsafe_b64encode(hashlib.sha256(posted["code_verifier"].encode()).digest()).rstrip(b"=")
    assert challenge.decode() == asked["code_challenge"]
    assert (posted["code"], posted["client_secret"], posted["redirect_uri"]) == (
        "a-code",
        SECRET,
        asked["redirect_uri"],
    )
    assert SECRET not in str(asked)


def test_cookies_are_host_only_and_http_only(browser: Browser) -> None:
    began = browser.http.get("/land/auth/login")
    asked = dict(parse_qsl(urlsplit(began.headers["location"]).query))
    browser.issuer.grant(asked["nonce"])
    ended = browser.come_back(asked["state"])
    session, login = cookies_set(ended)["__Host-landcast"], cookies_set(began)["__Host-landcast-login"]
    for cookie in (session, login):
        assert cookie["secure"]
        assert cookie["httponly"]
        assert (cookie["samesite"].lower(), cookie["path"], cookie["domain"]) == ("lax", "/", "")
    # The session ends with the browser, the login in ten minutes: other tabs may come back still.
    assert (session["max-age"], login["max-age"]) == ("", "600")
    assert "__Host-landcast-login" not in cookies_set(ended)
    assert {began.headers["cache-control"], ended.headers["cache-control"]} == {"no-store"}


def test_a_login_returns_to_the_requested_page(browser: Browser) -> None:
    wanted = "/land/collections/parks/items?limit=2&f=html"
    assert browser.sign_in(wanted).headers["location"] == f"https://maps.example.org{wanted}"
    assert "ada" in browser.http.get(wanted).text


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example/",
    "/land\\..\\..\\evil",
    "\\\\evil.example",
    "/land/../evil",
    "/land/%2e%2e/evil",
    "/land/.%2E/evil",
    "/other",
    "/landing",
    "land/jobs",
    "javascript:alert(1)",
    "https:/land/",
    "/land/\t/evil.example",
    "/land/jobs\r\nSet-Cookie: a=b",
    " /land/jobs",
    "/land/jobs\u2028",
    "/land/auth/login",
    "/land/auth/callback?code=a",
    "/land/%61uth/logout",
    "/land/" + "a" * 2000,
]


def test_a_login_never_redirects_to_another_site(browser: Browser) -> None:
    """Open redirect: a link to us that ends at the attacker's copy of the login, after a real login.

    A redirect to /auth/login would never end; one to /auth/callback would accept the attacker's response.
    """
    for elsewhere in ELSEWHERE:
        answer = browser.http.get("/land/auth/login", params={"return": elsewhere})
        assert answer.status_code == 400, elsewhere
        assert "location" not in answer.headers


def test_an_authorization_response_is_accepted_once(browser: Browser) -> None:
    """Replay: an attacker who reads the address of the callback in a history or a log would sign in with it."""
    asked = browser.begin()
    browser.issuer.grant(asked["nonce"])
    assert browser.come_back(asked["state"]).status_code == 303
    login_cookie = {"cookie": f"__Host-landcast-login={browser.http.cookies.get('__Host-landcast-login')}"}
    again = another(browser)
    again.http.headers |= login_cookie
    answer = again.come_back(asked["state"])
    assert answer.status_code == 400
    assert not again.secret
    assert len(browser.issuer.posted) == 1


def test_two_tabs_of_one_browser_can_sign_in(browser: Browser) -> None:
    first, second = browser.begin("/land/jobs"), browser.begin("/land/collections")
    for asked, wanted in ((first, "/land/jobs"), (second, "/land/collections")):
        browser.issuer.grant(asked["nonce"])
        answer = browser.come_back(asked["state"])
        assert (answer.status_code, answer.headers["location"]) == (303, f"https://maps.example.org{wanted}")
        assert browser.is_signed_in()


def test_a_forged_login_cookie_is_ignored(browser: Browser) -> None:
    browser.http.headers["cookie"] = "__Host-landcast-login=planted"
    began = browser.http.get("/land/auth/login")
    assert len(cookies_set(began)["__Host-landcast-login"].value) == 43


def test_a_flood_of_logins_is_slowed_by_address(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """Attack: start very many logins; as their number is limited, those of real users are displaced."""
    caplog.set_level("INFO", "landcast.audit")
    answers = [browser.http.get("/land/auth/login", headers=PAGE) for _ in range(LOGINS.free + 20)]
    assert {answer.status_code for answer in answers[: LOGINS.free]} == {302}
    slowed = answers[-1] if answers[-1].status_code == 429 else answers[-2]
    assert (slowed.status_code, slowed.headers["retry-after"]) == (429, "1")
    assert "too many logins were begun" in slowed.text
    line = next(vars(record) for record in caplog.records if record.getMessage() == "begin-sign-in")
    assert (line["who"], line["decision"], bool(line["address"])) == ("unknown", "refused", True)


def test_an_authorization_response_is_accepted_only_in_its_browser(browser: Browser) -> None:
    """Login CSRF: the attacker starts a login of their own and makes the victim finish it.

    The victim, signed in as the attacker, would order and pay into the attacker's account.
    """
    asked = browser.begin()
    browser.issuer.grant(asked["nonce"])
    victim = another(browser)
    assert victim.come_back(asked["state"]).status_code == 400
    victim.begin()
    assert victim.come_back(asked["state"]).status_code == 400
    assert not victim.secret
    assert not browser.issuer.posted
    # And by that nothing was taken from whom it belongs to.
    assert browser.come_back(asked["state"]).status_code == 303


def test_an_unrequested_authorization_response_is_refused(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "landcast.audit")
    for state in ("", "made-up", "x" * 43, "é" * 43):
        browser.begin()
        assert browser.come_back(state).status_code == 400
        assert not browser.secret
    assert not browser.issuer.posted
    lines = [vars(record) for record in caplog.records if record.name == "landcast.audit"]
    assert [(line["action"], line["decision"], line["who"]) for line in lines] == [
        ("sign-in", "refused", "unknown")
    ] * 4
    assert all(line["address"] for line in lines)


def test_a_session_is_new_at_each_login(browser: Browser) -> None:
    """Session fixation: the attacker sets a session cookie in the victim's browser and waits for the login."""
    browser.sign_in()
    planted = browser.secret
    assert planted
    browser.sign_in()
    assert browser.secret != planted
    attacker = another(browser)
    attacker.http.headers["cookie"] = f"__Host-landcast={planted}"
    assert not attacker.is_signed_in()
    assert browser.is_signed_in()


def test_a_session_id_from_a_client_is_never_adopted(browser: Browser) -> None:
    """Session fixation with a secret that the server did not issue."""
    planted = "A" * 43
    asked = browser.begin()
    browser.issuer.grant(asked["nonce"])
    login_cookie = browser.http.cookies.get("__Host-landcast-login")
    victim = another(browser)
    victim.http.headers["cookie"] = f"__Host-landcast={planted}; __Host-landcast-login={login_cookie}"
    answer = victim.come_back(asked["state"])
    assert answer.status_code == 303
    assert cookies_set(answer)["__Host-landcast"].value != planted


@pytest.mark.parametrize("given", ["https://evil.example/realms/land", ""])
def test_an_authorization_response_of_another_issuer_is_refused(browser: Browser, given: str) -> None:
    """Mix-up (RFC 9207): the attacker's issuer makes the browser send a code of one issuer to another."""
    asked = browser.begin()
    browser.issuer.grant(asked["nonce"])
    answer = browser.come_back(asked["state"], iss=given)
    assert answer.status_code == 400
    assert "another issuer" in answer.text
    assert not browser.issuer.posted


@pytest.mark.parametrize(("sends_iss", "status"), [(True, 400), (False, 303)])
def test_a_missing_announced_issuer_is_refused(browser: Browser, sends_iss: bool, status: int) -> None:  # noqa: FBT001 - a case
    browser.issuer.sends_iss = sends_iss
    asked = browser.begin()
    browser.issuer.grant(asked["nonce"])
    assert browser.come_back(asked["state"], iss=None).status_code == status


OTHERS: list[dict[str, Any]] = [
    {"nonce": "of-another-login"},
    {"nonce": None},
    {"nonce": 5},
    {"aud": "landcast-qgis"},
    {"aud": None},
    {"aud": ["landcast", "evil"], "azp": "evil"},
    {"aud": ["landcast", "evil"], "azp": None},
    {"azp": "landcast-qgis"},
    {"iss": "https://evil.example/realms/land"},
    {"exp": 1},
    {"exp": None},
    {"iat": None},
    {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    {"typ": "Bearer"},
    {"typ": "Logout"},
    {"sub": "somebody-else"},
    {"sub": None},
]


def test_an_id_token_for_another_login_is_refused(browser: Browser) -> None:
    """Code injection and token substitution: tokens of another login, client, issuer or person."""
    for changed in OTHERS:
        answer = browser.sign_in(**changed)
        assert answer.status_code == 400, changed
        assert not browser.secret
    assert browser.sign_in().status_code == 303


@pytest.mark.parametrize("kind", ["another key", "none", "HS256 with the secret"])
def test_an_id_token_with_a_wrong_signature_is_refused(browser: Browser, kind: str) -> None:
    asked, issuer = browser.begin(), browser.issuer
    access_token = issuer.token()
    claims = issuer.id_claims(asked["nonce"], access_token)
    if kind == "another key":
        id_token = signed(claims, rsa_key(), kid="first", typ="JWT")
    else:
        forged: Any = None if kind == "none" else SECRET.ljust(32)
        id_token = signed(claims, forged, algorithm="none" if kind == "none" else "HS256", kid="first", typ="JWT")
    issuer.answer_token(access_token, id_token)
    assert browser.come_back(asked["state"]).status_code == 400
    assert not browser.secret


def test_an_access_token_for_another_server_is_refused_at_login(browser: Browser) -> None:
    changes: list[dict[str, Any]] = [{"aud": "account"}, {"exp": 1}, {"sub": "eve"}, {"typ": "ID"}]
    for changed in changes:
        answer = browser.sign_in(access=changed)
        assert answer.status_code == 400, changed
        assert not browser.secret


def test_texts_of_the_query_are_not_repeated_on_the_page(browser: Browser) -> None:
    """Content injection: anybody can make a link to our callback with an error text in it."""
    asked = browser.begin()
    answer = browser.come_back(
        asked["state"], code=None, error="access_denied", error_description="call +1 555 to unlock"
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")
    assert "cancelled" in answer.text
    assert "555" not in answer.text
    assert browser.come_back(asked["state"]).status_code == 400  # the state is used up


def test_a_code_refused_by_the_issuer_signs_nobody_in(browser: Browser) -> None:
    for error, said in (("invalid_grant", "expired at the issuer"), ("unauthorized_client", "its operator")):
        asked = browser.begin()
        browser.issuer.refuse_token(400, error)
        answer = browser.come_back(asked["state"])
        assert answer.status_code == 400
        assert said in answer.text
        assert not browser.secret


def test_an_unavailable_issuer_prevents_logins_with_a_message(browser: Browser) -> None:
    path = "/.well-known/openid-configuration"
    browser.issuer.answers[path] = (500, b"")
    answer = browser.http.get("/land/auth/login", headers=PAGE)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["content-type"].startswith("text/html")


def test_signing_out_ends_both_sessions(browser: Browser) -> None:
    browser.sign_in()
    answer = browser.post("/auth/logout", csrf=browser.csrf())
    assert answer.status_code == 303
    address = urlsplit(answer.headers["location"])
    given = dict(parse_qsl(address.query))
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{browser.issuer.url}/end"
    assert given.pop("id_token_hint").count(".") == 2
    assert given == {"client_id": "landcast", "post_logout_redirect_uri": "https://maps.example.org/land/"}
    assert cookies_set(answer)["__Host-landcast"]["max-age"] == "0"
    assert not browser.secret


def test_signing_out_ends_copied_sessions_too(browser: Browser) -> None:
    browser.sign_in()
    thief = another(browser)
    thief.http.headers["cookie"] = f"__Host-landcast={browser.secret}"
    assert thief.is_signed_in()
    browser.post("/auth/logout", csrf=browser.csrf())
    assert not thief.is_signed_in()


def test_signing_out_without_the_issuer_reports_the_remaining_session(
    make_closed_app: Callable[..., Starlette], login_issuer: LoginIssuer
) -> None:
    with browser_of(make_closed_app(), login_issuer) as browser:
        browser.sign_in()
        csrf = browser.csrf()
        discovery = browser.http.app.state.people.sign_in.discovery  # type: ignore[attr-defined]  # a Starlette
        discovery._known, discovery._until = None, -1.0
        login_issuer.answers["/.well-known/openid-configuration"] = (503, b"")
        answer = browser.post("/auth/logout", csrf=csrf)
        assert answer.status_code == 503
        assert "not at the issuer" in answer.text
        assert not browser.is_signed_in()


FORGED: list[tuple[dict[str, str], str | None]] = [
    ({}, None),
    ({}, ""),
    ({}, "A" * 43),
    ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, "own"),
    ({"origin": "null"}, "own"),
    ({"origin": "http://maps.example.org"}, "own"),
    ({}, "of another session"),
]


def test_a_form_of_another_site_changes_nothing_and_is_audited(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    """CSRF: the attacker's page sends a form to us, and the browser adds the session cookie."""
    caplog.set_level("INFO", "landcast.audit")
    ada = f"{browser.issuer.url}|0b1c"
    browser.sign_in()
    attacker = another(browser)
    attacker.sign_in()
    words = {"own": browser.csrf(), "of another session": attacker.csrf()}
    paths = {"/auth/logout": {}, "/auth/keys": {"name": "x", "days": "9"}, "/auth/keys/a/revoke": {}}
    for headers, csrf in FORGED:
        form = {} if csrf is None else {"csrf": words.get(csrf, csrf)}
        for path, fields in paths.items():
            caplog.clear()
            assert browser.post(path, headers, **form, **fields).status_code == 403, (path, headers, csrf)
            (line,) = [vars(record) for record in caplog.records if record.name == "landcast.audit"]
            assert (line["who"], line["action"], line["decision"]) == (ada, "forged-form", "refused")
    assert browser.http.get("/land/auth/account").json()["keys"] == []


def test_an_open_server_has_no_accounts(client: TestClient) -> None:
    for path in ("login", "callback", "account", "keys", "token"):
        answer, unknown = client.get(f"/auth/{path}"), client.get("/auth/no-such")
        assert answer.status_code == 404
        assert answer.json()["detail"] == unknown.json()["detail"]
    assert "Sign in" not in client.get("/?f=html").text
    assert not [path for path in client.get("/openapi").json()["paths"] if path.startswith("/auth/")]


def test_pages_show_who_is_signed_in(browser: Browser) -> None:
    anonymous = browser.http.get("/land/collections?limit=3&f=html").text
    assert (
        'href="https://maps.example.org/land/auth/login?return=/land/collections%3Flimit%3D3%26f%3Dhtml"' in anonymous
    )
    browser.sign_in()
    page = browser.http.get("/land/collections?f=html").text
    assert "<span>ada</span>" in page
    assert "Sign in" not in page


def test_a_page_that_needs_a_login_offers_one(browser: Browser) -> None:
    answer = browser.http.get("/land/jobs?limit=5", headers=PAGE)
    assert answer.status_code == 401
    assert (
        '<a class="button" href="https://maps.example.org/land/auth/login?return=/land/jobs%3Flimit%3D5">'
        in answer.text
    )


def test_the_log_has_no_secret_of_a_login(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    asked = browser.begin()
    browser.issuer.grant(asked["nonce"])
    browser.come_back(asked["state"])
    csrf = browser.csrf()
    secrets = {browser.secret, csrf, asked["state"], asked["nonce"], SECRET, "a-code"}
    browser.post("/auth/logout", csrf=csrf)
    ours = "\n".join(record.getMessage() + str(record.__dict__) for record in caplog.records if _is_ours(record.name))
    assert "sign-in" in ours
    assert not [secret for secret in secrets if secret and secret in ours]


def _is_ours(logger: str) -> bool:
    """The client of the test records each address that it requests."""
    return not logger.startswith(("httpx", "httpcore", "asyncio"))
