"""Authentication of the caller before all other decisions, and the answers to OPTIONS."""

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth.authenticate import Authenticator
from auth.credentials import InvalidCredential
from auth.identity import ANONYMOUS, LOCAL, Identity, current_identity
from auth.keys.text import InvalidKey
from auth.policy import audit_event
from auth.refusal import InvalidToken
from auth.throttle import TooManyFailures
from routes.errors import allowed_methods
from routes.http.problem import Problem

_BY = "Authorization, Cookie, X-Api-Key"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_PREFLIGHT = {
    "Access-Control-Allow-Headers": (
        "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Prefer, Range, "
        "Traceparent, X-Api-Key, X-Request-Id"
    ),
    "Access-Control-Max-Age": "86400",
}


class Authentication:
    """Set `current_identity` for the request; anyio copies it into threads. On an open server it is `LOCAL`.

    As answers depend on the caller, they have Vary, and those to authenticated callers must not be in a shared cache.
    `url` is the public address: a signed-in browser can make changes only from our pages.
    """

    def __init__(self, app: ASGIApp, *, url: str) -> None:
        self._app = app
        public = urlsplit(url)
        self._origin = f"{public.scheme}://{public.netloc}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the identity set. Raises the authenticator's error for invalid credentials."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        authenticator: Authenticator | None = scope["app"].state.authenticator
        identity = LOCAL if authenticator is None else await self._identify(scope, authenticator)
        reset = current_identity.set(identity)
        try:
            await self._app(scope, receive, send if authenticator is None else _telling(identity, send))
        finally:
            current_identity.reset(reset)

    async def _identify(self, scope: Scope, authenticator: Authenticator) -> Identity:
        peer = scope["client"][0] if scope.get("client") else ""
        try:
            caller = await authenticator.identify(scope["headers"], peer)
        except (InvalidCredential, InvalidToken, InvalidKey, TooManyFailures) as error:
            address = authenticator.address(scope["headers"], peer)
            audit_event("unknown", "bad-credentials", decision="refused", reason=str(error), address=address)
            raise
        scope.setdefault("state", {})["session"] = caller.session
        if caller.session is not None and scope["method"] not in _SAFE:
            try:
                self._check_origin(Headers(scope=scope))
            except Problem as problem:
                audit_event(caller.identity.owner, "forged-form", decision="refused", reason=problem.detail)
                raise
        return caller.identity

    def _check_origin(self, headers: Headers) -> None:
        """Refuse changes by a signed-in browser from another site; scripts cannot forge the origin."""
        origin = headers.get("origin")
        if origin is not None and origin != self._origin:
            raise Problem(HTTPStatus.FORBIDDEN, "a signed-in browser changes things from pages of this server only")
        if origin is None and headers.get("sec-fetch-site") not in (None, "same-origin", "none"):
            raise Problem(HTTPStatus.FORBIDDEN, "a signed-in browser changes things from pages of this server only")


def _telling(identity: Identity, send: Send) -> Send:
    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            tell_caches(MutableHeaders(scope=message), known=identity.method != ANONYMOUS.method)
        await send(message)

    return tell


def tell_caches(headers: MutableHeaders, *, known: bool) -> None:
    """Set Vary, and for an authenticated caller Cache-Control, so that no shared cache stores the answer."""
    headers.add_vary_header(_BY)
    control = headers.get("cache-control", "")
    if known and "private" not in control and "no-store" not in control:
        directives = [word.strip() for word in control.split(",") if word.strip() not in ("", "public")]
        headers["Cache-Control"] = ", ".join(["private", *directives])


class Options:
    """Answer OPTIONS at every existing path, also CORS preflights.

    Preflights have no credentials; invalid ones are refused earlier, by `Authentication`.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        asked = scope["type"] == "http" and scope["method"] == "OPTIONS"
        if asked and (methods := allowed_methods(self._routes, scope)):
            await _options(scope, methods)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _options(scope: Scope, methods: tuple[str, ...]) -> Response:
    headers = {"Allow": ", ".join(methods)}
    if "access-control-request-method" in Headers(scope=scope):
        headers |= {"Access-Control-Allow-Methods": ", ".join(methods), **_PREFLIGHT}
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
