"""Who is calling, found out before anything else is decided."""

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth.audit import audit_event
from auth.authenticate import Authenticator
from auth.credentials import InvalidCredential
from auth.identity import ANONYMOUS, LOCAL, Identity, current_identity
from auth.keys.text import InvalidKey
from auth.refusal import InvalidToken
from auth.throttle import TooManyFailures
from routes.http.problem import Problem

_BY = "Authorization, Cookie, X-Api-Key"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Authentication:
    """Set `current_identity` for the request; anyio carries it into threads. While all is open it is `LOCAL`.

    Where callers differ, so may answers: caches are told by what, and that what a known caller gets is theirs alone.
    `url` is the public address: a browser that is signed in changes something only from a page of ours.
    """

    def __init__(self, app: ASGIApp, *, url: str) -> None:
        self._app = app
        public = urlsplit(url)
        self._origin = f"{public.scheme}://{public.netloc}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on with the identity set. Raises what the authenticator raises for credentials that are none."""
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
        """Refuse what another site has a signed-in browser send: browsers name the origin, and scripts cannot lie."""
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
    """Say by what the answer varies, and to a known caller that no shared cache may keep it."""
    headers.add_vary_header(_BY)
    control = headers.get("cache-control", "")
    if known and "private" not in control and "no-store" not in control:
        kept = [word.strip() for word in control.split(",") if word.strip() not in ("", "public")]
        headers["Cache-Control"] = ", ".join(["private", *kept])
