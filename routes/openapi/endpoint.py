"""Where the definition is read."""

from starlette.requests import Request
from starlette.responses import Response

from routes.guard import NOTHING, GuardedRoute
from routes.pages.render import render
from routes.pages.respond import negotiate
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_MEDIA_TYPE = "application/vnd.oai.openapi+json;version=3.0"


def get_openapi(request: Request) -> Response:
    """Answer with the definition: JSON, or a readable page of the operations."""
    allow_parameters(request)
    state = request.app.state
    document, encoded = state.definition.seen(resources_of(request), issuer=state.issuer)
    headers = {"Vary": "Accept"}
    if negotiate(request, {"json": _MEDIA_TYPE, "html": "text/html"}) == "html":
        page = render(request, "openapi.html", {**document, "title": "The API"})
        return Response(page, headers=headers, media_type="text/html")
    return Response(encoded, headers=headers, media_type=_MEDIA_TYPE)


routes = [GuardedRoute("/openapi", get_openapi, needs=NOTHING, threads="light")]
