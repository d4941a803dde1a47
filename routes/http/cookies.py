"""The two cookies: of a session, and of logins on their way.

Both are `__Host-`: browsers take them over https (or from this machine) alone, for this host alone, and no other host
of the domain can set them. `Lax`, as the issuer sends the browser back from another site.
"""

from starlette.requests import Request
from starlette.responses import Response

from auth.authenticate import COOKIE, cookie_of
from auth.logins import PENDING

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
