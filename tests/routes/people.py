"""Sign-in without a real Keycloak: the application with an issuer of the test, and a simulated browser."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from httpx2 import Response
from starlette.applications import Starlette
from starlette.testclient import TestClient

from auth.id_token import hash_of
from tests.auth.issuers import FakeIssuer, signed

POLICY = Path(__file__).parents[2] / "deploy" / "policy.yml"
SECRET = "the secret of our client"  # noqa: S105 - made up
ROOT = "https://maps.example.org/land"
PAGE = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
_TOKEN = "/protocol/openid-connect/token"  # noqa: S105 - a path
EVENT = "http://schemas.openid.net/event/backchannel-logout"


class LoginIssuer(FakeIssuer):
    """An issuer for logins: `grant` sets its answer to a code."""

    def __init__(self) -> None:
        super().__init__()
        self.sends_iss = True

    def answer(self, path: str) -> tuple[int, bytes]:
        if path.endswith("/.well-known/openid-configuration"):
            metadata = {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/certs",
                "authorization_endpoint": f"{self.url}/authorize",
                "end_session_endpoint": f"{self.url}/end",
                "authorization_response_iss_parameter_supported": self.sends_iss,
            }
            return self.answers.get(path, (200, json.dumps(metadata).encode()))
        return super().answer(path)

    def id_claims(self, nonce: str, access_token: str, /, **changed: Any) -> dict[str, Any]:
        """Return the claims of Keycloak's ID token; one given as None is left out."""
        usual = {
            "typ": "ID",
            "aud": "landcast",
            "azp": "landcast",
            "nonce": nonce,
            "sid": "session-1",
            "at_hash": hash_of(access_token, "RS256"),
            "scope": None,
        }
        return self.claims(**{**usual, **changed})

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return signed(claims, self.key, **{"kid": "first", "typ": "JWT", **header})

    def grant(self, nonce: str, /, *, access: dict[str, Any] | None = None, **id_claims: Any) -> None:
        """Answer the next code with tokens; `access` and `id_claims` change their claims."""
        access_token = self.token(**(access or {}))
        self.answer_token(access_token, self.sign(self.id_claims(nonce, access_token, **id_claims)))

    def answer_token(self, access_token: str, id_token: str) -> None:
        tokens = {"access_token": access_token, "id_token": id_token, "token_type": "Bearer", "expires_in": 300}
        self.answers[_TOKEN] = (200, json.dumps(tokens).encode())

    def refuse_token(self, status: int, error: str) -> None:
        self.answers[_TOKEN] = (status, json.dumps({"error": error}).encode())

    def logout_token(self, header: dict[str, Any] | None = None, **changed: Any) -> str:
        now = int(time.time())
        usual = {
            "iss": self.url,
            "aud": "landcast",
            "iat": now,
            "exp": now + 120,
            "jti": f"jti-{time.monotonic_ns()}",
            "typ": "Logout",
            "sub": "0b1c",
            "sid": "session-1",
            "events": {EVENT: {}},
        }
        claims = {name: value for name, value in {**usual, **changed}.items() if value is not None}
        return self.sign(claims, **{"typ": "logout+jwt", **(header or {})})


@dataclass
class Browser:
    """A browser with its own cookies; it follows no redirect."""

    issuer: LoginIssuer
    http: TestClient = field(repr=False)

    def begin(self, return_to: str | None = None) -> dict[str, str]:
        """Go to the login; return the parameters sent to the issuer."""
        answer = self.http.get("/land/auth/login", params={"return": return_to} if return_to else {})
        assert answer.status_code == 302, answer.text
        address = urlsplit(answer.headers["location"])
        assert f"{address.scheme}://{address.netloc}{address.path}" == f"{self.issuer.url}/authorize"
        return dict(parse_qsl(address.query))

    def come_back(self, state: str, **changed: str | None) -> Response:
        """Return from the issuer with a code."""
        usual = {"state": state, "code": "a-code", "iss": self.issuer.url, "session_state": "x"}
        given = {name: value for name, value in {**usual, **changed}.items() if value is not None}
        return self.http.get("/land/auth/callback", params=given, headers=PAGE)

    def sign_in(self, return_to: str | None = None, **granted: Any) -> Response:
        """Sign in as ada, or with the claims `access` and those of the ID token."""
        asked = self.begin(return_to)
        self.issuer.grant(asked["nonce"], **granted)
        return self.come_back(asked["state"])

    @property
    def secret(self) -> str | None:
        """The session cookie."""
        return self.http.cookies.get("__Host-landcast")

    def page(self) -> str:
        answer = self.http.get("/land/auth/account", headers=PAGE)
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    def csrf(self) -> str:
        """Return the CSRF token of the account page's forms."""
        return self.page().partition('name="csrf" value="')[2].partition('"')[0]

    def is_signed_in(self) -> bool:
        return self.http.get("/land/auth/account").status_code == 200

    def post(self, path: str, headers: dict[str, str] | None = None, **form: str) -> Response:
        """Send a form from one of our pages."""
        own = {
            **PAGE,
            "content-type": "application/x-www-form-urlencoded",
            "origin": "https://maps.example.org",
            "sec-fetch-site": "same-origin",
        }
        return self.http.post(f"/land{path}", data=form, headers={**own, **(headers or {})})


@contextmanager
def browser_of(app: Starlette, issuer: LoginIssuer) -> Iterator[Browser]:
    """Run the application with one browser."""
    with TestClient(app, base_url="https://maps.example.org", follow_redirects=False) as http:
        yield Browser(issuer, http)


def another(browser: Browser) -> Browser:
    """Return a second browser of the same application."""
    return Browser(
        browser.issuer, TestClient(browser.http.app, base_url="https://maps.example.org", follow_redirects=False)
    )
