"""The small values that paths are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

JSON = "application/json"
HTML = "text/html"
Value = dict[str, Any]


def ref(kind: str, name: str) -> Value:
    """Return a reference into this document's components."""
    return {"$ref": f"#/components/{kind}/{name}"}


def content(schema: Value, *media_types: str) -> Value:
    """Return the content of an answer: the schema for the first media type, the others as text or bytes."""
    first, *others = media_types
    text: dict[str, Value] = {other: {"schema": {"type": "string"}} for other in others}
    return {first: {"schema": schema}, **text}


def document(schema: str, description: str, media_type: str = JSON) -> Value:
    """Return the answers of an operation that gives one document, as JSON or as a page."""
    return {"200": {"description": description, "content": content(ref("schemas", schema), media_type, HTML)}}


def binary(description: str, *media_types: str) -> Value:
    """Return an answer that is one of these files."""
    schema = {"type": "string", "format": "binary"}
    return {"description": description, "content": {media_type: {"schema": schema} for media_type in media_types}}


def operation(
    name: str,
    summary: str,
    *,
    tag: str,
    responses: Mapping[str, Value],
    parameters: Sequence[Value] = (),
    errors: Sequence[int] = (400, 406),
    **members: Any,
) -> Value:
    """Return one operation; each of `errors`, and whatever else goes wrong, is answered with a problem."""
    problems = {str(status): ref("responses", f"problem{status}") for status in errors}
    return {
        "operationId": name,
        "summary": summary,
        "tags": [tag],
        "parameters": list(parameters),
        "responses": {**responses, **problems, "default": ref("responses", "problem")},
        **members,
    }


def query(name: str, description: str, schema: Value, **members: Any) -> Value:
    """Return one query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": schema, **members}


def form(*formats: str) -> Value:
    """Return the parameter `f` with what an operation offers."""
    return query("f", "The form of the answer; without it, Accept decides.", {"type": "string", "enum": list(formats)})


def path(name: str, description: str, schema: Value | None = None) -> Value:
    """Return one path parameter."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema or {"type": "string"},
    }
