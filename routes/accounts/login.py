"""Sign in and out in a browser."""

from http import HTTPStatus

import anyio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from auth.authenticate import COOKIE, cookie_of, session_secret
from auth.issuer import IssuerUnreachable
from auth.logins import PENDING
from auth.policy import audit_event
from auth.refusal import InvalidToken
from auth.session import Session
from auth.sign_in import SignInFailed
from auth.throttle import TooManyFailures
from routes.accounts.person import NO_STORE, address_of, people_of, session_of
from routes.errors import answer
from routes.guard import NOTHING, GuardedRoute
from routes.http.form import CSRF, check_csrf, read_form
from routes.http.problem import Problem, bad_parameter
from routes.http.return_to import is_ours, origin_of, path_of
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_ANSWER = ("state", "code", "iss", "error")


async def get_login(request: Request) -> Response:
    """Send the browser to the issuer's login; it comes back to `return`, a path of this server."""
    allow_parameters(request, "return", one_form=True)
    url = resources_of(request).url
    wanted = request.query_params.get("return")
    if wanted is not None and not is_ours(wanted, url):
        raise bad_parameter("return", wanted[:80], "must be a path of this server, such as /auth/account")
    _slow_a_flood(request)
    begun = await people_of(request).sign_in.begin(wanted or path_of(request, url), login_of(request))
    response = RedirectResponse(begun.address, HTTPStatus.FOUND, NO_STORE)
    set_login(response, begun.browser)
    return response


async def get_callback(request: Request) -> Response:
    """Take the browser back from the issuer and begin its session. Parameters that are not ours are passed over."""
    given = request.query_params
    for name in _ANSWER:
        if len(given.getlist(name)) > 1:
            raise bad_parameter(name, "", "allowed once")
    before = session_secret(request.headers.raw)
    try:
        finished = await people_of(request).sign_in.finish(given, login_of(request), before=before)
    except SignInFailed as error:
        _note_refusal(request, "sign-in", str(error))
        raise Problem(HTTPStatus.BAD_REQUEST, f"The sign-in failed: {error}. Sign in again.") from error
    audit_event(finished.session.identity.owner, "sign-in")
    address = origin_of(resources_of(request).url) + finished.return_to
    response = RedirectResponse(address, HTTPStatus.SEE_OTHER, NO_STORE)
    set_session(response, finished.secret)
    return response


async def post_logout(request: Request) -> Response:
    """End the session here, then send the browser on to end that of the issuer."""
    form = await read_form(request, allowed=(CSRF,))
    session = session_of(request)
    if session is None:
        return _forgotten(request)
    check_csrf(session, form.get(CSRF, ""))
    response = await _end(request, session)
    clear_session(response)
    return response


def _forgotten(request: Request) -> Response:
    """Answer where there is no session.

    A form of another site comes without the cookie of the session that there is: it must not be cleared for that.
    """
    response = RedirectResponse(f"{resources_of(request).url}/", HTTPStatus.SEE_OTHER, NO_STORE)
    if session_secret(request.headers.raw) is not None:
        clear_session(response)
    return response


async def _end(request: Request, session: Session) -> Response:
    """End the session, and send the browser to where the issuer's is ended."""
    sign_in, secret = people_of(request).sign_in, session_secret(request.headers.raw)
    await anyio.to_thread.run_sync(sign_in.sessions.delete, secret or "", limiter=sign_in.threads)
    audit_event(session.identity.owner, "sign-out")
    back = f"{resources_of(request).url}/"
    try:
        address = await sign_in.end_address(session, back)
    except IssuerUnreachable:
        detail = "you are signed out here, but not at the issuer, who does not answer: close the browser"
        return answer(request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "5"}))
    return RedirectResponse(address or back, HTTPStatus.SEE_OTHER, NO_STORE)


async def post_backchannel_logout(request: Request) -> Response:
    """End the sessions that the issuer's logout token names (OpenID Connect Back-Channel Logout 1.0)."""
    form = await read_form(request, allowed=("logout_token",), others=True)
    try:
        ended = await people_of(request).sign_in.apply_logout(form.get("logout_token", ""))
    except InvalidToken as error:
        _note_refusal(request, "back-channel-logout", error.reason)
        raise Problem(HTTPStatus.BAD_REQUEST, error.reason) from error
    audit_event("issuer", "back-channel-logout", sessions=str(ended))
    return Response(status_code=HTTPStatus.OK, headers=NO_STORE)


def _slow_a_flood(request: Request) -> None:
    """Count a login that is begun: too many of one address displace those of others. Raises Problem 429."""
    begun = people_of(request).begun
    attempt = begun.attempt(address_of(request), "", "")
    try:
        begun.admit(attempt)
    except TooManyFailures as error:
        _note_refusal(request, "begin-sign-in", "too many logins were begun from this address")
        headers = {"Retry-After": str(error.seconds)}
        detail = "too many logins were begun from your address; try again in a moment"
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers=headers) from error
    begun.failed(attempt)


def _note_refusal(request: Request, event: str, reason: str) -> None:
    audit_event("unknown", event, decision="refused", reason=reason, address=address_of(request))


LOGIN_COOKIE = "__Host-landcast-login"


def set_session(response: Response, secret: str) -> None:
    """Let the browser keep the session until it is closed; how long it is good is the server's to say."""
    _set(response, COOKIE, secret)


def set_login(response: Response, browser: str) -> None:
    """Let the browser keep what ties its logins to it, of all its tabs: as long as one is good."""
    _set(response, LOGIN_COOKIE, browser, seconds=int(PENDING.total_seconds()))


def login_of(request: Request) -> str | None:
    """Return what ties logins to the browser."""
    return cookie_of(request.headers.raw, LOGIN_COOKIE)


def clear_session(response: Response) -> None:
    """Have the browser forget the session."""
    _set(response, COOKIE, "", seconds=0)


def _set(response: Response, name: str, value: str, *, seconds: int | None = None) -> None:
    response.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")


routes = [
    GuardedRoute("/auth/login", get_login, needs=NOTHING),
    GuardedRoute("/auth/callback", get_callback, needs=NOTHING),
    GuardedRoute("/auth/logout", post_logout, needs=NOTHING, methods=["POST"]),
    GuardedRoute("/auth/backchannel-logout", post_backchannel_logout, needs=NOTHING, methods=["POST"]),
]
