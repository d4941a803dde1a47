"""Who is calling, found out before anything else is decided."""

from collections.abc import Awaitable, Callable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth.identity import ANONYMOUS, LOCAL, Identity, current_identity

Identify = Callable[[Scope], Awaitable[Identity]]
_BY = "Authorization, Cookie, X-Api-Key"


async def local(_scope: Scope) -> Identity:
    """Return the one caller that an open server has."""
    return LOCAL


class Caller:
    """Set `current_identity` for the request; anyio carries it into threads.

    Where callers differ, so may answers: caches are told by what, and that what a known caller gets is theirs alone.
    """

    def __init__(self, app: ASGIApp, *, identify: Identify = local) -> None:
        self._app = app
        self._identify = identify

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on with the identity set. Raises what `identify` raises for credentials that are none."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identity = await self._identify(scope)
        reset = current_identity.set(identity)
        try:
            await self._app(scope, receive, send if identity is LOCAL else _telling(identity, send))
        finally:
            current_identity.reset(reset)


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
