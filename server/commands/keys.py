"""`landcast keys`: manage personal API keys as the operator."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auth.database import AccessUnavailable
from auth.identity import Identity
from auth.keys.key import DAYS, MOST_DAYS, ApiKey, KeyRefused, KeyScope, WantedKey
from server.commands.common import configured_database, printable, settings, table

if TYPE_CHECKING:
    from auth.keys.store import ApiKeys

_COLUMNS: dict[str, Callable[[ApiKey], str]] = {
    "ID": lambda key: key.id,
    "NAME": lambda key: key.name,
    "SCOPE": lambda key: key.scope,
    "STATE": lambda key: key.state(datetime.now(UTC)),
    "EXPIRES": lambda key: f"{key.expires:%Y-%m-%d}",
    "USED": lambda key: "never" if key.last_used is None else f"{key.last_used:%Y-%m-%d %H:%M}Z",
    "ROLES": lambda key: ",".join(sorted(key.rights.roles)) or "none",
    "OWNER": lambda key: key.owner,
}


@click.group()
def keys() -> None:
    """Create, list and revoke personal API keys."""


@keys.command()
@click.option("--owner", required=True, metavar="ISS|SUB", help="Owner of the key: issuer and subject, `iss|sub`.")
@click.option("--name", required=True, help="Name of the key, for display.")
@click.option("--role", "roles", multiple=True, help="Role of the key; may be repeated.")
@click.option("--scope", type=click.Choice(["read", "order"]), default="read", show_default=True)
@click.option("--days", type=click.IntRange(1, MOST_DAYS), default=DAYS, show_default=True, help="Validity in days.")
@click.option("--email", help="Address for notifications of the key's orders.")
def create(owner: str, name: str, scope: KeyScope, days: int, *, roles: Sequence[str], email: str | None) -> None:
    """Create a key and print it once; it is not stored.

    It keeps the given roles until it expires or is revoked, whatever the state of its owner.
    """
    issuer, _, subject = owner.rpartition("|")
    if not (issuer and subject and owner.isprintable()):
        raise click.BadParameter("must be issuer and subject, `iss|sub`", param_hint="--owner")
    _check_roles(frozenset(roles))
    identity = Identity(owner, email=email, subject=subject, roles=frozenset(roles), method="local")
    with _opened(make=True) as store:
        key, text = store.create(identity, WantedKey(name, scope, days), maker="operator")
    click.echo(text)
    click.echo(f"key {key.id} is valid until {key.expires:%Y-%m-%d}; it is not shown again", err=True)


@keys.command("list")
@click.option("--owner", help="Only keys of this owner, `iss|sub`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_keys(owner: str | None, *, as_json: bool) -> None:
    """List the keys, oldest first, without their secrets."""
    with _opened() as store:
        found = store.list(owner)
    if as_json:
        click.echo(json.dumps([_members(key) for key in found], indent=2))
        return
    for line in table([tuple(_COLUMNS), *(tuple(printable(text(key)) for text in _COLUMNS.values()) for key in found)]):
        click.echo(line)


@keys.command()
@click.argument("key_id", metavar="[ID]", required=False)
@click.option("--owner", help="Revoke every key of this owner, `iss|sub`.")
def revoke(key_id: str | None, owner: str | None) -> None:
    """Revoke one key by its ID, or all keys of an owner; running servers refuse them within seconds."""
    if (key_id is None) == (owner is None):
        raise click.UsageError("give either the ID of a key or --owner")
    with _opened() as store:
        ended = store.revoke_all(owner) if owner is not None else int(store.revoke(key_id or ""))
    if not ended:
        raise click.ClickException(f"no key to revoke: {printable(key_id or owner or '')}")
    click.echo(f"{ended} revoked")


def _check_roles(given: frozenset[str]) -> None:
    """Refuse a role that the configured policy does not declare: it would give the key no rights."""
    from auth.policy_file import read_roles
    from auth.policy_problems import InvalidPolicy

    policy = settings().auth.policy
    if policy is None or not given:
        return
    try:
        known = read_roles(policy)
    except InvalidPolicy as error:
        raise click.ClickException("\n".join(error.problems)) from error
    for role in sorted(given - known):
        raise click.BadParameter(
            f"{role!r} is not a role of {policy}; allowed: {', '.join(sorted(known))}", param_hint="--role"
        )


@contextmanager
def _opened(*, make: bool = False) -> Iterator["ApiKeys"]:
    """Open the key store, created only with `make`; errors are printed as one line."""
    from auth.keys.store import ApiKeys
    from server.state import refuse_root

    database = configured_database("there are no keys yet", make=make)
    try:
        if isinstance(database, Path) and not database.exists():
            refuse_root(database.parent)
        with closing(ApiKeys(database)) as store:
            yield store
    except (AccessUnavailable, KeyRefused, PermissionError) as error:
        raise click.ClickException(str(error)) from error


def _members(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "scope": key.scope,
        "state": key.state(datetime.now(UTC)),
        "scopes": sorted(key.rights.scopes),
        "roles": sorted(key.rights.roles),
        "groups": sorted(key.rights.groups),
        "by_operator": key.by_operator,
        "created": _time(key.created),
        "expires": _time(key.expires),
        "last_used": _time(key.last_used),
        "revoked": _time(key.revoked),
    }


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds")
