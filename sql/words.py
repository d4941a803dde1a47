"""Statements as psycopg2 takes them."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")


@lru_cache(maxsize=512)
def worded(statement: str) -> str:
    """Return the statement with its parameters written as `%(name)s`, where it has any."""
    if not _PARAMETER.search(statement):
        return statement
    return _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%"))


def storable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values that PostgreSQL can hold: a text of its has no NUL, which nothing of ours can mean."""
    return {name: _storable(value) for name, value in values.items()}


def _storable(value: Any) -> Any:
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value
