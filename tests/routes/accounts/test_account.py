"""The account page: identity, rights and keys."""

import re
from typing import Any

import pytest

from tests.routes.pages.test_pages import Page
from tests.routes.people import PAGE, Browser, another

KEY = re.compile(r'<code class="secret">(lc_[0-9a-z]{12}_[0-9A-Za-z]{49})</code>')


def make_key(browser: Browser, **changed: str) -> str:
    """Create a key with the form of the page and return its text."""
    form = {"csrf": browser.csrf(), "name": "QGIS", "scope": "read", "days": "9", **changed}
    answer = browser.post("/auth/keys", None, **form)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found = KEY.search(answer.text)
    assert found
    return found[1]


def document(browser: Browser, **headers: str) -> Any:
    answer = browser.http.get("/land/auth/account", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def test_anonymous_callers_are_redirected_to_the_login_or_get_401(browser: Browser) -> None:
    page = browser.http.get("/land/auth/account?f=html", headers=PAGE)
    assert page.status_code == 303
    assert page.headers["location"] == "https://maps.example.org/land/auth/login?return=/land/auth/account%3Ff%3Dhtml"
    program = browser.http.get("/land/auth/account")
    assert program.status_code == 401
    assert program.headers["www-authenticate"].startswith("Bearer ")


def test_the_account_has_identity_and_rights(browser: Browser) -> None:
    browser.sign_in(access={"realm_access": {"roles": ["user"]}, "resource_access": None})
    found = document(browser)
    assert found["who"] == {
        "name": "ada",
        "email": "ada@example.org",
        "owner": f"{browser.issuer.url}|0b1c",
        "method": "session",
        "roles": ["user"],
        "groups": ["/survey"],
        "scopes": ["openid", "products"],
    }
    assert not found["may"]["administer"]
    assert {"id": "nations", "may": ["discover", "read-items", "download"]} in found["may"]["collections"]
    assert {
        "id": "echo",
        "may": ["discover", "execute", "read-own-jobs", "dismiss-own-jobs"],
        "limits": [{"open-orders": 20}],
    } in found["may"]["processes"]
    page = browser.page()
    assert "at most 20 orders open at once" in page
    assert "discover, execute, read own jobs, dismiss own jobs" in page
    assert "You administer" not in page


def test_the_account_has_the_rights_of_the_policy(browser: Browser) -> None:
    browser.sign_in(access={"realm_access": {"roles": ["admin"]}})
    assert document(browser)["may"]["administer"]
    assert "You administer" in browser.page()
    nobody = another(browser)
    nobody.sign_in(access={"realm_access": None, "resource_access": None, "sub": "bob"}, sub="bob")
    (echo,) = [process for process in document(nobody)["may"]["processes"] if process["id"] == "echo"]
    assert echo == {"id": "echo", "may": ["discover"]}


def test_the_page_has_no_foreign_resources(browser: Browser) -> None:
    browser.sign_in()
    make_key(browser)
    page = Page(browser.page())
    assert not {"script", "iframe", "object", "embed", "style"} & set(page.tags)
    assert all(address.startswith("https://maps.example.org/land/") for address in page.loaded)
    assert page.misplaced == []
    assert page.tags.count("h1") == page.tags.count("main") == 1
    answer = browser.http.get("/land/auth/account", headers=PAGE)
    policy = answer.headers["content-security-policy"]
    assert f"form-action 'self' {browser.issuer.url.removesuffix('/realms/land')};" in policy
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "form-action 'self';" in browser.http.get("/land/", headers=PAGE).headers["content-security-policy"]


def test_a_key_is_shown_once_works_and_is_revoked(browser: Browser) -> None:
    browser.sign_in()
    text = make_key(browser, name="<QGIS> on my laptop")
    assert text not in browser.page()
    assert "&lt;QGIS&gt; on my laptop" in browser.page()
    (key,) = document(browser)["keys"]
    assert (key["name"], key["scope"], key["state"], key["lastUsed"]) == (
        "<QGIS> on my laptop",
        "read",
        "active",
        None,
    )
    program = another(browser)
    found = document(program, **{"x-api-key": text})
    assert (found["who"]["name"], found["who"]["method"], found["who"]["keyScope"]) == ("ada", "key", "read")
    answer = browser.post(f"/auth/keys/{key['id']}/revoke", csrf=browser.csrf())
    assert (answer.status_code, answer.headers["location"]) == (303, "https://maps.example.org/land/auth/account")
    assert program.http.get("/land/auth/account", headers={"x-api-key": text}).status_code == 401
    assert document(browser)["keys"][0]["state"] == "revoked"


def test_a_key_cannot_create_list_or_revoke_keys(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise a stolen key could secretly create its successor."""
    caplog.set_level("INFO", "landcast.audit")
    browser.sign_in()
    text = make_key(browser, scope="order")
    (key,) = document(browser)["keys"]
    program = another(browser).http
    program.headers["x-api-key"] = text
    assert "keys" not in program.get("/land/auth/account").json()
    assert program.post("/land/auth/keys", json={"name": "another"}).status_code == 403
    assert program.delete(f"/land/auth/keys/{key['id']}").status_code == 403
    assert program.post(f"/land/auth/keys/{key['id']}/revoke", data={"csrf": "x"}).status_code == 403
    lines = [vars(record) for record in caplog.records if record.name == "landcast.audit"]
    assert [line["key"] for line in lines if line["action"] == "manage-keys"] == [key["id"]] * 3
    assert [one["state"] for one in document(browser)["keys"]] == ["active"]


def test_a_program_creates_keys_with_the_token_of_a_user(browser: Browser) -> None:
    program = another(browser).http
    program.headers["authorization"] = f"Bearer {browser.issuer.token()}"
    made = program.post("/land/auth/keys", json={"name": "nightly", "scope": "order", "days": 3})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    key = made.json()
    assert key["key"].startswith(f"lc_{key['id']}_")
    assert "key" not in program.get("/land/auth/account").json()["keys"][0]
    assert program.delete(f"/land/auth/keys/{key['id']}").status_code == 204
    assert program.delete(f"/land/auth/keys/{key['id']}").status_code == 404


def test_the_key_of_another_is_404(browser: Browser) -> None:
    """Attack: stop another user's programs by revoking their key."""
    browser.sign_in()
    make_key(browser)
    (key,) = document(browser)["keys"]
    eve = another(browser)
    eve.sign_in(access={"sub": "eve"}, sub="eve")
    csrf = eve.csrf()
    foreign = eve.post(f"/auth/keys/{key['id']}/revoke", csrf=csrf)
    unknown = eve.post("/auth/keys/000000000000/revoke", csrf=csrf)
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert document(eve)["keys"] == []
    assert document(browser)["keys"][0]["state"] == "active"


def test_json_is_for_tokens_and_forms_are_for_sessions(browser: Browser) -> None:
    """CSRF without a form: JSON from the script of a foreign page, sent with the cookie by a faulty browser."""
    browser.sign_in()
    assert browser.http.post("/land/auth/keys", json={"name": "x"}).status_code == 403
    assert browser.http.delete("/land/auth/keys/000000000000").status_code == 403
    token = {"authorization": f"Bearer {browser.issuer.token()}"}
    assert another(browser).post("/auth/keys", token, name="x", days="1", csrf="").status_code == 403


@pytest.mark.parametrize("kind", ["json", "form"])
def test_an_invalid_key_request_is_refused_with_a_reason(browser: Browser, kind: str) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"name": ""}, "name"),
        ({"name": "a" * 81}, "80"),
        ({"name": "a\nb"}, "printable"),
        ({"scope": "administer"}, "read or order"),
        ({"days": 0}, "365"),
        ({"days": 366}, "365"),
        ({"days": -1}, "days" if kind == "json" else "whole number"),
        ({"owner": "somebody else"}, "allowed"),
    ]
    json_only: list[tuple[dict[str, Any], str]] = [({"days": "9"}, "number"), ({"days": True}, "number")]
    browser.sign_in()
    csrf, token = browser.csrf(), {"authorization": f"Bearer {browser.issuer.token()}"}
    for changed, word in [*wrong, *(json_only if kind == "json" else [])]:
        given = {"name": "x", "scope": "read", "days": 9, **changed}
        if kind == "json":
            answer = another(browser).http.post("/land/auth/keys", json=given, headers=token)
        else:
            form = {name: str(value) for name, value in given.items()}
            answer = browser.post("/auth/keys", {"accept": "application/json"}, csrf=csrf, **form)
        assert answer.status_code == 400, changed
        assert word in answer.json()["detail"], changed
    assert document(browser)["keys"] == []


def test_a_form_is_read_strictly(browser: Browser) -> None:
    browser.sign_in()
    csrf = browser.csrf()
    form = {"content-type": "application/x-www-form-urlencoded"}
    for body, status in (
        (f"csrf={csrf}&name=a&name=b&days=9", 400),
        (f"csrf={csrf}&csrf={csrf}&name=a&days=9", 400),
        (f"csrf={csrf}&name=%FF&days=9", 400),
        (f"csrf={csrf}&name=a&days=9" + "&x=1" * 30, 400),
        (f"csrf={csrf}&name=" + "a" * 30_000, 413),
    ):
        assert browser.http.post("/land/auth/keys", content=body, headers=form).status_code == status, body[:80]
    multipart = browser.http.post("/land/auth/logout", files={"csrf": csrf})
    assert multipart.status_code == 415
    assert browser.is_signed_in()


def test_an_owner_has_a_limited_number_of_keys(browser: Browser) -> None:
    program = another(browser).http
    program.headers["authorization"] = f"Bearer {browser.issuer.token()}"
    answers = [program.post("/land/auth/keys", json={"name": f"key {number}"}) for number in range(21)]
    assert {answer.status_code for answer in answers[:20]} == {201}
    assert answers[20].status_code == 409
    assert "revoke one" in answers[20].json()["detail"]


def test_a_login_withdraws_lost_rights_from_keys(browser: Browser) -> None:
    browser.sign_in(access={"realm_access": {"roles": ["user", "admin"]}})
    text = make_key(browser, scope="order")
    key = {"x-api-key": text}
    assert document(another(browser), **key)["who"]["roles"] == ["admin", "gaf", "user"]
    browser.sign_in(access={"realm_access": {"roles": ["user"]}}, iat=browser.issuer.claims()["iat"] + 1)
    browser.http.app.state.people.authenticator.keys._warm.clear()  # type: ignore[attr-defined]  # of another process: 5 s
    assert document(another(browser), **key)["who"]["roles"] == ["gaf", "user"]
