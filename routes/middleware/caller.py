"""Who is calling: while the server is open, always the same."""

from starlette.types import ASGIApp, Receive, Scope, Send

from auth.identity import LOCAL, current_identity


class Caller:
    """Set `current_identity` for the request; anyio carries it into threads."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on with the identity set."""
        reset = current_identity.set(LOCAL)
        try:
            await self._app(scope, receive, send)
        finally:
            current_identity.reset(reset)
