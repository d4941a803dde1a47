"""The outermost handler: what nobody expected, logged with its traceback and answered without it."""

import logging

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routes.errors import answer, problem_of

_LOGGER = logging.getLogger(__name__)


class Failures:
    """Answer an error that no table knows with a 500 problem; once the answer has begun, it is only broken off."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and answer for what is raised."""
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except ClientDisconnect:
            _LOGGER.info("the client has gone")
        except Exception as error:
            if scope["type"] != "http":
                raise
            problem = problem_of(error)
            if begun:
                raise
            await answer(Request(scope), problem)(scope, receive, send)
