"""What Airflow tells us, as OpenAPI."""

from typing import Any

from routes.openapi.operation import JSON, content, operation, ref

Value = dict[str, Any]
_TEXT = {"type": "string"}


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
