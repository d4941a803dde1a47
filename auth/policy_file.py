"""The policy as an operator writes it (YAML), read into grants; every mistake is named at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from auth.access import ON_COLLECTIONS, ON_PROCESSES, UNLIMITED, Action, Limits
from auth.policy import Grant, GrantPolicy, Who
from auth.policy_yaml import read_yaml
from products.area import Area, read_area
from products.errors import ProductError
from products.limits import MAX_ORDER_KM2
from products.nations import find_nation
from products.nations.outline import outline_of

COLLECTIONS = ("clcplus-raster", "clcplus-vector", "parks", "nations")
_SERVICES = ("apply-model", "prepare-samples", "sample-extraction")
PROCESSES = (
    "extract-product",
    "estimate-product",
    "national-product",
    "european-product",
    "area-statistics",
    "echo",
    *_SERVICES,
    *(f"{name}-testing" for name in _SERVICES),
)
"""The names that are known whether or not they are configured: a policy may speak of what is switched off."""
_ROLES = ("admin", "user", "gaf", "geoville")
_MEMBERS = ("who", "may", "collections", "processes", "limits", "rows", "area")
_LIMITS = ("largest-order-km2", "order-area", "open-orders")
_WHO = ("role", "group", "scope", "user")
_EVERYBODY = ("public", "authenticated")


class InvalidPolicy(Exception):
    """The policy cannot be followed; `problems` names every mistake in plain words."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Known:
    """The words that a policy may use: ids of collections and of processes."""

    collections: frozenset[str]
    processes: frozenset[str]

    @classmethod
    def of(cls, resources: Mapping[str, Mapping[str, Any]]) -> "Known":
        """Return what is configured and what could be."""
        kinds: dict[str, set[str]] = {"collection": set(COLLECTIONS), "process": set(PROCESSES)}
        for name, resource in resources.items():
            kinds[resource["type"]].add(str(name))
        return cls(frozenset(kinds["collection"]), frozenset(kinds["process"]))


@dataclass(slots=True)
class _Reader:
    known: Known
    roles: frozenset[str] = frozenset(_ROLES)
    problems: list[str] = field(default_factory=list)

    def say(self, place: str, problem: str) -> None:
        self.problems.append(f"{place}: {problem}")

    def grant(self, name: str, entry: Any) -> Grant | None:
        place = f"grants.{name}"
        if not isinstance(entry, Mapping):
            self.say(place, "must be a mapping with who, may, and collections or processes")
            return None
        self._unknown(place, entry, _MEMBERS)
        who = self._who(f"{place}.who", entry.get("who"))
        actions = self._actions(f"{place}.may", entry.get("may"))
        resources = self._resources(place, entry, actions)
        limits = self._limits(f"{place}.limits", entry.get("limits", {}))
        self._without_effect(place, entry, actions)
        return Grant(name, who, actions, resources, limits, **self._restrictions(place, entry))

    def _unknown(self, place: str, entry: Mapping[str, Any], allowed: Sequence[str]) -> None:
        for member in entry:
            if member not in allowed:
                self.say(f"{place}.{member}", f"unknown; allowed: {', '.join(allowed)}")

    def _who(self, place: str, given: Any) -> Who:
        if given in _EVERYBODY:
            return Who(public=given == "public", authenticated=given == "authenticated")
        if not isinstance(given, Mapping) or not given:
            self.say(place, f"{given!r}; allowed: {', '.join(_EVERYBODY)}, or a mapping of {', '.join(_WHO)}")
            return Who()
        self._unknown(place, given, _WHO)
        words = {kind: self.words(f"{place}.{kind}", given[kind]) if kind in given else frozenset() for kind in _WHO}
        for role in sorted(words["role"] - self.roles):
            self.say(f"{place}.role", f"{role!r} is no role; allowed: {', '.join(sorted(self.roles))}")
        return Who(roles=words["role"], groups=words["group"], scopes=words["scope"], users=words["user"])

    def words(self, place: str, given: Any) -> frozenset[str]:
        words = given if isinstance(given, list) else [given]
        if not words or not all(isinstance(word, str) and word for word in words):
            self.say(place, f"{given!r} is neither a word nor a list of words")
            return frozenset()
        return frozenset(words)

    def _actions(self, place: str, given: Any) -> frozenset[Action]:
        there_are = frozenset(Action)
        words = self.words(place, given)
        for word in sorted(words - there_are):
            self.say(place, f"{word!r} is no action; allowed: {', '.join(Action)}")
        return frozenset(Action(word) for word in words & there_are)

    def _resources(self, place: str, entry: Mapping[str, Any], actions: frozenset[Action]) -> frozenset[str]:
        found: set[str] = set()
        for kind, known, on in (
            ("collections", self.known.collections, ON_COLLECTIONS),
            ("processes", self.known.processes, ON_PROCESSES),
        ):
            if kind in entry:
                found |= set(self._matching(f"{place}.{kind}", entry[kind], known))
            for action in sorted(actions & on - (ON_COLLECTIONS & ON_PROCESSES)):
                if kind not in entry:
                    self.say(place, f"{action} needs {kind}: a list of ids, such as ['*']")
        if not found and actions - {Action.ADMINISTER} == {Action.DISCOVER}:
            self.say(place, "discover needs collections or processes: a list of ids, such as ['*']")
        return frozenset(found)

    def _without_effect(self, place: str, entry: Mapping[str, Any], actions: frozenset[Action]) -> None:
        """Name what stands there and would bound nothing: who wrote it believes that it does."""
        for kind, on in (("collections", ON_COLLECTIONS), ("processes", ON_PROCESSES)):
            if kind in entry and actions and not actions & on:
                self.say(f"{place}.{kind}", f"nothing that may says is done to {kind}")
        if "limits" in entry and Action.EXECUTE not in actions:
            self.say(f"{place}.limits", "limits bound orders, which need execute")
        for member in ("rows", "area"):
            if member in entry and not actions & (ON_COLLECTIONS - {Action.DISCOVER}):
                self.say(
                    f"{place}.{member}", "bounds what is read of collections; orders are bounded by limits.order-area"
                )
            if member in entry and entry[member] is None:
                self.say(f"{place}.{member}", "has no value; leave it out to grant all of the collections")

    def _matching(self, place: str, given: Any, known: frozenset[str]) -> Iterator[str]:
        for pattern in sorted(self.words(place, given)):
            matching = [name for name in known if fnmatchcase(name, pattern)]
            if not matching:
                self.say(place, f"{pattern!r} is none of {', '.join(sorted(known))}")
            yield from matching

    def _limits(self, place: str, given: Any) -> Limits:
        if not isinstance(given, Mapping):
            self.say(place, f"{given!r} is no mapping of {', '.join(_LIMITS)}")
            return UNLIMITED
        self._unknown(place, given, _LIMITS)
        for name in (name for name, value in given.items() if value is None):
            self.say(f"{place}.{name}", "has no value; leave it out where there is no limit")
        within = given.get("order-area")
        return Limits(
            km2=self._number(f"{place}.largest-order-km2", given.get("largest-order-km2"), MAX_ORDER_KM2),
            within=None if within is None else self._area(f"{place}.order-area", within),
            open_orders=self._whole(f"{place}.open-orders", given.get("open-orders")),
        )

    def _number(self, place: str, given: Any, most: float) -> float | None:
        if given is None:
            return None
        if isinstance(given, int | float) and not isinstance(given, bool) and 0 < given <= most:
            return float(given)
        self.say(place, f"{given!r}; allowed: a number above 0, at most {most:,}")
        return None

    def _whole(self, place: str, given: Any) -> int | None:
        if given is None or (isinstance(given, int) and not isinstance(given, bool) and given > 0):
            return given
        self.say(place, f"{given!r}; allowed: a whole number above 0")
        return None

    def _area(self, place: str, given: Any) -> Area | None:
        match given:
            case {"nation": str(name), **others} if not others:
                nation = find_nation(name)
                if nation is not None:
                    return outline_of(nation)
                self.say(place, f"{name!r} is no nation of the collection nations")
                return None
            case {"polygon": outline, **others} if not others:
                try:
                    return read_area(outline)
                except ProductError as error:
                    self.say(place, str(error))
                    return None
        self.say(place, f"{given!r}; allowed: {{nation: NAME}} or {{polygon: WKT}}")
        return None

    def _restrictions(self, place: str, entry: Mapping[str, Any]) -> dict[str, Any]:
        rows, area = entry.get("rows"), entry.get("area")
        if rows is not None and not (isinstance(rows, str) and rows):
            self.say(f"{place}.rows", f"{rows!r} is no filter")
        return {"rows": rows, "area": None if area is None else self._area(f"{place}.area", area)}


def read_policy(path: Path, known: Known) -> GrantPolicy:
    """Return the policy of a file. Raises InvalidPolicy."""
    return policy_of(_document(path), known)


def read_roles(path: Path) -> frozenset[str]:
    """Return the roles that the policy of a file knows. Raises InvalidPolicy."""
    reader = _reader_of(_document(path), Known(frozenset(), frozenset()))
    if reader.problems:
        raise InvalidPolicy(reader.problems)
    return reader.roles


def _document(path: Path) -> Any:
    try:
        return read_yaml(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidPolicy([f"{path}: {error}"]) from error


def _reader_of(document: Any, known: Known) -> _Reader:
    reader = _Reader(known)
    if isinstance(document, Mapping) and "roles" in document:
        reader.roles = reader.words("roles", document["roles"])
    return reader


def policy_of(document: Any, known: Known) -> GrantPolicy:
    """Return the policy of a document. Raises InvalidPolicy: a restriction that is not understood is never dropped."""
    grants = document.get("grants") if isinstance(document, Mapping) else None
    if not isinstance(grants, Mapping) or not grants:
        raise InvalidPolicy(["grants: must be a mapping of at least one name to a grant"])
    reader = _reader_of(document, known)
    for member in document:
        if member not in ("roles", "grants"):
            reader.say(str(member), "unknown; allowed: roles, grants")
    read = [reader.grant(str(name), entry) for name, entry in grants.items()]
    if reader.problems:
        raise InvalidPolicy(reader.problems)
    return GrantPolicy(tuple(grant for grant in read if grant), known.collections | known.processes)
