"""The inputs that all orders of products share: their purpose, and the recipient of notifications."""

from collections.abc import Mapping
from typing import Any

ORDER: Mapping[str, Mapping[str, Any]] = {
    "project": {
        "title": "Project",
        "description": "The purpose of the order; it is stored with the order.",
        "minOccurs": 0,
        "schema": {"type": "string", "maxLength": 200, "default": "CLC-Backbone-Products"},
    },
    "test": {
        "title": "Test",
        "description": "Whether the order is a test: it is executed like others, and marked in its status and "
        "its package; on Airflow with the services and queues for tests.",
        "minOccurs": 0,
        "schema": {"type": "boolean", "default": False},
    },
    "send_mail": {
        "title": "Send mail",
        "description": "Whether to send a mail when the result is ready or the order has failed; refused if "
        "none can be sent.",
        "minOccurs": 0,
        "schema": {"type": "boolean", "default": False},
    },
}
