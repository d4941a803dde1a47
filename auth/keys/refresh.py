"""When the rights of an owner's keys are written anew."""

import json
from typing import Any

from auth.identity import Identity
from auth.recent import Recent

_OWNERS = 4096
_OFTEN = 300 * 1_000_000
"""Microseconds between two writings of the same rights: another process may have written others meanwhile."""


class Refreshed:
    """Remembers what was written last for each owner, so that a token used all day is not written all day."""

    def __init__(self) -> None:
        self._written: Recent[tuple[str, str], dict[str, Any]] = Recent(_OWNERS)

    def due(self, identity: Identity, issued: int) -> dict[str, Any] | None:
        """Return what is to be written of the identity, None where nothing new is."""
        if identity.method not in ("token", "session"):
            return None
        values = {
            "owner": identity.owner,
            "email": identity.email,
            "person": identity.name,
            "rights": _changes(identity),
            "at": issued,
        }
        last = self._written.get((identity.owner, identity.method))
        if last is not None and last | {"at": issued} == values and issued - last["at"] < _OFTEN:
            return None
        return values

    def done(self, identity: Identity, values: dict[str, Any]) -> None:
        """Note that it was written."""
        self._written.put((identity.owner, identity.method), values)


def _changes(identity: Identity) -> str:
    """Return the members of the rights that the identity decides, as a JSON merge patch."""
    changes = {"roles": sorted(identity.roles), "groups": sorted(identity.groups)}
    if identity.method == "session":
        changes["scopes"] = sorted(identity.scopes)
    return json.dumps(changes, separators=(",", ":"))
