"""Convert between rows of `api_keys`, keys and identities."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from auth.identity import Identity
from auth.keys.key import ApiKey, KeyIdentity, Rights, WantedKey, rights_of
from sql.connect import time_of


def values_of(identity: Identity, wanted: WantedKey) -> dict[str, Any]:
    """Return the columns for a new key and its maker."""
    return {
        "owner": identity.owner,
        "subject": identity.subject,
        "email": identity.email,
        "person": identity.name,
        "rights": _encode(rights_of(identity)),
        "name": wanted.name,
        "scope": wanted.scope,
    }


def key_of(row: Mapping[str, Any]) -> ApiKey:
    """Return the key of a row."""
    return ApiKey(
        id=row["id"],
        name=row["name"],
        scope=row["scope"],
        rights=_rights(row),
        owner=row["owner"],
        by_operator=row["maker"] == "operator",
        created=time_of(row["created"]),
        expires=time_of(row["expires"]),
        last_used=None if row["last_used"] is None else time_of(row["last_used"]),
        revoked=None if row["revoked"] is None else time_of(row["revoked"]),
    )


def identity_of(row: Mapping[str, Any]) -> KeyIdentity:
    """Return the identity of a row's key, with the rights granted at its creation that the owner still has."""
    rights = _rights(row)
    return KeyIdentity(
        owner=row["owner"],
        email=row["email"],
        subject=row["subject"],
        name=row["person"],
        scopes=rights.scopes,
        roles=rights.roles,
        groups=rights.groups,
        method="key",
        key_id=row["id"],
        key_scope=row["scope"],
    )


def _rights(row: Mapping[str, Any]) -> Rights:
    return _decode(row["granted"]) & _decode(row["rights"])


def _decode(text: str) -> Rights:
    return Rights(**{kind: frozenset(names) for kind, names in json.loads(text).items()})


def _encode(rights: Rights) -> str:
    return json.dumps({field.name: sorted(getattr(rights, field.name)) for field in fields(rights)})
