"""What every answer carries: security, and CORS for a web map of any origin."""

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_EXPOSED = (
    "Link, Location, Content-Bbox, Content-Crs, Content-Datetime, Content-Disposition, Content-Range, Accept-Ranges, "
    "Allow, ETag, Last-Modified, Preference-Applied, Repr-Digest, Retry-After, Scale-Factor, WWW-Authenticate, "
    "X-Request-Id"
)


def content_policy(url: str, *form_targets: str) -> str:
    """Return the Content-Security-Policy of a page: nothing but our style and pictures, no script.

    `form_targets` are addresses where a form of the page leads to in the end: browsers hold redirects to it too.
    """
    ours, *others = (f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, (url, *form_targets)))
    targets = " ".join(["'self'", *dict.fromkeys(other for other in others if other != ours)])
    return (
        f"default-src 'none'; style-src 'self' {ours}; img-src 'self' {ours}; form-action {targets}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


class ResponseHeaders:
    """Add the headers where the route has not set them, and take the body from answers to HEAD.

    Every 503 says when to come again. Any origin may read: to `*` browsers show nothing that they fetched with a
    cookie. `url` is the public address, whose origin pages may use.
    """

    def __init__(self, app: ASGIApp, *, url: str) -> None:
        self._app = app
        self._headers = {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Expose-Headers": _EXPOSED,
            "Content-Security-Policy": content_policy(url),
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
                if message["status"] == HTTPStatus.SERVICE_UNAVAILABLE:
                    headers.setdefault("Retry-After", "5")
            elif bodiless and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app(scope, receive, add)
