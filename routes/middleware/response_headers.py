"""What every answer carries: security, and CORS for a web map of any origin."""

from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_EXPOSED = (
    "Link, Location, Content-Bbox, Content-Crs, Content-Datetime, Content-Disposition, Content-Range, Accept-Ranges, "
    "Allow, ETag, Last-Modified, Preference-Applied, Repr-Digest, Retry-After, Scale-Factor, WWW-Authenticate, "
    "X-Request-Id"
)


class ResponseHeaders:
    """Add the headers where the route has not set them, and take the body from answers to HEAD.

    Any origin may read, since nothing here rests on cookies. `url` is the public address, whose origin pages may use.
    """

    def __init__(self, app: ASGIApp, *, url: str) -> None:
        self._app = app
        origin = urlsplit(url)
        self._headers = {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Expose-Headers": _EXPOSED,
            "Content-Security-Policy": (
                f"default-src 'none'; style-src 'self' {origin.scheme}://{origin.netloc}; "
                f"img-src 'self' {origin.scheme}://{origin.netloc}; form-action 'self'; base-uri 'none'; "
                "frame-ancestors 'none'"
            ),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and add to the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bodiless = scope["method"] == "HEAD"

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            elif bodiless and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app(scope, receive, add)
