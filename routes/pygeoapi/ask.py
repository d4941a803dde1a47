"""Ask pygeoapi: its functions in our threads, always for JSON."""

import json
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from pygeoapi.api import API, APIRequest

Handler = Callable[..., tuple[dict[str, str], int, Any]]


def ask(api: API, function: Handler, *arguments: Any) -> dict[str, Any]:
    """Return the document that a function of `pygeoapi.api` answers with; call it in a thread. Raises Problem."""
    asked = SimpleNamespace(args={"f": "json"}, headers={}, path_info="")
    _, _, content = function(api, APIRequest(asked, api.locales), *arguments)
    document: dict[str, Any] = json.loads(content)
    return document


def handler_of(name: str) -> Handler:
    """Return a function below `pygeoapi.api`, such as `tiles.tilematrixsets`.

    The modules are imported only now: they are slow to import, and most configurations need none of them.
    """
    module, _, function = f"pygeoapi.api.{name}".rpartition(".")
    handler: Handler = getattr(import_module(module), function)
    return handler
