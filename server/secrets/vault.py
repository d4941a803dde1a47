"""Vault or OpenBao, by hvac: log in, read secrets, and borrow, renew and revoke credentials.

A secret is a value and its expiry (`Secret`). Errors name the requested path and never a value.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, override

import hvac
import requests
from hvac import exceptions

from server.secrets.errors import SecretMissing, VaultError, VaultForbidden, VaultRefused, VaultUnavailable
from server.secrets.settings import VaultSettings
from sql.address import boot_time

_log = logging.getLogger(__name__)

_FOREVER = 0
"""Vault's lifetime of a root token in seconds."""
_STOP_SECONDS = 1.0
"""Maximum seconds for Vault's answer when this process stops."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A value of Vault and the boot time at which it expires, None for never.

    `seconds` is its lifetime when Vault gave it. One with an `id` can be revoked.
    """

    value: Mapping[str, Any] = field(repr=False)
    expires: float | None = None
    seconds: float = 0.0
    id: str = field(default="", repr=False)
    renewable: bool = False

    @property
    def left(self) -> float:
        """Seconds until it expires."""
        return float("inf") if self.expires is None else self.expires - boot_time()

    def needs_renewal(self) -> bool:
        """Return whether less than half of its lifetime is left."""
        return self.expires is not None and self.left < self.seconds / 2

    def prolonged(self, seconds: float) -> "Secret":
        """Return it with an expiry after so many seconds."""
        return replace(self, expires=boot_time() + seconds)


class Vault:
    """A login at Vault, made when needed and again when it has expired; for one thread.

    Raises VaultUnavailable, VaultForbidden, VaultRefused, SecretMissing or VaultError.
    """

    def __init__(self, settings: VaultSettings) -> None:
        self._settings = settings
        (self._method,) = settings.methods
        self._login: Secret | None = None
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(settings.ca) if settings.ca else True
        self._client = hvac.Client(
            url=str(settings.url),
            token="",
            timeout=settings.timeout,
            session=self._session,
            namespace=settings.namespace,
        )

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.url})"

    @property
    def login(self) -> Secret | None:
        """The current login, if there is one."""
        return self._login

    def log_in(self) -> Secret:
        """Log in by the method of the settings, and forget the former login."""
        self._client.token = ""
        method = _METHODS[self._method]
        place = f"the login by {self._method}"
        answer = _translated(place, lambda: method(self._client, self._settings))
        try:
            self._login = _login_of(answer, self._client.token)
        except (KeyError, TypeError, ValueError) as error:
            raise VaultUnavailable(f"{place}: Vault's answer has another form") from error
        self._client.token = self._login.value["token"]
        _log.info("logged in to Vault by %s", self._method)
        return self._login

    def key_values(self, path: str) -> Secret:
        """Return all keys of a secret of the key-value engine (version 2); it has no expiry."""
        mount = self._settings.kv
        read = self._client.secrets.kv.v2.read_secret_version
        answer = self._ask(f"{mount}/{path}", lambda: read(path=path, mount_point=mount, raise_on_deleted_version=True))
        match answer:
            case {"data": {"data": dict(values)}}:
                return Secret(values)
        raise VaultUnavailable(f"{mount}/{path}: Vault's answer has another form; is it key-value version 2?")

    def credentials(self, path: str) -> Secret:
        """Return the credentials at a path such as database/creds/ROLE, database/static-creds/ROLE or aws/sts/ROLE."""
        answer = self._ask(path, lambda: self._client.adapter.get(url=f"/v1/{path}"))
        match answer:
            case {"data": {"ttl": int(seconds), "password": str()} as values, "lease_id": ""}:  # a static role
                return Secret(values, boot_time() + seconds, seconds)
            case {"data": dict(values), "lease_id": str(id_), "lease_duration": int(seconds)}:
                renewable = answer.get("renewable") is True
                return Secret(values, boot_time() + seconds, seconds, id_, renewable)
        raise VaultUnavailable(f"{path}: Vault's answer has another form; is it a path of credentials?")

    def renew(self, secret: Secret) -> Secret:
        """Return the credentials with a new expiry, which may be sooner than the first lifetime."""
        call = self._client.sys.renew_lease
        answer = self._ask("a lease", lambda: call(lease_id=secret.id, increment=int(secret.seconds)))
        return secret.prolonged(_seconds(answer.get("lease_duration")))

    def knows(self, secret: Secret) -> bool:
        """Return whether credentials have not been revoked; True if the policy forbids asking."""
        try:
            self._ask("a lease", lambda: self._client.sys.read_lease(secret.id))
        except VaultForbidden:
            return True
        except VaultRefused:
            return False
        return True

    def renew_login(self) -> Secret:
        """Renew the login, or log in again if it has expired or cannot be renewed for half of its lifetime."""
        login = self._login
        if login is None or login.left <= 0 or not login.renewable:
            return self.log_in()
        try:
            answer = _translated("the login", self._client.auth.token.renew_self)
        except VaultForbidden:
            return self.log_in()
        renewed = self._login = login.prolonged(_seconds(answer.get("auth", {}).get("lease_duration")))
        return self.log_in() if renewed.needs_renewal() else renewed

    def revoke(self, secret: Secret) -> None:
        """Revoke credentials before they expire."""
        if secret.id:
            self._ask("a lease", lambda: self._client.sys.revoke_lease(secret.id))

    def log_out(self) -> None:
        """End the login and with it its credentials; a configured token stays valid."""
        if self._login is not None and self._method != "token":
            _translated("the login", self._client.auth.token.revoke_self)
        self._login = None
        self._client.token = ""
        self._session.close()

    def check(self) -> None:
        """Raise VaultUnavailable if Vault cannot serve."""
        well = {"standbyok": "true", "perfstandbyok": "true"}
        _translated("its health", lambda: self._client.adapter.get(url="/v1/sys/health", params=well))

    def disconnect(self) -> None:
        """Close the connections, so that this process may fork; the next request opens a new one."""
        self._session.close()

    def hurry(self) -> None:
        """Wait only briefly for further answers, because this process stops."""
        self._client.adapter._kwargs["timeout"] = min(_STOP_SECONDS, self._settings.timeout)  # noqa: SLF001  no other way

    def _ask(self, what: str, call: Callable[[], Any]) -> Any:
        """Return the answer as a dictionary; log in first if necessary, and again if the login has been revoked."""
        if self._login is None or self._login.left <= 0:
            self.log_in()
        try:
            return _translated(what, call)
        except VaultForbidden:
            if self._is_logged_in():
                raise
        self.log_in()
        return _translated(what, call)

    def _is_logged_in(self) -> bool:
        try:
            _translated("the login", self._client.auth.token.lookup_self)
        except VaultForbidden:
            return False
        return True


def _by_token(client: hvac.Client, settings: VaultSettings) -> Any:
    client.token = settings.token.get_secret_value() if settings.token else ""
    return client.auth.token.lookup_self()


def _by_approle(client: hvac.Client, settings: VaultSettings) -> Any:
    secret = settings.secret_id.get_secret_value() if settings.secret_id else None
    mount = settings.login_mount or "approle"
    return client.auth.approle.login(settings.role_id, secret, use_token=False, mount_point=mount)


def _by_userpass(client: hvac.Client, settings: VaultSettings) -> Any:
    password = settings.password.get_secret_value() if settings.password else ""
    mount = settings.login_mount or "userpass"
    return client.auth.userpass.login(settings.username, password, use_token=False, mount_point=mount)


def _by_aws(client: hvac.Client, settings: VaultSettings) -> Any:
    key, secret, session = (
        given.get_secret_value() if given else None
        for given in (settings.aws_key_id, settings.aws_secret_key, settings.aws_session_token)
    )
    return client.auth.aws.iam_login(
        key,
        secret,
        session,
        header_value=settings.aws_header,
        role=settings.aws_role,
        use_token=False,
        region=settings.aws_region,
        mount_point=settings.login_mount or "aws",
    )


_METHODS: Mapping[str, Callable[[hvac.Client, VaultSettings], Any]] = {
    "token": _by_token,
    "AppRole": _by_approle,
    "user and password": _by_userpass,
    "AWS IAM": _by_aws,
}


def _login_of(answer: Any, given: str) -> Secret:
    """Return the login of an answer; for a configured token, the answer describes it."""
    about = answer["data"] if given else answer["auth"]
    token = given or str(about["client_token"])
    seconds = _seconds(about["ttl"] if given else about["lease_duration"])
    expires = None if seconds == _FOREVER else boot_time() + seconds
    return Secret({"token": token}, expires, seconds, renewable=about.get("renewable") is True)


def _seconds(given: Any) -> float:
    if isinstance(given, int | float) and given >= 0:
        return float(given)
    raise VaultUnavailable("Vault's answer has another form: it names no duration")


def _translated(what: str, call: Callable[[], Any]) -> Any:
    """Return Vault's answer, an empty dictionary for none; hvac's errors become ours."""
    try:
        answer = call()
    except (exceptions.VaultError, OSError, ValueError) as error:
        kind, message = next(given for of, given in _ERRORS.items() if isinstance(error, of))
        raise kind(message.format(what=what)) from error
    if isinstance(answer, requests.Response):
        if not answer.ok or answer.content:
            raise VaultUnavailable(f"{what}: the answer is not Vault's")
        return {}
    if not isinstance(answer, dict):
        raise VaultUnavailable(f"{what}: the answer is not Vault's")
    return answer


_ERRORS: Mapping[type[Exception], tuple[type[VaultError], str]] = {
    exceptions.Forbidden: (VaultForbidden, "{what}: Vault forbids it (403)"),
    exceptions.InvalidPath: (SecretMissing, "{what}: Vault has no such path (404)"),
    exceptions.InvalidRequest: (VaultRefused, "{what}: Vault refuses it (400); are its settings right?"),
    exceptions.Unauthorized: (VaultRefused, "{what}: Vault refuses it (401); are its settings right?"),
    exceptions.VaultDown: (VaultUnavailable, "Vault is sealed or in maintenance (503)"),
    exceptions.VaultError: (VaultUnavailable, "{what}: Vault fails with an error of its own"),
    requests.Timeout: (VaultUnavailable, "Vault does not answer in time"),
    requests.exceptions.SSLError: (
        VaultUnavailable,
        "Vault's certificate is not trusted; LANDCAST_VAULT_CA names its issuer",
    ),
    requests.RequestException: (VaultUnavailable, "Vault cannot be reached"),
    OSError: (VaultError, "LANDCAST_VAULT_CA: cannot be read"),
    Exception: (VaultUnavailable, "Vault cannot be reached"),
}
"""The first matching class of an error decides its meaning."""
