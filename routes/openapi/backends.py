"""The operation for external back ends."""

from routes.openapi.operation import JSON, Value, content, operation, path, ref
from routes.processes.updates import LONGEST_REASON, STATES

_TEXT: Value = {"type": "string"}
_UPDATE: Value = {
    "type": "object",
    "required": ["status"],
    "additionalProperties": False,
    "properties": {
        "id": {**_TEXT, "nullable": True, "description": "That of the address, where it is given."},
        "status": {**_TEXT, "enum": list(STATES)},
        "result": {
            "description": "With SUCCESS, and then needed: a link (http, https), or JSON that is no text.",
            "anyOf": [
                {**_TEXT, "format": "uri", "pattern": "^https?://", "maxLength": 2000},
                {"type": "object", "nullable": True},
                {"type": "array", "items": {}},
                {"type": "number"},
                {"type": "boolean"},
            ],
        },
        "message": {
            **_TEXT,
            "nullable": True,
            "minLength": 1,
            "maxLength": LONGEST_REASON,
            "description": "With FAILED and INVALID: the reason that the owner reads.",
        },
        "send_mail": {
            "type": "boolean",
            "nullable": True,
            "default": False,
            "description": "With SUCCESS, FAILED and INVALID: mail the owner, unless they ordered a mail anyway.",
        },
    },
}
_ID = "6f4b6f0e-5f0d-4c6e-9a53-8f1a4f3c2b10"
_EXAMPLES: Value = {
    "begun": {"summary": "The back end has it", "value": {"id": _ID, "status": "RUNNING"}},
    "link": {
        "summary": "Done; the result is at another address",
        "value": {"status": "SUCCESS", "result": "https://files.example.org/Raster.zip", "send_mail": True},
    },
    "value": {"summary": "Done, the result is a value", "value": {"status": "SUCCESS", "result": {"scenes": 12}}},
    "invalid": {
        "summary": "The order cannot be done",
        "value": {"status": "INVALID", "message": "no scene of that day"},
    },
}


def order_paths() -> Value:
    """Return the path of orders, as back ends tell how they stand."""
    update = operation(
        "updateOrder",
        "What an external back end says of an order",
        tag="jobs",
        parameters=[path("job_id", "The job's identifier.")],
        description="For who administers. From the first update on the back end has the order and no work of this "
        "server is about it; a finished order never changes (409). The same update again changes nothing.",
        requestBody={"required": True, "content": {JSON: {"schema": _UPDATE, "examples": _EXAMPLES}}},
        responses={
            "200": {"description": "The current status of the order.", "content": content(ref("schemas", "job"), JSON)}
        },
        errors=(400, 403, 404, 409, 415, 503),
    )
    return {"/orders/{job_id}": {"put": update}}


def airflow_paths() -> Value:
    """Return where Airflow tells of its runs."""
    return {"/airflow/events": {"post": _event()}}


def _event() -> Value:
    members = {"dag": _TEXT, "run": _TEXT, "state": _TEXT}
    schema = {"type": "object", "required": ["run"], "properties": members}
    return operation(
        "postAirflowEvent",
        "Where Airflow tells that something became of a run; signed as Standard Webhooks has it",
        tag="server",
        responses={
            "204": {"description": "Taken: the run is looked at, if it is one of ours."},
            "429": ref("responses", "problem429"),
        },
        errors=(400, 415, 503),
        requestBody={"required": True, "content": content(schema, JSON)},
    )
