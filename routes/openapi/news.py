"""What the addresses of a `subscriber` are sent (18-062r2, clause 13)."""

from typing import Any

from routes.openapi.operation import content, ref

Value = dict[str, Any]

_HEADERS = {
    "webhook-id": "The same on every try.",
    "webhook-timestamp": "When it was sent, in seconds since 1970.",
    "webhook-signature": "`v1,` and base64 of HMAC-SHA256 over id, time and body, dots between (Standard Webhooks).",
}

_EXCEPTION: Value = {
    "type": "object",
    "required": ["type"],
    "properties": {name: {"type": "string"} for name in ("type", "title", "detail")},
}
_FAILURE: Value = {
    "allOf": [
        ref("schemas", "job"),
        {"type": "object", "required": ["exception"], "properties": {"exception": _EXCEPTION}},
    ]
}


def _told(member: str, schema: Value, description: str) -> Value:
    post = {
        "summary": description,
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
            for name, text in _HEADERS.items()
        ],
        "requestBody": {"required": True, "content": content(schema, "application/json")},
        "responses": {
            "2XX": {"description": "Taken."},
            "4XX": {"description": "Not sent again, but for 408 and 429."},
            "default": {"description": "Sent again later, after 429 and 503 not before `Retry-After` says."},
        },
    }
    return {f"{{$request.body#/subscriber/{member}}}": {"post": post}}


CALLBACKS: Value = {
    "success": _told("successUri", ref("schemas", "results"), "The results."),
    "inProgress": _told("inProgressUri", ref("schemas", "job"), "The job, once it is running."),
    "failed": _told("failedUri", _FAILURE, "The job, and why it failed."),
}
