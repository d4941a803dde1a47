"""Read the settings from the environment; all mistakes are reported together."""

import logging
import os
import time
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from server.secrets.errors import VaultUnavailable
from server.secrets.live import CredentialRenewer, LiveSecrets, needs_vault, problems_of_vault, read_vault
from server.secrets.settings import VaultSettings
from server.secrets.sources import DATABASE, Given, gather
from server.settings import CONCERNS, Settings
from sql.address import Address, SharedAddress

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


class WrongSettings(Exception):
    """Environment variables are invalid; `problems` has a message for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_settings(*, patient: bool = False) -> Settings:
    """Return the settings of this process's environment, with values from files and Vault.

    If Vault does not answer, a `patient` caller waits for it for LANDCAST_VAULT_WAIT seconds. Raises WrongSettings.
    """
    given = gather(os.environ, variables())
    vault, wrong = _concern(VaultSettings, given, frozenset())
    given.problems.extend(wrong or problems_of_vault(given, vault))
    failed, renewer = frozenset[str](given.references()), None
    if not given.problems and needs_vault(given, vault):
        failed, renewer = _of_vault(given, vault, vault.wait if patient else 0.0)
    values: dict[str, Any] = {}
    for concern in CONCERNS:
        values[_name(concern)], wrong = _concern(concern, given, failed)
        given.problems.extend(wrong if concern is not VaultSettings else ())
    if given.problems:
        raise WrongSettings(given.problems)
    return Settings(**values, live=_live(given, renewer))


def read_vault_settings() -> VaultSettings:
    """Return only the settings of Vault, without asking it. Raises WrongSettings."""
    given = gather(os.environ, variables())
    vault, wrong = _concern(VaultSettings, given, frozenset())
    if vault.url is None and not wrong:
        wrong = ["LANDCAST_VAULT_URL: missing"]
    if problems := [*given.problems, *(wrong or problems_of_vault(given, vault))]:
        raise WrongSettings(problems)
    return vault


def _of_vault(given: Given, vault: VaultSettings, patience: float) -> tuple[frozenset[str], CredentialRenewer | None]:
    """Read the values in Vault; return the variables that failed. Vault is asked every second until it answers."""
    until = time.monotonic() + patience
    while True:
        try:
            return read_vault(given, vault)
        except VaultUnavailable as error:
            if time.monotonic() + _RETRY_SECONDS > until:
                given.problems.append(f"LANDCAST_VAULT_URL: {error}")
                return frozenset({*given.references(), DATABASE}), None
            _log.warning("%s; asking again for %.0f s", error, until - time.monotonic())
            time.sleep(_RETRY_SECONDS)


def _live(given: Given, renewer: CredentialRenewer | None) -> LiveSecrets | None:
    """Return the address of the database in shared memory, unless a plain environment variable has it."""
    if renewer is None and DATABASE not in given.hidden:
        return None
    address = Address(given.values[DATABASE]) if renewer is None else renewer.address()
    return LiveSecrets(SharedAddress.make(address), renewer)


def _concern[T: BaseSettings](concern: type[T], given: Given, failed: frozenset[str]) -> tuple[T, list[str]]:
    """Return the settings of a concern and their errors; with errors they are the defaults."""
    prefix = str(concern.model_config["env_prefix"])
    fields = {f"{prefix}{name.upper()}": name for name in concern.model_fields}
    hidden: dict[str, Any] = {fields[name]: given.values[name] for name in given.hidden & fields.keys() - failed}
    try:
        return concern(**hidden), []
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
    said = [(f"{prefix}{_field(detail)}", detail["msg"].removeprefix("Value error, ")) for detail in details]
    return concern.model_construct(), [f"{name}: {message}" for name, message in said if name not in failed]


def variables() -> dict[str, str]:
    """Return every known variable and its description."""
    return {
        f"{concern.model_config['env_prefix']}{field.upper()}": info.description or ""
        for concern in CONCERNS
        for field, info in concern.model_fields.items()
    }


def _name(concern: type[BaseSettings]) -> str:
    return concern.__name__.removesuffix("Settings").lower()


def _field(detail: Any) -> str:
    return str(detail["loc"][0]).upper() if detail["loc"] else ""
