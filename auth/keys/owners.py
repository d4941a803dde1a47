"""Confirm with Keycloak that the owners of API keys still exist, are enabled and have their roles."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from auth.database import AccessUnavailable
from auth.issuer import IssuerUnreachable
from auth.keys.key import Rights
from auth.keys.store import ApiKeys
from auth.policy import audit_event
from auth.token_endpoint import Client, prepare

if TYPE_CHECKING:
    from keycloak import KeycloakAdmin

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 60.0
"""Seconds until the next check after a failure, unless the interval is shorter."""
_FAILURES = 3
"""Consecutive failures after which the remaining owners are skipped."""
_NOT_FOUND, _FORBIDDEN = 404, 403
_NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the issuer; `rights` has roles and groups, no scopes."""

    enabled: bool
    rights: Rights


class Directory(Protocol):
    """The users of the issuer."""

    def ask(self, subject: str) -> Person | None:
        """Return the user with that subject, or None. Raises IssuerUnreachable."""


class KeycloakDirectory:
    """The users of a realm, from its Admin REST API; the client's service account needs the role `view-users`.

    A person's roles are the effective realm roles, and the roles of `rights_client` assigned directly or by a group.
    That client's composite roles count once its id is known: from a user with a direct role of it, or from the list of
    clients if the account has `view-clients`.
    """

    def __init__(self, issuer: str, client: Client, *, rights_client: str, timeout: float) -> None:
        server, _, self._realm = issuer.rstrip("/").rpartition("/realms/")
        self._server = f"{server}/"
        self._client = client
        self._rights_client = rights_client
        self._rights_client_id: str | None = None
        self._timeout = timeout
        self._admin: KeycloakAdmin | None = None

    def ask(self, subject: str) -> Person | None:
        """Return the person; see Directory."""
        if not subject.strip("."):
            return None
        user_id = quote(subject, safe="")
        with self._connected() as admin:
            user = _unless(_NOT_FOUND, "User not found", lambda: admin.get_user(user_id))
            if user is None:
                return None
            if not user.get("enabled"):
                return Person(enabled=False, rights=Rights())
            groups = admin.get_user_groups(user_id, brief_representation=False)
            roles = _names(admin.get_composite_realm_roles_of_user(user_id))
            roles |= {role for group in groups for role in group.get("clientRoles", {}).get(self._rights_client, ())}
            if client_id := self._client_id(admin, user_id):
                roles |= _names(admin.get_composite_client_roles_of_user(user_id, client_id))
        return Person(enabled=True, rights=Rights(roles=roles, groups=frozenset(group["path"] for group in groups)))

    def check(self) -> None:
        """Raise IssuerUnreachable unless the service account can read users."""
        self.ask(_NOBODY)

    def _client_id(self, admin: "KeycloakAdmin", user_id: str) -> str | None:
        if self._rights_client_id is None:
            direct = admin.get_all_roles_of_user(user_id).get("clientMappings", {})
            self._rights_client_id = direct.get(self._rights_client, {}).get("id") or _unless(
                _FORBIDDEN, None, lambda: admin.get_client_id(self._rights_client)
            )
        return self._rights_client_id

    @contextmanager
    def _connected(self) -> "Iterator[KeycloakAdmin]":
        """Yield the connection, opened on first use and after a failure. Raises IssuerUnreachable."""
        from keycloak import KeycloakConnectionError, KeycloakError  # noqa: PLC0415 - a second that not each start needs

        try:
            self._admin = self._admin or self._connect()
            yield self._admin
        except KeycloakConnectionError as error:
            self._admin = None
            raise IssuerUnreachable("Keycloak cannot be reached") from error
        except KeycloakError as error:
            self._admin = None
            raise IssuerUnreachable(
                f"Keycloak answers {error.response_code}: the client {self._client.id} needs a service account with "
                "the role view-users of realm-management"
            ) from error
        except (TypeError, KeyError, AttributeError) as error:
            self._admin = None
            raise IssuerUnreachable("the answer is not from Keycloak's Admin REST API") from error

    def _connect(self) -> "KeycloakAdmin":
        from keycloak import KeycloakAdmin, KeycloakOpenIDConnection  # noqa: PLC0415 - as above

        if not self._realm or self._server == "/":
            raise IssuerUnreachable("LANDCAST_AUTH_ISSUER must be a Keycloak realm, such as https://…/realms/NAME")
        connection = KeycloakOpenIDConnection(
            server_url=self._server,
            realm_name=self._realm,
            client_id=self._client.id,
            client_secret_key=self._client.secret,
            timeout=None,
        )
        for each in (connection, connection.keycloak_openid.connection):
            prepare(each, self._timeout)
        return KeycloakAdmin(connection=connection)


def confirm_owners(keys: ApiKeys, directory: Directory, issuer: str) -> None:
    """Look up the owner of each key; revoke the keys of deleted users, suspend or narrow those of others.

    Changes are written to the audit log. After three consecutive failures the remaining owners are skipped. Raises
    AccessUnavailable, and IssuerUnreachable if the lookup of any owner failed.
    """
    failure, failures = None, 0
    for owner, subject in keys.owners():
        if owner != f"{issuer}|{subject}":
            continue
        asked = datetime.now(UTC)
        try:
            person = directory.ask(subject)
        except IssuerUnreachable as error:
            failure, failures = error, failures + 1
            if failures == _FAILURES:
                break
        else:
            failures = 0
            _apply(keys, owner, person, asked)
    if failure is not None:
        raise failure


def _apply(keys: ApiKeys, owner: str, person: Person | None, asked: datetime) -> None:
    if person is None:
        if ended := keys.revoke_own(owner):
            audit_event(owner, "keys revoked", by="issuer", keys=str(ended), reason="the owner is not at the issuer")
    elif not person.enabled:
        if suspended := keys.suspend(owner):
            audit_event(owner, "keys suspended", by="issuer", keys=str(suspended), reason="the owner is disabled")
    else:
        for key in keys.confirm_rights(owner, person.rights, asked):
            audit_event(owner, "key rights changed", by="issuer", key=key.id, rights=_written(key.rights))


@contextmanager
def confirming_owners(keys: ApiKeys, directory: Directory, issuer: str, *, interval: float) -> Iterator[None]:
    """Confirm the owners of keys now and every `interval` seconds, in a thread, until the context ends."""
    ended = Event()

    def confirm() -> None:
        failed = False
        while not ended.is_set():
            try:
                confirm_owners(keys, directory, issuer)
            except (IssuerUnreachable, AccessUnavailable) as error:
                _LOG.log(
                    logging.DEBUG if failed else logging.WARNING, "the owners of keys cannot be confirmed: %s", error
                )
                failed = True
            else:
                if failed:
                    _LOG.info("the owners of keys are confirmed again")
                failed = False
            ended.wait(min(interval, _RETRY_SECONDS) if failed else interval)

    thread = Thread(target=confirm, name="owners of keys", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def _unless(status: int, word: str | None, look_up: Callable[[], Any]) -> Any:
    """Return the result of `look_up`, or None if Keycloak answers with this status and (unless None) this error."""
    from keycloak import KeycloakGetError  # noqa: PLC0415 - as above

    try:
        return look_up()
    except KeycloakGetError as error:
        if error.response_code == status and word in (None, _error_of(error.response_body)):
            return None
        raise


def _error_of(body: bytes | None) -> Any:
    try:
        found = json.loads(body or b"")
    except ValueError:
        return None
    return found.get("error") if isinstance(found, dict) else None


def _names(roles: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(role["name"] for role in roles)


def _written(rights: Rights) -> str:
    return f"roles {', '.join(sorted(rights.roles)) or 'none'}; groups {', '.join(sorted(rights.groups)) or 'none'}"
