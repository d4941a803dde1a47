"""The inputs that all orders of products share: their purpose, and the recipient of notifications."""

from collections.abc import Mapping
from typing import Any

ORDER: Mapping[str, Mapping[str, Any]] = {
    "project": {
        "title": "Project",
        "description": "What the order is for; it is kept with the order.",
        "minOccurs": 0,
        "schema": {"type": "string", "maxLength": 200, "default": "CLC-Backbone-Products"},
    },
    "test": {
        "title": "Test",
        "description": "Whether the order is a test: the same is done, and its status and its package "
        "say so; where orders run on Airflow, in places and queues for tests.",
        "minOccurs": 0,
        "schema": {"type": "boolean", "default": False},
    },
    "send_mail": {
        "title": "Send mail",
        "description": "Whether a mail is wanted once the result is there or the order failed; refused where "
        "none can be sent.",
        "minOccurs": 0,
        "schema": {"type": "boolean", "default": False},
    },
}
