"""Build the access layer from the settings."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from starlette.applications import Starlette

from auth.access import Access, Action, Policy
from auth.authenticate import Authenticator
from auth.claims import TokenRules
from auth.discovery import Discovery
from auth.identity import ANONYMOUS, LOCAL, current_identity
from auth.issuer import Issuer
from auth.keys.owners import KeycloakDirectory, confirming_owners
from auth.keys.store import ApiKeys
from auth.logins import PendingLogins
from auth.policy import OPEN
from auth.policy_file import PolicyNames, read_policy
from auth.policy_problems import InvalidPolicy
from auth.sessions import Sessions
from auth.sign_in import SignIn
from auth.throttle import LOGINS, Throttle
from auth.token_endpoint import Client, TokenEndpoint
from auth.tokens import TokenVerifier, make_verifier
from processes.loading import shipped_names
from routes.accounts.person import People
from server.maintenance import maintenance
from server.settings import Settings
from sql.connections import Database


def make_policy(configuration: Mapping[str, Any], settings: Settings) -> Policy:
    """Return the policy of the settings; an open server allows everything. Raises InvalidPolicy."""
    if settings.auth.open:
        return OPEN
    if settings.auth.policy is None:
        raise InvalidPolicy(["missing; deploy/policy.yml is an example"])
    return policy_of(settings.auth.policy, configuration)


def policy_of(path: Path, configuration: Mapping[str, Any]) -> Policy:
    """Return the policy of a file, for the names of a configuration. Raises InvalidPolicy."""
    return read_policy(path, PolicyNames.of(configuration["resources"], shipped_names()))


def announced(configuration: Mapping[str, Any], policy: Policy) -> frozenset[str]:
    """Return the ids of the collections and processes that everybody may discover and that lists show."""
    anybody = LOCAL if policy is OPEN else ANONYMOUS
    listed = (name for name, entry in configuration["resources"].items() if entry.get("visibility") != "hidden")
    return frozenset(str(name) for name in listed if policy(anybody, Access(Action.DISCOVER, str(name))).allowed)


@asynccontextmanager
async def authenticating(
    app: Starlette, settings: Settings, threads: CapacityLimiter, *, database: Database
) -> AsyncIterator[None]:
    """Give the application its authenticator for the length of the context; an open server has none.

    Raises InvalidPolicy without an issuer: every caller would then count as the local one of an open server.
    """
    app.state.authenticator = app.state.people = None
    if settings.auth.open:
        yield
        return
    if settings.auth.issuer is None:
        raise InvalidPolicy(["LANDCAST_AUTH_ISSUER: missing"])
    verifier = make_verifier(rules_of(settings), timeout=settings.auth.timeout)
    keys = ApiKeys(database, trust_seconds=settings.auth.owners_trust, lazy=True)
    sessions, logins = Sessions(database, lazy=True), PendingLogins(database, lazy=True)
    authenticator = Authenticator(verifier, keys, sessions, Throttle(), settings.server.proxies, threads)
    app.state.authenticator = authenticator
    app.state.people = make_people(settings, authenticator, verifier, logins)
    try:
        async with verifier.running(), maintenance(keys, (keys, sessions, logins)):
            yield
    finally:
        for opened in (keys, sessions, logins):
            opened.close()


def make_people(
    settings: Settings, authenticator: Authenticator, verifier: TokenVerifier, logins: PendingLogins
) -> People:
    """Return the collaborators of sign-in and of `/auth/token`."""
    auth, rules = settings.auth, verifier.rules
    secret = auth.client_secret.get_secret_value() if auth.client_secret else None
    issuer = Issuer(rules.issuer, algorithms=rules.algorithms, timeout=auth.timeout)
    endpoint = TokenEndpoint(rules.issuer, Client(rules.client_id, secret), timeout=auth.timeout)
    sign_in = SignIn(
        discovery=Discovery(issuer.metadata),
        endpoint=endpoint,
        verifier=verifier,
        logins=logins,
        sessions=authenticator.sessions,
        keys=authenticator.keys,
        redirect_uri=f"{settings.server.public_url}/auth/callback",
        threads=authenticator.threads,
    )
    return People(rules.issuer, authenticator, sign_in, endpoint, auth.password_grant, Throttle(by_address=LOGINS))


def directory_of(settings: Settings) -> KeycloakDirectory | None:
    """Return the directory that confirms the owners of API keys, or None if it is not configured."""
    auth = settings.auth
    if auth.open or auth.issuer is None or auth.owners_secret is None:
        return None
    client = Client(auth.owners_client, auth.owners_secret.get_secret_value())
    return KeycloakDirectory(auth.issuer, client, rights_client=auth.client_id, timeout=auth.timeout)


@contextmanager
def owners_confirmed(settings: Settings, database: Database) -> Iterator[None]:
    """Confirm the owners of API keys with Keycloak at intervals, until the context ends."""
    directory = directory_of(settings)
    if directory is None:
        yield
        return
    auth = settings.auth
    with (
        closing(ApiKeys(database, lazy=True)) as keys,
        confirming_owners(keys, directory, str(auth.issuer), interval=auth.owners_interval),
    ):
        yield


def rules_of(settings: Settings) -> TokenRules:
    """Return the rules that tokens must meet."""
    auth = settings.auth
    return TokenRules(str(auth.issuer), auth.audience, auth.client_id, auth.algorithms)


@contextmanager
def as_system() -> Iterator[None]:
    """Run the server's own work, which has no caller, with all rights."""
    reset = current_identity.set(LOCAL)
    try:
        yield
    finally:
        current_identity.reset(reset)
