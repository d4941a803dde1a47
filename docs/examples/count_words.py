"""The process beside the DAG `count-words`: it describes what can be ordered; the DAG does it."""

from typing import Any

from pygeoapi.process.base import BaseProcessor

METADATA: dict[str, Any] = {
    "title": "Count words",
    "inputs": {
        "text": {"title": "Text", "schema": {"type": "string"}},
        "table": {"title": "As a table", "schema": {"type": "boolean"}, "minOccurs": 0},
    },
    "outputs": {"counts": {"title": "How often each word is in the text", "schema": {"type": "object"}}},
    "jobControlOptions": ["async-execute"],
    "example": {"inputs": {"text": "a rose is a rose"}},
}


class CountWords(BaseProcessor):
    """Needs no `execute`, which Airflow's DAG is instead."""

    def __init__(self, processor_def: dict[str, Any]) -> None:
        super().__init__(processor_def, METADATA)
