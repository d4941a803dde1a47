"""The style and the pictures of the pages."""

from mimetypes import guess_type
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from routes.guard import NOTHING, GuardedRoute
from routes.http.file_response import send_file

_FOLDER = Path(__file__).parent / "static"
_FAVICON = "favicon.ico"
_TYPES = {
    "landcast.css": "text/css; charset=utf-8",
    "landcast.svg": "image/svg+xml",
    "api.js": "text/javascript; charset=utf-8",
    "api.js.map": "application/json",
    "vendor/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "vendor/swagger-ui.css": "text/css; charset=utf-8",
    "map.css": "text/css; charset=utf-8",
    "map.js": "text/javascript; charset=utf-8",
    "map.js.map": "application/json",
    "page.js": "text/javascript; charset=utf-8",
    "page.js.map": "application/json",
    "licenses.txt": "text/plain; charset=utf-8",
    "base.json": "application/json",
    _FAVICON: "image/x-icon",
}
_CACHED = {"Cache-Control": "public, max-age=3600"}


async def get_static(request: Request) -> Response:
    """Answer with a file of the operator's folder, or one of our own."""
    name = request.path_params.get("name", _FAVICON)
    theirs: Path | None = request.app.state.pages.static.get(name)
    if theirs is not None:
        media_type = guess_type(name)[0] or "application/octet-stream"
        return send_file(request, theirs, media_type=media_type, headers=_CACHED)
    return send_file(
        request,
        _FOLDER / name if name in _TYPES else _FOLDER / "-",
        media_type=_TYPES.get(name, ""),
        headers=_CACHED,
    )


routes = [
    GuardedRoute("/static/{name:path}", get_static, needs=NOTHING, include_in_schema=False),
    GuardedRoute("/favicon.ico", get_static, needs=NOTHING, include_in_schema=False),
]
