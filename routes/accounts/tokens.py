"""Tokens for programs, got here instead of at the issuer: the old API's addresses and fields."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.policy import audit_event
from auth.throttle import TooManyFailures
from auth.token_endpoint import Client, Granted, GrantRefused, owner_of
from routes.accounts.person import NO_STORE, address_of, people_of
from routes.guard import NOTHING, GuardedRoute
from routes.http.body import read_object
from routes.http.challenge import BEARER
from routes.http.form import read_form
from routes.http.problem import Problem
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_FIELDS = (
    "access_token",
    "expires_in",
    "refresh_expires_in",
    "refresh_token",
    "token_type",
    "session_state",
    "scope",
)
"""The fields of the old answers; the issuer leaves out what a program's own account does not have."""
_FORM = ("grant_type", "username", "password", "client_id", "client_secret", "scope")
_OURS = ("invalid_client", "unauthorized_client")
"""What the issuer answers when the server's own client is not set up for the question."""
_NO_PASSWORDS = (
    "passwords are not accepted (LANDCAST_AUTH_PASSWORD_GRANT is off): a program with a password has all "
    "rights of its person, everywhere. Sign in with a browser at /auth/login and create a key at /auth/account, or let "
    "the program use the authorization code with PKCE, or its own account with grant_type=client_credentials"
)


async def post_token(request: Request) -> Response:
    """Answer with tokens for a program's own account or, where the operator allows it, for a name and password."""
    allow_parameters(request, one_form=True)
    form = await read_form(request, allowed=_FORM)
    match form.get("grant_type", "password"):
        case "password":
            return await _by_password(request, form)
        case "client_credentials":
            return await _by_client(request, form)
    raise Problem(HTTPStatus.BAD_REQUEST, "field 'grant_type': allowed: password, client_credentials")


async def _by_password(request: Request, form: Mapping[str, str]) -> Response:
    people = people_of(request)
    if not people.password_grant:
        raise Problem(HTTPStatus.FORBIDDEN, _NO_PASSWORDS)
    user, password = _required(form, "username"), _required(form, "password")
    ask = partial(people.endpoint.by_password, user, password, form.get("scope") or "openid")
    granted = await _slowed(request, (user, password), ask, refused=_unauthorized("wrong user name or password"))
    audit_event(user[:80], "token-by-password")
    return _tokens(granted)


async def _by_client(request: Request, form: Mapping[str, str]) -> Response:
    client_id, secret = _required(form, "client_id"), _required(form, "client_secret")
    ask = partial(people_of(request).endpoint.by_client, Client(client_id, secret), form.get("scope") or "openid")
    refused = _unauthorized("wrong client or secret, or the client has no account of its own")
    granted = await _slowed(request, (client_id, secret), ask, refused=refused, ours=())
    audit_event(client_id[:80], "token-by-client")
    return _tokens(granted)


async def post_refresh(request: Request) -> Response:
    """Answer with new tokens for a refresh token."""
    token = await _refresh_token(request)
    ask = partial(people_of(request).endpoint.refresh, token)
    granted = await _slowed(request, ("", token), ask, refused=_bad_refresh_token())
    audit_event(owner_of(token, people_of(request).issuer), "refresh-token")
    return _tokens(granted)


async def post_revoke(request: Request) -> Response:
    """End the session of a refresh token, and with it every token of that session."""
    token = await _refresh_token(request)
    ask = partial(people_of(request).endpoint.revoke, token)
    await _slowed(request, ("", token), ask, refused=_bad_refresh_token())
    audit_event(owner_of(token, people_of(request).issuer), "revoke-token")
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=NO_STORE)


async def _slowed[Answer](
    request: Request,
    credential: tuple[str, str],
    ask: Callable[[], Awaitable[Answer]],
    *,
    refused: Problem,
    ours: tuple[str, ...] = _OURS,
) -> Answer:
    """Return what the issuer answers to a name and its secret; failures are slowed, by address and name.

    Raises TooManyFailures, IssuerUnreachable, `refused`.
    """
    throttle = people_of(request).authenticator.throttle
    attempt = throttle.attempt(address_of(request), *credential)
    try:
        throttle.admit(attempt)
        answer = await ask()
    except TooManyFailures as error:
        _note_refusal(request, str(error))
        raise
    except GrantRefused as error:
        if error.error in ours:
            raise _not_set_up() from error
        throttle.failed(attempt)
        _note_refusal(request, refused.detail)
        raise refused from error
    throttle.succeeded(attempt)
    return answer


def _note_refusal(request: Request, reason: str) -> None:
    """Write down where a guess came from, and not what was guessed: some people type their password as their name."""
    audit_event("unknown", "bad-credentials", decision="refused", reason=reason, address=address_of(request))


async def _refresh_token(request: Request) -> str:
    allow_parameters(request, one_form=True)
    match await read_object(request, limiter=resources_of(request).light, such_as='{"refresh_token": "…"}'):
        case {"refresh_token": str(token), **others} if token and not others:
            return token
    raise Problem(HTTPStatus.BAD_REQUEST, 'the body must be {"refresh_token": "…"}')


def _required(form: Mapping[str, str], name: str) -> str:
    value = form.get(name)
    if not value:
        raise Problem(HTTPStatus.BAD_REQUEST, f"field {name!r}: missing")
    return value


def _tokens(granted: Granted) -> Response:
    return JSONResponse({name: granted[name] for name in _FIELDS if name in granted}, headers=NO_STORE)


def _unauthorized(detail: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": BEARER})


def _bad_refresh_token() -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, "the refresh token is invalid or has expired")


def _not_set_up() -> Problem:
    detail = "the server's client at the issuer is not set up for this; its operator can change that"
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "60"})


routes = [
    GuardedRoute("/auth/token", post_token, needs=NOTHING, methods=["POST"]),
    GuardedRoute("/auth/refresh", post_refresh, needs=NOTHING, methods=["POST"]),
    GuardedRoute("/auth/revoke", post_revoke, needs=NOTHING, methods=["POST"]),
]
