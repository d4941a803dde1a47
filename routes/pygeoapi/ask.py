"""Ask pygeoapi: its functions in our threads, always for JSON."""

import json
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from pygeoapi.api import API, APIRequest


def ask(api: API, function: Callable[..., tuple[Any, int, str]], *arguments: Any) -> dict[str, Any]:
    """Return the document that a function of `pygeoapi.api` answers with; call it in a thread. Raises Problem."""
    return _asked(api, function, arguments)


def ask_by_name(api: API, function: str, *arguments: Any) -> dict[str, Any]:
    """Return what `ask` does of a function named as `module.function`, whose module is slow to import."""
    module, _, name = function.rpartition(".")
    return _asked(api, getattr(import_module(f"pygeoapi.api.{module}"), name), arguments)


def _asked(api: API, function: Callable[..., tuple[Any, int, str]], arguments: tuple[Any, ...]) -> dict[str, Any]:
    asked = SimpleNamespace(args={"f": "json"}, headers={}, path_info="")
    _, _, content = function(api, APIRequest(asked, api.locales), *arguments)
    document: dict[str, Any] = json.loads(content)
    return document
