"""Patches of pygeoapi's effects on data and on the process; each states when to remove it."""

import json
import sys
from typing import Any

import pygeoapi.api
import pygeoapi.util


def apply_patches() -> None:
    """Replace the functions in every module of pygeoapi that has imported them; safe to call again."""
    _replace("to_json", pygeoapi.util.to_json, unaltered_json)
    _replace("setup_logger", pygeoapi.api.setup_logger, _leave_the_log_alone)


def unaltered_json(document: Any, pretty: bool = False) -> str:  # noqa: FBT001, FBT002 - pygeoapi's signature
    """Serialise like pygeoapi, but leave `<` unchanged. Remove when pygeoapi has released its pull request 2310."""
    return json.dumps(
        document,
        default=pygeoapi.util.json_serial,
        indent=4 if pretty else None,
        separators=(",", ":"),
    )


def _leave_the_log_alone(_configuration: Any) -> None:
    """Replace `setup_logger`, whose basicConfig writes local time. Remove when it can be switched off."""


def _replace(name: str, old: Any, new: Any) -> None:
    for module in list(sys.modules.values()):
        if module.__name__.startswith("pygeoapi") and getattr(module, name, None) is old:
            setattr(module, name, new)
