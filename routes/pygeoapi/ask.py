"""Ask pygeoapi: its functions in our threads, always for JSON."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from pygeoapi.api import API, APIRequest


def ask(api: API, function: Callable[..., tuple[Any, int, str]], *arguments: Any) -> dict[str, Any]:
    """Return the document that a function of `pygeoapi.api` answers with; call it in a thread. Raises Problem."""
    asked = SimpleNamespace(args={"f": "json"}, headers={}, path_info="")
    _, _, content = function(api, APIRequest(asked, api.locales), *arguments)
    document: dict[str, Any] = json.loads(content)
    return document
