"""The target of a redirect after login: always one of our pages."""

from urllib.parse import quote, unquote, urlsplit

from starlette.requests import Request

ACCOUNT = "/auth/account"
_LONGEST = 2000


def is_ours(path: str, url: str) -> bool:
    """Return whether this is a path of the server at `url`, prefix included, and a suitable target after a login.

    It is read like by a browser: a backslash is `/`, tabs and line ends are ignored, every form of `..` is resolved.
    """
    prefix = urlsplit(url).path
    place = path.partition("#")[0].partition("?")[0]
    return (
        len(path) <= _LONGEST
        and path.isascii()
        and path.isprintable()
        and not any(sign in path for sign in ' \\"<>')
        and place.startswith(f"{prefix}/")
        and not place.startswith("//")
        and not any(unquote(part) in (".", "..") for part in place.split("/"))
        and (place == f"{prefix}{ACCOUNT}" or not f"{unquote(place)}/".startswith(f"{prefix}/auth/"))
    )


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def path_of(request: Request, url: str) -> str:
    """Return the path and query of the current page for `return`; the account page if it is not a suitable target."""
    path = quote(request.scope.get("public_path", request.scope["path"]))
    query = request.scope["query_string"].decode("latin-1")
    here = f"{path}?{query}" if query else path
    return here if request.method == "GET" and is_ours(here, url) else f"{urlsplit(url).path}{ACCOUNT}"
