"""The one function that decides: grants, and nothing beside them."""

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
_CONFINED: Mapping[KeyScope, frozenset[Action]] = {
    "read": _READING,
    "order": _READING | {Action.EXECUTE, Action.DISMISS_OWN_JOBS},
}
"""What an API key of a scope is good for, whatever its owner may do."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """Whom a grant is for: everybody, everybody who is known, or who has any one of these words of the issuer.

    A role counts as held where it stands among the roles or among the scopes; a user is `sub` or `iss|sub`.
    """

    public: bool = False
    authenticated: bool = False
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()

    def has(self, identity: Identity) -> bool:
        """Say whether the caller is among them."""
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

    def words(self) -> list[str]:
        """Return whom it is for in words."""
        kinds = {"role": self.roles, "scope": self.scopes, "group": self.groups}
        named = [f"{kind} {word}" for kind, words in kinds.items() for word in sorted(words)]
        return ["a login"] if self.authenticated else named


@dataclass(frozen=True, slots=True)
class Grant:
    """That `who` may do these actions on these collections and processes, with limits."""

    name: str
    who: Subjects
    actions: frozenset[Action]
    resources: frozenset[str] = frozenset()
    limits: Limits = UNLIMITED
    rows: str | None = None
    area: Area | None = None

    def accesses(self, everything: frozenset[str]) -> Iterable[Access]:
        """Yield what it allows; who may do anything with a resource may know that it is there.

        An administrator knows everything and sees and ends all jobs.
        """
        if Action.ADMINISTER in self.actions:
            yield Access(Action.ADMINISTER)
            for action in (Action.DISCOVER, Action.READ_ALL_JOBS, Action.DISMISS_ALL_JOBS):
                yield from (Access(action, resource) for resource in everything)
        for action in self.actions - {Action.ADMINISTER} | {Action.DISCOVER}:
            yield from (Access(action, resource) for resource in self.resources)


@dataclass(frozen=True, slots=True)
class GrantPolicy:
    """A Policy made of grants: what none of them allows is refused."""

    grants: tuple[Grant, ...]
    resources: frozenset[str]
    """The ids of all collections and processes that there can be."""
    _index: dict[Access, tuple[Grant, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        index: dict[Access, tuple[Grant, ...]] = {}
        for grant in self.grants:
            for access in dict.fromkeys(grant.accesses(self.resources)):
                index[access] = (*index.get(access, ()), grant)
        object.__setattr__(self, "_index", index)

    def __call__(self, identity: Identity, access: Access) -> Verdict:
        """Return the verdict. The one caller of an open server may do everything."""
        if identity.method == "local":
            return _OPEN
        if isinstance(identity, KeyIdentity) and access.action not in _CONFINED[identity.key_scope]:
            return Verdict(allowed=False, reason=f"this key is made to {identity.key_scope}, not to {access.action}")
        there_are = self._index.get(access, ())
        grants = [grant for grant in there_are if grant.who.has(identity)]
        return _allowed(grants, access) if grants else Verdict(allowed=False, reason=_missing(there_are, access))


def _allowed(grants: list[Grant], access: Access) -> Verdict:
    """Return the verdict of all grants together: each alone suffices, so the least restricted one counts."""
    rule = ",".join(grant.name for grant in grants)
    limits = tuple(dict.fromkeys(grant.limits for grant in grants))
    if access.action is Action.DISCOVER or any(grant.rows is None and grant.area is None for grant in grants):
        return Verdict(allowed=True, rule=rule, limits=limits)
    rows = tuple(grant.rows for grant in grants if grant.rows is not None)
    areas = [grant.area.geometry for grant in grants if grant.area is not None]
    area = Area(shapely.union_all(areas)) if areas else None
    return Verdict(allowed=True, rule=rule, rows=rows or None, area=area, limits=limits)


def _missing(grants: tuple[Grant, ...], access: Access) -> str:
    words = list(dict.fromkeys(word for grant in grants for word in grant.who.words()))
    what = f"{access.action} of {access.resource}" if access.resource else access.action
    return f"{what} needs {' or '.join(words)}" if words else f"{what} is granted to nobody like you"


OPEN = GrantPolicy((), frozenset())
"""The policy of an open server, whose one caller is local."""
