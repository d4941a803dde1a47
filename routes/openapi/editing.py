"""The operations that change an item of a collection that is edited."""

from typing import Any

from routes.features.edit import MERGE_PATCH
from routes.http.media_types import GEOJSON
from routes.openapi.operation import Value, content, operation, path, ref

_PARAMETERS: list[Value] = [
    path("item_id", "The item's identifier."),
    {"name": "If-Match", "in": "header", "required": True, "schema": {"type": "string"}},
]
_TAG: Value = {"ETag": {"description": "The state of the item.", "schema": {"type": "string"}}}
_WITHOUT_TAG: Value = {
    "description": "If-Match is missing.",
    "content": content(ref("schemas", "problem"), "application/problem+json"),
}


def edit_operations(collection_id: str) -> Value:
    """Return the operations of an item's path, by method."""
    feature = {"required": True, "content": {GEOJSON: {"schema": ref("schemas", "feature")}}}
    patch = {"required": True, "content": {MERGE_PATCH: {"schema": {"type": "object"}}}}

    def edit(name: str, summary: str, **body: Any) -> Value:
        done = {"description": "It is done.", **({"headers": _TAG} if body else {})}
        return operation(
            f"{name}.{collection_id}",
            summary,
            tag=collection_id,
            parameters=_PARAMETERS,
            responses={"204": done, "428": _WITHOUT_TAG},
            errors=(400, 404, 406, 412, 503, *((413, 415) if body else ())),
            **body,
        )

    return {
        "put": edit("replaceItem", "Replace an item", requestBody=feature),
        "patch": edit("updateItem", "Change properties or the geometry of an item", requestBody=patch),
        "delete": edit("deleteItem", "Delete an item"),
    }
