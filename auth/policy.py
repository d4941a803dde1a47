"""The policy, which decides by grants alone; the log of its decisions; and the resources that a caller may discover."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import Any

import shapely

from auth.access import UNLIMITED, Access, Action, Limits, Policy, Verdict, current_verdict
from auth.identity import ANONYMOUS, Identity, current_identity
from auth.keys.key import KeyIdentity, KeyScope
from auth.rate import Rate
from auth.recent import Recent
from products.area import Area
from products.limits import MAX_ORDER_KM2
from products.vector.cql import Filter, FilterError, read_text

Resource = Mapping[str, Any]

_LOGGER = logging.getLogger("landcast.audit")
_CALLERS = 512
_VERDICTS = 4096
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
    refuses: bool = False
    """What reaches beyond the area is refused, instead of being without data there."""
    rate: Rate | None = None

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
    _verdicts: Recent[tuple[Identity, Access], Verdict] = field(
        default_factory=partial(Recent, _VERDICTS), init=False, repr=False, compare=False
    )
    """The latest verdicts; each depends on nothing but the caller and the access, as a policy never changes."""

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
        if access not in self._index:
            return self._verdict(identity, access)
        verdict = self._verdicts.get((identity, access))
        if verdict is None:
            verdict = self._verdict(identity, access)
            self._verdicts.put((identity, access), verdict)
        return verdict

    def _verdict(self, identity: Identity, access: Access) -> Verdict:
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
    rated = tuple((grant.name, grant.rate) for grant in grants if grant.rate is not None)
    rates = rated if len(rated) == len(grants) and access.action is not Action.DISCOVER else ()
    if access.action is Action.DISCOVER or any(grant.rows is None and grant.area is None for grant in grants):
        return Verdict(allowed=True, rule=rule, limits=limits, rates=rates)
    rows = tuple(grant.rows for grant in grants if grant.rows is not None)
    bounded = [grant for grant in grants if grant.area is not None]
    area = union_of(grant.area for grant in bounded)
    refuses = bool(bounded) and all(grant.refuses for grant in bounded)
    whole = Verdict(allowed=True, rule=rule, limits=limits, rates=rates)
    return replace(whole, rows=rows or None, area=area, refuses=refuses)


def _missing(grants: tuple[Grant, ...], access: Access) -> str:
    needed = list(dict.fromkeys(name for grant in grants for name in grant.who.described()))
    what = f"{access.action} of {access.resource}" if access.resource else access.action
    return f"{what} needs {' or '.join(needed)}" if needed else f"{what} is not granted to you"


MISFIT = "you may see only a part of this collection, and the rule that says which cannot be applied"


class RestrictionUnsupported(Exception):
    """The caller may see a part of the collection only, and what reads it cannot keep to that."""


def refuse_restriction(verdict: Verdict | None = None) -> None:
    """Raise RestrictionUnsupported where the verdict has rows or an area; called before anything is read.

    By default it is that of the running request. Outside of one, in work and commands, there is none.
    """
    verdict = verdict or current_verdict.get(None)
    if verdict is not None and (verdict.rows is not None or verdict.area is not None):
        raise RestrictionUnsupported("you may see only a part of this collection, and this route cannot filter it")


def visible_area(verdict: Verdict | None = None) -> Area | None:
    """Return the area whose pixels the verdict leaves of a raster, None for all of it.

    By default it is that of the running request. Raises RestrictionUnsupported where it has rows, which no pixel meets.
    """
    verdict = verdict or current_verdict.get(None)
    if verdict is None:
        return None
    if verdict.rows is not None:
        raise RestrictionUnsupported(MISFIT)
    return verdict.area


def union_of(areas: Iterable[Area | None]) -> Area | None:
    """Return all areas as one, None where one of them is None, which is everything, or where there is none."""
    known = list(areas)
    geometries = [area.geometry for area in known if area is not None]
    return Area(shapely.union_all(geometries)) if geometries and len(geometries) == len(known) else None


def is_drawn(verdict: Verdict) -> bool:
    """Return whether there is something of a raster in any box: all, or what an area leaves of it."""
    return verdict.allowed and verdict.rows is None and not verdict.refuses


def refuse_beyond(is_inside: Callable[[], bool]) -> None:
    """Raise RestrictionUnsupported, which names the area, where it refuses what does not lie inside wholly."""
    verdict = current_verdict.get(None)
    if verdict is not None and verdict.area is not None and verdict.refuses and not is_inside():
        extent = described_extent(verdict.area)
        raise RestrictionUnsupported(f"what was asked for reaches beyond the area that you may see, {extent}")


def refuse_part(instead: str) -> None:
    """Raise RestrictionUnsupported, which names the area and what to do instead, where the verdict leaves a part."""
    area = visible_area()
    if area is not None:
        raise RestrictionUnsupported(f"you may see only a part of this collection, {described_extent(area)}: {instead}")


def described_extent(area: Area) -> str:
    """Return where an area lies, for an error message."""
    west, south, east, north = area.geometry.bounds
    return f"which lies between {west:.6g} {south:.6g} and {east:.6g} {north:.6g}"


@contextmanager
def under(verdict: Verdict) -> Iterator[None]:
    """Read under a verdict: that on one of several collections that a request is about."""
    reset = current_verdict.set(verdict)
    try:
        yield
    finally:
        current_verdict.reset(reset)


def row_rules(geometry: str) -> tuple[Filter, ...]:
    """Return what the policy lets the caller of this request see of a collection: filters, all of which hold.

    They may name properties that nobody is shown. A feature is seen where it lies within the caller's area. Raises
    RestrictionUnsupported for a rule that is no CQL2.
    """
    verdict = current_verdict.get(None)
    return () if verdict is None else _rules_of(verdict, geometry)


def _rules_of(verdict: Verdict, geometry: str) -> tuple[Filter, ...]:
    also = () if verdict.also is None else _rules_of(verdict.also, geometry)
    if verdict.rows is None and verdict.area is None:
        return also
    try:
        allowed = [read_text(rule) for rule in verdict.rows or ()]
    except FilterError as error:
        raise RestrictionUnsupported(MISFIT) from error
    rules = [] if verdict.rows is None else [Filter({"op": "or", "args": [False, *allowed]})]
    if verdict.area is not None:
        rules.append(Filter({"op": "s_within", "args": [{"property": geometry}, verdict.area.geometry]}))
    return (*rules, *also)


OPEN = GrantPolicy((), frozenset())
"""The policy of an open server, whose only caller is local."""


def audit(identity: Identity, access: Access, verdict: Verdict, *, job: str | None = None) -> None:
    """Log a decision, with the id of the caller's API key; the logging setup adds the request id.

    On an open server there is no identity to record, so nothing is logged.
    """
    if identity.method == "local":
        return
    more = {
        "key": identity.key_id if isinstance(identity, KeyIdentity) else "",
        "job": job,
        "reason": "" if verdict.allowed else verdict.reason,
    }
    _LOGGER.info(
        "allowed" if verdict.allowed else "refused",
        extra={
            "who": identity.owner,
            "by": identity.method,
            "action": access.action.value,
            "resource": access.resource,
            "decision": "allowed" if verdict.allowed else "refused",
            "rule": verdict.rule,
            **{name: value for name, value in more.items() if value},
        },
    )


def audit_event(owner: str, event: str, **more: str) -> None:
    """Log an event that no policy decides: a sign-in or sign-out, a key created or revoked, a token request."""
    _LOGGER.info(event, extra={"who": owner, "action": event, **more})


class VisibleResources(Mapping[str, Resource]):
    """The configured collections and processes that the current caller may discover.

    Results are cached for recent callers, as neither the policy nor the resources change.
    """

    def __init__(self, resources: Mapping[str, Resource], policy: Policy) -> None:
        self._resources = resources
        self._policy = policy
        self._seen: Recent[Identity, Mapping[str, Resource]] = Recent(_CALLERS)
        self._last: tuple[Identity | None, Mapping[str, Resource]] = (None, {})

    def _visible(self) -> Mapping[str, Resource]:
        identity = current_identity.get()
        last, visible = self._last  # read many times in one request
        return visible if last is identity else self._look_up(identity)

    def _look_up(self, identity: Identity) -> Mapping[str, Resource]:
        visible = self._seen.get(identity)
        if visible is None:
            visible = {name: entry for name, entry in self._resources.items() if self._is_seen_by(identity, name)}
            self._seen.put(identity, visible)
        self._last = (identity, visible)
        return visible

    def _is_seen_by(self, identity: Identity, name: str) -> bool:
        return self._policy(identity, Access(Action.DISCOVER, name)).allowed

    def __getitem__(self, name: str) -> Resource:
        return self._visible()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._visible())

    def __len__(self) -> int:
        return len(self._visible())


class Everywhere(Enum):
    """The extent of an order that no area bounds."""

    EVERYWHERE = "everywhere"


EVERYWHERE = Everywhere.EVERYWHERE
Extent = Area | Everywhere | None
"""The extent of an order: an area, everywhere, or None for an order without one."""


class LimitExceeded(Exception):
    """An order exceeds a limit of its caller; the message names the limit."""


def fulfilled_limits(alternatives: Sequence[Limits], place: Extent) -> tuple[Limits, ...]:
    """Return the alternatives that an order of this extent keeps to, one of which is enough.

    Raises LimitExceeded if it exceeds all of them.
    """
    excesses = [_excess(limits, place) for limits in alternatives]
    fulfilled = tuple(limits for limits, excess in zip(alternatives, excesses, strict=True) if excess is None)
    if not fulfilled:
        raise LimitExceeded(next(excess for excess in reversed(excesses) if excess))
    return fulfilled


def km2_of(place: Extent) -> float:
    """Return the area that an order of this extent counts as: one of everything as the largest that may be ordered."""
    return 0.0 if place is None else MAX_ORDER_KM2 if place is EVERYWHERE else place.km2


def _excess(limits: Limits, place: Extent) -> str | None:
    """Return a message about the limit that the extent exceeds, or None."""
    if place is None:
        return None
    if limits.km2 is not None and (place is EVERYWHERE or place.km2 > limits.km2):
        size = "everything" if place is EVERYWHERE else f"{place.km2:,.2f} km2"
        return f"the order covers {size}; you may order at most {limits.km2:,g} km2 at once (largest-order-km2)"
    if limits.km2_a_day is not None and km2_of(place) > limits.km2_a_day:
        most = f"{limits.km2_a_day:,g} km2 a day (km2-a-day)"
        return f"the order covers {km2_of(place):,.2f} km2; you may order at most {most}"
    if limits.within is not None and (place is EVERYWHERE or not _is_within(place, limits.within)):
        place_of_it = described_extent(limits.within)
        return f"the order reaches beyond the area that you may order from (order-area), {place_of_it}"
    return None


def _is_within(place: Area, allowed: Area) -> bool:
    return bool(shapely.covers(allowed.geometry, place.geometry))
