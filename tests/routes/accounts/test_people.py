"""People in a real browser (headless Chromium) with a real Keycloak, without our scripts."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.auth.keycloak import Keycloak
from tests.browser import launched_chromium
from tests.routes.people import POLICY

_EVIL = "https://evil.example/"


@contextmanager
def our_client(keycloak: Keycloak, **changed: Any) -> Iterator[dict[str, Any]]:
    """Change the server's client in Keycloak temporarily; `attributes` are added to the existing ones."""
    client = keycloak.client("landcast")
    attributes = {**client["attributes"], **changed.pop("attributes", {})}
    keycloak.admin("PUT", f"/clients/{client['id']}", {**client, **changed, "attributes": attributes})
    try:
        yield client
    finally:
        keycloak.admin("PUT", f"/clients/{client['id']}", client)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched_chromium() as browser:
        yield browser


@dataclass
class Visit:
    """A person's browser at the server at `url`."""

    url: str
    page: Page
    context: BrowserContext

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}")

    def log_in(self, name: str) -> None:
        """Fill in Keycloak's form."""
        self.page.fill("#username", name)
        self.page.fill("#password", name)
        self.page.click("[type=submit]")

    def is_asked_for_a_password(self) -> bool:
        """Return whether the account page redirects to Keycloak's form: nobody is signed in at either server."""
        self.open("/auth/account")
        return self.page.is_visible("#password")


@pytest.fixture
def visit(keycloak: Keycloak, live_server: Callable[..., str], chromium: Browser) -> Iterator[Visit]:
    """Return a visit of a server whose Keycloak knows a user `visitor` with the role `user`."""
    secret = keycloak.client("landcast")["secret"]
    url = live_server(
        LANDCAST_AUTH_OPEN="no",
        LANDCAST_AUTH_ISSUER=keycloak.issuer,
        LANDCAST_AUTH_CLIENT_SECRET=secret,
        LANDCAST_AUTH_POLICY=str(POLICY),
    )
    user = keycloak.add_user("visitor", "user")
    addresses = {
        "post.logout.redirect.uris": f"{url}/*",
        "backchannel.logout.url": f"{url}/auth/backchannel-logout",
    }
    context = chromium.new_context()
    context.set_default_timeout(15_000)
    with our_client(keycloak, redirectUris=[f"{url}/auth/callback"], attributes=addresses):
        yield Visit(url, context.new_page(), context)
    context.close()
    keycloak.admin("DELETE", f"/users/{user}")


def test_a_user_signs_in_creates_a_key_and_signs_out(visit: Visit) -> None:
    page, url = visit.page, visit.url
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    visit.open("/jobs?limit=3")
    assert "401" in page.inner_text("h1")
    page.click("main >> text=Sign in")
    visit.log_in("visitor")
    assert page.url == f"{url}/jobs?limit=3"
    assert page.inner_text("header .visitor span") == "visitor"
    page.click("text=Account")
    assert page.inner_text("dl").split("\n")[:2] == ["Name", "visitor"]

    # `__Host-` and Secure on http://127.0.0.1: browsers take the machine itself for safe.
    (cookie,) = [dict(each) for each in visit.context.cookies(url) if each["name"] == "__Host-landcast"]
    assert (cookie["name"], cookie["secure"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (
        "__Host-landcast",
        True,
        True,
        "Lax",
        "/",
    )

    page.fill("#name", "of the test")
    page.click("text=Create the key")
    key = page.inner_text(".secret")
    catalogue = f"{url}/collections/nations/items?limit=1"
    for headers in ({"X-Api-Key": key}, {"Authorization": f"Bearer {key}"}):
        assert httpx2.get(catalogue, headers=headers).status_code == 200
    key_id = key.split("_")[1]
    assert httpx2.get(catalogue, auth=(key_id, key)).status_code == 200
    assert httpx2.get(catalogue).status_code in (401, 404)
    page.click(f"tr:has-text('{key_id}') button")
    assert page.url == f"{url}/auth/account"
    assert "revoked" in page.inner_text(f"tr:has-text('{key_id}')")
    assert httpx2.get(catalogue, headers={"X-Api-Key": key}).status_code == 401

    page.click("text=Sign out")
    page.wait_for_url(f"{url}/")
    assert page.is_visible("header >> text=Sign in")
    assert not [each for each in visit.context.cookies(url) if each["name"] == "__Host-landcast"]
    assert visit.is_asked_for_a_password()
    assert not [text for text in complaints if "401" not in text], complaints


@pytest.mark.parametrize("browsers", [1, 2])
def test_sessions_end_when_an_administrator_of_keycloak_ends_them(
    keycloak: Keycloak, visit: Visit, chromium: Browser, browsers: int
) -> None:
    """Of several sessions Keycloak's logout token names only one (keycloak/keycloak#27359) or, by setting, none."""
    with ExitStack() as contexts:
        more = [contexts.enter_context(closing(chromium.new_context())) for _ in range(browsers - 1)]
        visits = [visit, *(Visit(visit.url, context.new_page(), context) for context in more)]
        for each in visits:
            each.open("/auth/account")
            each.log_in("visitor")
            assert each.page.url == f"{visit.url}/auth/account"
        (user,) = keycloak.admin("GET", "/users?username=visitor&exact=true")
        keycloak.admin("POST", f"/users/{user['id']}/logout")
        # Keycloak has told the server by now: it waits for the answer.
        assert [each.is_asked_for_a_password() for each in visits] == [True] * browsers


def test_a_form_of_another_site_ends_no_session(visit: Visit) -> None:
    """CSRF in a browser: the cookie is neither sent nor removed."""
    visit.open("/auth/account")
    visit.log_in("visitor")
    before = visit.context.cookies(visit.url)
    body = (
        f'<form method="post" action="{visit.url}/auth/logout"><input name="csrf" value="x"><button>Win</button></form>'
    )

    def lure(route: Route) -> None:
        route.fulfill(content_type="text/html", body=body)

    visit.context.route(_EVIL, lure)
    visit.page.goto(_EVIL)
    visit.page.click("button")
    assert visit.page.url == f"{visit.url}/"
    assert visit.context.cookies(visit.url) == before
    visit.open("/")
    assert visit.page.inner_text("header .visitor span") == "visitor"


@pytest.fixture
def tokens(keycloak: Keycloak, make_app: Callable[..., Starlette]) -> Iterator[TestClient]:
    """Return a client of a server that accepts passwords, with a Keycloak that does."""
    auth = {
        "open": False,
        "issuer": keycloak.issuer,
        "client_secret": keycloak.client("landcast")["secret"],
        "policy": POLICY,
        "password_grant": True,
    }
    user = keycloak.add_user("tokens", "user")
    with (
        our_client(keycloak, directAccessGrantsEnabled=True),
        TestClient(make_app(auth=auth), base_url="https://maps.example.org") as client,
    ):
        yield client
    keycloak.admin("DELETE", f"/users/{user}")


def test_tokens_of_keycloak_are_served_at_the_old_addresses(keycloak: Keycloak, tokens: TestClient) -> None:
    login = {"username": "tokens", "password": "tokens"}
    answer = tokens.post("/auth/token", data=login)
    assert answer.status_code == 200, answer.text
    granted = answer.json()
    assert list(granted) == [
        "access_token",
        "expires_in",
        "refresh_expires_in",
        "refresh_token",
        "token_type",
        "session_state",
        "scope",
    ]

    def who(token: str) -> tuple[int, str | None]:
        found = tokens.get("/auth/account", headers={"authorization": f"Bearer {token}"})
        return found.status_code, found.json().get("who", {}).get("name")

    assert who(granted["access_token"]) == (200, "tokens")
    assert tokens.post("/auth/token", data={**login, "password": "guess"}).status_code == 401

    refreshed = tokens.post("/auth/refresh", json={"refresh_token": granted["refresh_token"]})
    assert refreshed.status_code == 200
    assert list(refreshed.json()) == list(granted)
    assert who(refreshed.json()["access_token"]) == (200, "tokens")
    given = {"refresh_token": refreshed.json()["refresh_token"]}
    assert tokens.post("/auth/revoke", json=given).status_code == 204
    assert tokens.post("/auth/refresh", json=given).status_code == 400
    assert tokens.post("/auth/revoke", json={"refresh_token": "x"}).status_code == 400

    client = {
        "grant_type": "client_credentials",
        "client_id": "landcast-script",
        "client_secret": keycloak.client("landcast-script")["secret"],
    }
    program = tokens.post("/auth/token", data=client)
    assert program.status_code == 200
    assert who(program.json()["access_token"]) == (200, "service-account-landcast-script")
    assert tokens.post("/auth/token", data={**client, "client_secret": "guess"}).status_code == 401


def test_keycloak_accepts_no_passwords_by_default(keycloak: Keycloak, tokens: TestClient) -> None:
    with our_client(keycloak, directAccessGrantsEnabled=False):
        answer = tokens.post("/auth/token", data={"username": "tokens", "password": "tokens"})
    assert answer.status_code == 503
    assert re.search("operator", answer.json()["detail"])
