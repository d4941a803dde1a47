"""The small values that paths are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

from routes.query.parameters import SHARED, Parameter

JSON = "application/json"
HTML = "text/html"
Value = dict[str, Any]
BYTES: Value = {"type": "string", "format": "binary"}


def ref(kind: str, name: str) -> Value:
    """Return a reference into this document's components."""
    return {"$ref": f"#/components/{kind}/{name}"}


def headers(*names: str) -> Value:
    """Return the headers of an answer, which `routes.openapi.components.HEADERS` describes."""
    return {"headers": {name: ref("headers", name) for name in names}}


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
    return {"description": description, "content": {media_type: {"schema": BYTES} for media_type in media_types}}


def file(*media_types: str) -> Value:
    """Return the answers of an operation that sends a file, whole or by range."""
    described = ("Accept-Ranges", "Content-Disposition", "ETag", "Last-Modified", "Repr-Digest")
    return {
        "200": {**binary("The file.", *media_types), **headers(*described)},
        "206": {
            **binary("A part of it, or several.", *media_types, "multipart/byteranges"),
            **headers("Content-Range", *described),
        },
        "304": {"description": "Unchanged.", **headers(*described)},
    }


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
    """Return one query parameter; its style is written out, as OGC API Features demands it of some."""
    written = {"name": name, "in": "query", "description": description, "required": False}
    return {**written, "style": "form", "explode": False, "schema": schema, **members}


def declared(*parameters: Parameter) -> list[Value]:
    """Return query parameters as they are declared; one that many operations have is a reference."""
    return [ref("parameters", each.name) if SHARED.get(each.name) is each else inline(each) for each in parameters]


def inline(parameter: Parameter, **schema: Any) -> Value:
    """Return one declared query parameter in full, with more members of its schema."""
    deprecated = {"deprecated": True} if parameter.deprecated else {}
    described = query(parameter.name, parameter.description, {**parameter.schema, **schema}, **deprecated)
    return {**described, "required": parameter.required}


def header(name: str, description: str, schema: Value) -> Value:
    """Return one header of a request."""
    return {"name": name, "in": "header", "description": description, "required": False, "schema": schema}


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
        "style": "simple",
        "explode": False,
        "schema": schema or {"type": "string"},
    }
