"""The operations that every server of this kind has."""

from typing import Any

from routes.openapi.operation import JSON, content, document, form, operation, ref

Value = dict[str, Any]
_TAG = "server"


def general_paths() -> Value:
    """Return landing page, conformance, definition, collections and health."""
    return {
        "/": {"get": _page("getLandingPage", "What this server is, and where everything begins", "landing")},
        "/conformance": {"get": _page("getConformance", "The standards it conforms to", "conformance")},
        "/openapi": {"get": _definition()},
        "/collections": {"get": _page("getCollections", "All collections", "collections")},
        "/health/live": {"get": _health("getLive", "Whether it answers at all")},
        "/health/ready": {"get": _health("getReady", "Whether it can do its work, by each thing that it needs")},
        "/health/orders": {"get": _health("getOrdersHealth", "Whether orders are taken and done at once", "503")},
    }


def _page(name: str, summary: str, schema: str) -> Value:
    return operation(
        name, summary, tag=_TAG, parameters=[form("json", "html")], responses=document(schema, f"{summary}.")
    )


def _definition() -> Value:
    media_type = "application/vnd.oai.openapi+json;version=3.0"
    return operation(
        "getDefinition",
        "This definition",
        tag=_TAG,
        parameters=[form("json", "html")],
        responses={
            "200": {"description": "OpenAPI 3.0.", "content": content({"type": "object"}, media_type, "text/html")}
        },
    )


def _health(name: str, summary: str, *further: str) -> Value:
    answer = {"description": f"{summary}.", "content": content(ref("schemas", "health"), JSON)}
    return operation(name, summary, tag=_TAG, responses=dict.fromkeys(("200", *further), answer), errors=[400])
