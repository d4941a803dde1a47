"""The policy function, which decides by grants alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import shapely

from auth.access import UNLIMITED, Access, Action, Limits, Verdict
from auth.identity import ANONYMOUS, Identity
from auth.keys.key import KeyIdentity, KeyScope
from products.area import Area

_OPEN = Verdict(allowed=True, rule="open")
_READING = frozenset(
    {
        Action.DISCOVER,
        Action.READ_ITEMS,
        Action.READ_COVERAGE,
        Action.READ_MAP,
        Action.READ_TILES,
        Action.DOWNLOAD,
        Action.READ_OWN_JOBS,
    }
)
_KEY_ACTIONS: Mapping[KeyScope, frozenset[Action]] = {
    "read": _READING,
    "order": _READING | {Action.EXECUTE, Action.DISMISS_OWN_JOBS},
}
"""The actions of an API key by its scope, whatever its owner's rights."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """Whom a grant is for: everybody, every authenticated caller, or those with one of these rights or ids.

    A role matches one of the caller's roles or scopes; a user is `sub` or `iss|sub`.
    """

    public: bool = False
    authenticated: bool = False
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()

    def has(self, identity: Identity) -> bool:
        """Return whether the caller is among them."""
        if self.public or identity.method == ANONYMOUS.method:
            return self.public
        return bool(
            self.authenticated
            or self.roles & identity.roles
            or self.roles & identity.scopes
            or self.scopes & identity.scopes
            or self.groups & identity.groups
            or self.users & {identity.subject, identity.owner}
        )

    def described(self) -> list[str]:
        """Return a description of each alternative, such as `role user`."""
        kinds = {"role": self.roles, "scope": self.scopes, "group": self.groups}
        named = [f"{kind} {name}" for kind, names in kinds.items() for name in sorted(names)]
        return ["a login"] if self.authenticated else named


@dataclass(frozen=True, slots=True)
class Grant:
    """Allows `who` these actions on these collections and processes, within limits."""

    name: str
    who: Subjects
    actions: frozenset[Action]
    resources: frozenset[str] = frozenset()
    limits: Limits = UNLIMITED
    rows: str | None = None
    area: Area | None = None

    def accesses(self, everything: frozenset[str]) -> Iterable[Access]:
        """Yield the accesses it allows; any action on a resource includes its discovery.

        An administrator discovers everything, and reads and dismisses all jobs.
        """
        if Action.ADMINISTER in self.actions:
            yield Access(Action.ADMINISTER)
            for action in (Action.DISCOVER, Action.READ_ALL_JOBS, Action.DISMISS_ALL_JOBS):
                yield from (Access(action, resource) for resource in everything)
        for action in self.actions - {Action.ADMINISTER} | {Action.DISCOVER}:
            yield from (Access(action, resource) for resource in self.resources)


@dataclass(frozen=True, slots=True)
class GrantPolicy:
    """A Policy of grants: an access that no grant allows is refused."""

    grants: tuple[Grant, ...]
    resources: frozenset[str]
    """The ids of all collections and processes."""
    _index: dict[Access, tuple[Grant, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        index: dict[Access, tuple[Grant, ...]] = {}
        for grant in self.grants:
            for access in dict.fromkeys(grant.accesses(self.resources)):
                index[access] = (*index.get(access, ()), grant)
        object.__setattr__(self, "_index", index)

    def __call__(self, identity: Identity, access: Access) -> Verdict:
        """Return the verdict. The caller of an open server may do everything."""
        if identity.method == "local":
            return _OPEN
        if isinstance(identity, KeyIdentity) and access.action not in _KEY_ACTIONS[identity.key_scope]:
            reason = f"{access.action} is not allowed with an API key of the scope {identity.key_scope}"
            return Verdict(allowed=False, reason=reason)
        there_are = self._index.get(access, ())
        grants = [grant for grant in there_are if grant.who.has(identity)]
        return _allowed(grants, access) if grants else Verdict(allowed=False, reason=_missing(there_are, access))


def _allowed(grants: list[Grant], access: Access) -> Verdict:
    """Return the verdict of all matching grants; one is enough, so the least restricted counts."""
    rule = ",".join(grant.name for grant in grants)
    limits = tuple(dict.fromkeys(grant.limits for grant in grants))
    if access.action is Action.DISCOVER or any(grant.rows is None and grant.area is None for grant in grants):
        return Verdict(allowed=True, rule=rule, limits=limits)
    rows = tuple(grant.rows for grant in grants if grant.rows is not None)
    areas = [grant.area.geometry for grant in grants if grant.area is not None]
    area = Area(shapely.union_all(areas)) if areas else None
    return Verdict(allowed=True, rule=rule, rows=rows or None, area=area, limits=limits)


def _missing(grants: tuple[Grant, ...], access: Access) -> str:
    needed = list(dict.fromkeys(name for grant in grants for name in grant.who.described()))
    what = f"{access.action} of {access.resource}" if access.resource else access.action
    return f"{what} needs {' or '.join(needed)}" if needed else f"{what} is not granted to you"


OPEN = GrantPolicy((), frozenset())
"""The policy of an open server, whose only caller is local."""
