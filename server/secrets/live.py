"""The secrets of a running server: read once at its start; a process renews the credentials of the database."""

import atexit
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from server.secrets.errors import SecretMissing, VaultError, VaultForbidden, VaultRefused, VaultUnavailable
from server.secrets.settings import VaultSettings
from server.secrets.sources import DATABASE, Given, WrongValue, merged, resolve
from sql.address import Address, SharedAddress

if TYPE_CHECKING:
    from server.secrets.vault import Secret, Vault

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_CHECK_SECONDS = 10.0
"""Seconds between two checks of Vault and of what it lent, also after Vault has refused a request."""
_SHORTEST = 0.2
_LEAST_SECONDS = 2.0
"""The shortest accepted lifetime of credentials, as Vault creates another database user for each replacement."""
_OF_VAULT = "LANDCAST_VAULT_"
_URL = f"{_OF_VAULT}URL"


class LiveSecrets:
    """The address of the database in shared memory, and the renewer of its credentials, if Vault lends them."""

    def __init__(self, address: SharedAddress, renewer: "CredentialRenewer | None" = None) -> None:
        self.address = address
        self.renewer = renewer

    def trouble(self) -> str:
        """Return why the credentials of the database cannot be renewed at present, or an empty text."""
        now = self.address.read()
        if now.is_over():
            return f"the credentials of the database have expired; {now.trouble or 'they were not renewed'}"
        return now.trouble


@dataclass(frozen=True, slots=True)
class _Borrowed:
    """Credentials of the database, and the login that they expire with."""

    secret: "Secret"
    login: "Secret | None"

    @property
    def expires(self) -> float | None:
        """When they expire; a static password does not expire with the login."""
        ending = (self.secret, self.login) if self.secret.id else (self.secret,)
        return min((each.expires for each in ending if each is not None and each.expires is not None), default=None)


class CredentialRenewer:
    """Renews the credentials of the database, and replaces them before they expire; only one process does so.

    Old credentials are not revoked but expire, so that transactions with them can end.
    """

    def __init__(self, vault: "Vault", path: str, url: str) -> None:
        self._vault = vault
        self._path = path
        self._url = url
        self._trouble = ""
        self._borrowed = self._borrow()
        self.handed_over = False
        """Whether another process renews and revokes them."""

    def address(self) -> Address:
        """Return the address with the current credentials."""
        return Address(merged(self._url, self._borrowed.secret.value), self._borrowed.expires, self._trouble)

    def step(self, shared: SharedAddress) -> float:
        """Renew login and credentials if necessary, publish the address; return the seconds until the next step."""
        trouble, retry = "", _CHECK_SECONDS
        try:
            self._vault.check()
            self._renew()
        except VaultUnavailable as error:
            trouble, retry = str(error), _RETRY_SECONDS
        except (VaultError, WrongValue) as error:
            trouble = str(error)
        if trouble != self._trouble:
            _log.log(
                logging.WARNING if trouble else logging.INFO,
                "credentials of the database: %s",
                trouble or "renewed again",
            )
            self._trouble = trouble
        if (address := self.address()) != shared.read():
            shared.write(address)
        return retry if trouble else self._pause()

    def _renew(self) -> None:
        login = self._vault.login
        if login is None or login.needs_renewal():
            login = self._vault.renew_login()
        secret = self._renewed(self._borrowed.secret)
        if secret.id and not secret.needs_renewal() and self._vault.knows(secret) and self._is_of_this_login():
            self._borrowed = _Borrowed(secret, self._vault.login)
        else:
            self._borrowed = self._borrow()

    def _is_of_this_login(self) -> bool:
        """Return whether the credentials belong to the current login, so do not expire with a former one."""
        then, now = self._borrowed.login, self._vault.login
        return then is not None and now is not None and then.value == now.value

    def _renewed(self, secret: "Secret") -> "Secret":
        if not secret.renewable or not secret.needs_renewal():
            return secret
        try:
            return self._vault.renew(secret)
        except (SecretMissing, VaultForbidden, VaultRefused):  # it was revoked, or the policy allows no renewal
            return secret

    def _borrow(self) -> _Borrowed:
        secret = self._vault.credentials(self._path)
        if secret.id and secret.seconds < _LEAST_SECONDS:
            self._vault.revoke(secret)
            raise WrongValue(f"{self._path}: lent for only {secret.seconds:g} s; the role's default_ttl is too short")
        merged(self._url, secret.value)
        return _Borrowed(secret, self._vault.login)

    def _pause(self) -> float:
        """Return the seconds until something needs renewal, or a static password is rotated."""
        secret, login = self._borrowed.secret, self._vault.login
        due = secret.left - secret.seconds / 2 if secret.id else secret.left
        if login is not None:
            due = min(due, login.left - login.seconds / 2)
        return max(_SHORTEST, min(due, _CHECK_SECONDS))

    def keep(self, shared: SharedAddress, beat: Callable[[], None]) -> None:
        """Take steps until SIGTERM or SIGINT, then revoke the credentials and log out; call `beat` meanwhile."""
        stopping = False

        def stop(_number: int, _frame: FrameType | None) -> None:
            nonlocal stopping
            stopping = True

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        while not stopping:
            beat()
            until = time.monotonic() + self.step(shared)
            while not stopping and (left := until - time.monotonic()) > 0:
                beat()
                time.sleep(min(left, _SHORTEST))
        self.close()

    def close(self) -> None:
        """Revoke the credentials and log out; if Vault does not answer, both expire by themselves."""
        self._vault.hurry()
        try:
            self._vault.revoke(self._borrowed.secret)
        except VaultError as error:
            _log.info("credentials of the database expire with the login: %s", error)
        _log_out(self._vault)


def needs_vault(given: Given, settings: VaultSettings) -> bool:
    """Return whether a setting is in Vault."""
    return bool(given.references()) or settings.database is not None


def problems_of_vault(given: Given, settings: VaultSettings) -> list[str]:
    """Return why Vault cannot be asked with these settings."""
    if inside := [name for name in given.references() if name.startswith(_OF_VAULT)]:
        return [f"{name}: cannot be in Vault itself; use a file or a credential of systemd" for name in inside]
    if settings.url is None:
        needed = "needed for settings in Vault" if needs_vault(given, settings) else "needed for a login"
        return [f"{_URL}: missing, {needed}"] if settings.methods or needs_vault(given, settings) else []
    if len(settings.methods) != 1:
        methods = " and ".join(settings.methods) or "none"
        return [
            f"{_URL}: needs one login, there is {methods}; set LANDCAST_VAULT_TOKEN, _ROLE_ID, _USERNAME or _AWS_ROLE"
        ]
    if settings.aws_role and not (settings.aws_key_id and settings.aws_secret_key):
        return ["LANDCAST_VAULT_AWS_ROLE: needs LANDCAST_VAULT_AWS_KEY_ID and LANDCAST_VAULT_AWS_SECRET_KEY"]
    if settings.database and DATABASE not in given.values:
        return [f"LANDCAST_VAULT_DATABASE: needs {DATABASE} for host, port and database"]
    return []


def read_vault(given: Given, settings: VaultSettings) -> tuple[frozenset[str], CredentialRenewer | None]:
    """Replace the values that are in Vault; return the variables that failed, and the renewer of the database's.

    Problems are added to those of `given`. Raises VaultUnavailable. This process logs out when it ends, or at once if
    there is nothing to renew.
    """
    from server.secrets.vault import Vault  # noqa: PLC0415  without Vault nothing of its client is loaded

    vault = Vault(settings)

    def read(path: str) -> "dict[str, str]":
        try:
            return dict(vault.key_values(path).value)
        except VaultUnavailable:
            raise
        except VaultError as error:
            raise WrongValue(str(error)) from error

    renewer = None
    try:
        vault.log_in()
        failed = resolve(given, read)
        if settings.database and DATABASE not in failed:
            renewer = CredentialRenewer(vault, settings.database, given.values[DATABASE])
            given.values[DATABASE] = renewer.address().url
            given.hidden.add(DATABASE)
    except (VaultError, WrongValue) as error:
        if isinstance(error, VaultUnavailable):
            raise
        of_login = vault.login is None
        _log_out(vault)
        given.problems.append(f"{_URL if of_login else 'LANDCAST_VAULT_DATABASE'}: {error}")
        return frozenset({DATABASE, *given.references()}), None
    finally:
        vault.disconnect()
    if renewer is None:
        _log_out(vault)
    else:
        _close_at_exit(renewer)
    return failed, renewer


def _log_out(vault: "Vault") -> None:
    try:
        vault.log_out()
    except VaultError as error:
        _log.info("the login at Vault expires by itself: %s", error)


def _close_at_exit(renewer: CredentialRenewer) -> None:
    process = os.getpid()

    def close() -> None:
        if os.getpid() == process and not renewer.handed_over:
            renewer.close()

    atexit.register(close)
