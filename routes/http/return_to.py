"""Where a login leads back to: a page of ours, whatever the address says."""

from urllib.parse import quote, unquote, urlsplit

from starlette.requests import Request

ACCOUNT = "/auth/account"
_LONGEST = 2000


def is_ours(path: str, url: str) -> bool:
    """Say whether this is a path of the server at `url`, prefix included, and after a login a place to go to.

    Read as browsers do: they take a backslash for `/`, leave out tabs and line ends, and resolve `..` however written.
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
    """Return the path and query of a page that is being shown, as `return`; the account where it is no place to go."""
    path = quote(request.scope.get("public_path", request.scope["path"]))
    query = request.scope["query_string"].decode("latin-1")
    here = f"{path}?{query}" if query else path
    return here if request.method == "GET" and is_ours(here, url) else f"{urlsplit(url).path}{ACCOUNT}"
