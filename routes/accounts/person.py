"""Whom a page is for: the person who is signed in, or who might be."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from starlette.requests import Request

from auth.access import Verdict
from auth.authenticate import Authenticator
from auth.identity import ANONYMOUS, current_identity
from auth.keys.key import KeyIdentity
from auth.policy import audit_event
from auth.session import Session
from auth.sign_in import SignIn
from auth.throttle import Throttle
from auth.token_endpoint import TokenEndpoint
from routes.errors import prefers_page
from routes.guard import refusal
from routes.http.problem import Problem
from routes.http.return_to import path_of
from routes.resources import Resources, resources_of

NO_STORE: Mapping[str, str] = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class People:
    """The collaborators of the account routes: sign-in, sessions, keys and tokens.

    `issuer` is the issuer's address, `password_grant` whether passwords are accepted. `begun` throttles the beginning
    of logins.
    """

    issuer: str
    authenticator: Authenticator
    sign_in: SignIn
    endpoint: TokenEndpoint
    password_grant: bool
    begun: Throttle


def people_of(request: Request) -> People:
    """Return what the routes for people need; they are not served while all is open."""
    people: People = request.app.state.people
    return people


def session_of(request: Request) -> Session | None:
    """Return the session that the request belongs to."""
    session: Session | None = request.scope.get("state", {}).get("session")
    return session


def address_of(request: Request) -> str:
    """Return the address of who asks, as failures are counted and written down by."""
    peer = request.client.host if request.client else ""
    return people_of(request).authenticator.address(request.headers.raw, peer)


class Known:
    """The route is for who is known: a browser is sent to the login, a program gets 401."""

    async def admit(self, request: Request) -> Verdict:
        """Let in who is known."""
        identity = current_identity.get()
        if identity.method != ANONYMOUS.method:
            return Verdict(allowed=True)
        if request.method == "GET" and prefers_page(request):
            url = resources_of(request).url
            address = f"{url}/auth/login?return={quote(path_of(request, url), safe='/')}"
            raise Problem(HTTPStatus.SEE_OTHER, "sign in first", headers={"Location": address})
        raise refusal(request, identity, Verdict(allowed=False, reason="this needs a login"))

    def is_public(self, resources: Resources, parameters: Mapping[str, str]) -> bool:
        """Nobody unknown may."""
        del resources, parameters
        return False


class InPerson(Known):
    """The route is for who is known by a session or a token, not by a key: a key makes, shows and ends no keys."""

    async def admit(self, request: Request) -> Verdict:
        """Let in who is known by more than a key."""
        verdict = await super().admit(request)
        if isinstance(identity := current_identity.get(), KeyIdentity):
            reason = "API keys are made and revoked by a person who signed in, or with their token; not with a key"
            audit_event(identity.owner, "manage-keys", decision="refused", reason=reason, key=identity.key_id)
            raise refusal(request, identity, Verdict(allowed=False, reason=reason))
        return verdict


KNOWN = Known()
IN_PERSON = InPerson()
