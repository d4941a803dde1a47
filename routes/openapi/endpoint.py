"""Where the definition is read."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from routes.pages import render
from routes.parameters import allow_parameters
from routes.respond import negotiate

_MEDIA_TYPE = "application/vnd.oai.openapi+json;version=3.0"


async def get_openapi(request: Request) -> Response:
    """Answer with the definition: JSON, or a readable page of the operations."""
    allow_parameters(request)
    document: dict[str, Any] = request.app.state.openapi
    headers = {"Vary": "Accept"}
    if negotiate(request, {"json": _MEDIA_TYPE, "html": "text/html"}) == "html":
        page = render(request, "openapi.html", {**document, "title": "The API"})
        return Response(page, headers=headers, media_type="text/html")
    return JSONResponse(document, headers=headers, media_type=_MEDIA_TYPE)


routes = [Route("/openapi", get_openapi)]
