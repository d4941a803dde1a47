"""Read the settings from the environment; all mistakes are reported together."""

import os
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from server.settings import CONCERNS, Settings

PREFIX = "LANDCAST_"


class WrongSettings(Exception):
    """Environment variables are invalid; `problems` has a message for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_settings() -> Settings:
    """Return the settings of this process's environment. Raises WrongSettings."""
    problems = _unknown(os.environ)
    values: dict[str, Any] = {}
    for concern in CONCERNS:
        try:
            values[_name(concern)] = concern()
        except ValidationError as error:
            problems += [_describe(concern, detail) for detail in error.errors(include_input=False, include_url=False)]
    if problems:
        raise WrongSettings(problems)
    return Settings(**values)


def variables() -> dict[str, str]:
    """Return every known variable and its description."""
    return {
        f"{concern.model_config['env_prefix']}{field.upper()}": info.description or ""
        for concern in CONCERNS
        for field, info in concern.model_fields.items()
    }


def _name(concern: type[BaseSettings]) -> str:
    return concern.__name__.removesuffix("Settings").lower()


def _unknown(environment: Mapping[str, str]) -> list[str]:
    known = variables()
    return [
        f"{name}: no such setting; `landcast serve --help` lists them"
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in known
    ]


def _describe(concern: type[BaseSettings], detail: Any) -> str:
    field = str(detail["loc"][0]) if detail["loc"] else ""
    return f"{concern.model_config['env_prefix']}{field.upper()}: {detail['msg'].removeprefix('Value error, ')}"
