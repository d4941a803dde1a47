"""Keycloak's token endpoint, over python-keycloak."""

import json
import math
import ssl
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import jwt
from anyio import CapacityLimiter

from auth.claims import is_subject
from auth.issuer import IssuerUnreachable

if TYPE_CHECKING:
    from keycloak import KeycloakOpenID
    from keycloak.connection import ConnectionManager

_AT_ONCE = 8
"""Maximum concurrent calls to Keycloak of a process, in threads of their own: a hanging Keycloak blocks no others."""
_REFUSED = (400, 401)

Granted = Mapping[str, Any]
"""Keycloak's token response: access_token, expires_in, refresh_token, id_token, …"""


class GrantRefused(Exception):
    """Keycloak refuses the token request; `error` is its error code (RFC 6749, 5.2), such as `invalid_grant`."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True, slots=True)
class Client:
    """A client registered in Keycloak; one without a secret is public."""

    id: str
    secret: str | None = field(repr=False)


class TokenEndpoint:
    """Requests tokens, in threads of its own. Each method raises GrantRefused, IssuerUnreachable.

    `issuer` is the address of a realm, `client` our client, `timeout` Keycloak's time to answer in seconds.
    """

    def __init__(self, issuer: str, client: Client, *, timeout: float) -> None:
        server, _, self._realm = issuer.rstrip("/").rpartition("/realms/")
        self._server = f"{server}/"
        self._client = client
        self._timeout = timeout
        self._idle: deque[KeycloakOpenID] = deque()
        self._threads = CapacityLimiter(_AT_ONCE)

    async def by_code(self, code: str, verifier: str, redirect_uri: str) -> Granted:
        """Return the tokens for the code of a login (RFC 6749, 4.1.3; RFC 7636, 4.5)."""
        return await self._ask(
            self._client,
            lambda asked: asked.token(
                grant_type="authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=verifier
            ),
        )

    async def by_password(self, user: str, password: str, scope: str) -> Granted:
        """Return the tokens for a person's password (RFC 6749, 4.3.2)."""
        return await self._ask(self._client, lambda asked: asked.token(user, password, scope=scope))

    async def by_client(self, client: Client, scope: str) -> Granted:
        """Return the token of a client's service account (RFC 6749, 4.4.2)."""
        return await self._ask(client, lambda asked: asked.token(grant_type="client_credentials", scope=scope))

    async def refresh(self, refresh_token: str) -> Granted:
        """Return new tokens for a refresh token (RFC 6749, 6)."""
        return await self._ask(self._client, lambda asked: asked.refresh_token(refresh_token))

    async def revoke(self, refresh_token: str) -> None:
        """End the session of a refresh token, and so all its tokens."""
        await self._ask(self._client, lambda asked: asked.logout(refresh_token))

    async def _ask(self, client: Client, question: "Callable[[KeycloakOpenID], Granted]") -> Granted:
        try:
            with anyio.fail_after(2 * self._timeout):
                return await anyio.to_thread.run_sync(self._answer, client, question, limiter=self._threads)
        except TimeoutError as error:
            raise IssuerUnreachable("too many calls to the issuer are in progress") from error

    def _answer(self, client: Client, question: "Callable[[KeycloakOpenID], Granted]") -> Granted:
        from keycloak import KeycloakConnectionError, KeycloakError  # noqa: PLC0415 - a second that not each start needs

        with self._borrowed() as asked:
            asked.client_id, asked.client_secret_key = client.id, client.secret
            try:
                return question(asked)
            except KeycloakConnectionError as error:
                raise IssuerUnreachable("the issuer cannot be reached") from error
            except KeycloakError as error:
                raise _refusal(error.response_code, error.response_body) from error
            except TypeError as error:
                raise IssuerUnreachable("the issuer's answer is not a JSON object") from error

    @contextmanager
    def _borrowed(self) -> "Iterator[KeycloakOpenID]":
        """Lend a connection to one thread at a time: python-keycloak changes its headers for a call."""
        try:
            asked = self._idle.pop()
        except IndexError:
            asked = self._connect()
        try:
            yield asked
        finally:
            self._idle.append(asked)

    def _connect(self) -> "KeycloakOpenID":
        """Open a connection with the system's certificates and without retries, as a code is valid once."""
        from keycloak import KeycloakOpenID  # noqa: PLC0415 - as above

        if not self._realm or self._server == "/":
            raise IssuerUnreachable("LANDCAST_AUTH_ISSUER must be a Keycloak realm, such as https://…/realms/NAME")
        asked = KeycloakOpenID(self._server, self._realm, self._client.id, timeout=None, max_retries=0)
        prepare(asked.connection, self._timeout)
        return asked


def prepare(connection: "ConnectionManager", timeout: float) -> None:
    """Set the timeout and the system's certificates on a connection of python-keycloak."""
    connection.timeout = math.ceil(timeout)
    paths = ssl.get_default_verify_paths()
    connection.verify = paths.cafile or paths.capath or True


def owner_of(refresh_token: str, issuer: str) -> str:
    """Return the owner (`iss|sub`) of a refresh token, or `unknown`.

    The token is not verified: pass only one that the issuer has just accepted.
    """
    try:
        subject = jwt.decode(refresh_token, options={"verify_signature": False}).get("sub")
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return "unknown"
    return f"{issuer}|{subject}" if is_subject(subject) else "unknown"


def _refusal(status: int | None, body: bytes | None) -> Exception:
    if status not in _REFUSED:
        return IssuerUnreachable(f"the issuer answers {status}")
    try:
        found = json.loads(body or b"")
    except ValueError:
        found = None
    error = found.get("error") if isinstance(found, dict) else None
    return GrantRefused(error if isinstance(error, str) else "refused")
