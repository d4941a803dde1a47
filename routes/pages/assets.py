"""The style and the pictures of the pages."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from routes.guard import NOTHING, GuardedRoute
from routes.http.file_response import send_file

_FOLDER = Path(__file__).parent / "static"
_FAVICON = "favicon.ico"
_TYPES = {"landcast.css": "text/css; charset=utf-8", "landcast.svg": "image/svg+xml", _FAVICON: "image/x-icon"}


async def get_static(request: Request) -> Response:
    """Answer with one of our own files."""
    name = request.path_params.get("name", _FAVICON)
    return send_file(
        request,
        _FOLDER / name if name in _TYPES else _FOLDER / "-",
        media_type=_TYPES.get(name, ""),
        headers={"Cache-Control": "public, max-age=3600"},
    )


routes = [
    GuardedRoute("/static/{name}", get_static, needs=NOTHING, include_in_schema=False),
    GuardedRoute("/favicon.ico", get_static, needs=NOTHING, include_in_schema=False),
]
