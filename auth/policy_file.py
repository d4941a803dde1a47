"""Read the policy file (YAML) into grants; all mistakes are reported together."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from auth.access import ON_COLLECTIONS, ON_PROCESSES, Action
from auth.policy import Grant, GrantPolicy, Subjects
from auth.policy_limits import read_limits, read_part
from auth.policy_problems import InvalidPolicy, Problems
from auth.rate import read_rate
from products.yaml_file import UnreadableYaml, read_yaml

COLLECTIONS = ("clcplus-raster", "clcplus-vector", "parks", "nations")
"""Ids that a policy may name even when they are not configured."""
_ROLES = ("admin", "user", "gaf", "geoville")
_MEMBERS = ("who", "may", "collections", "processes", "limits", "rows", "area", "rate")
_WHO = ("role", "group", "scope", "user")
_EVERYBODY = ("public", "authenticated")


@dataclass(frozen=True, slots=True)
class PolicyNames:
    """The ids of collections and processes that a policy may name."""

    collections: frozenset[str]
    processes: frozenset[str]

    @classmethod
    def of(cls, resources: Mapping[str, Mapping[str, Any]], processes: Iterable[str] = ()) -> "PolicyNames":
        """Return the configured ids, COLLECTIONS, and `processes`; a policy names STAC collections as collections."""
        named = {True: set(processes), False: set(COLLECTIONS)}
        for name, resource in resources.items():
            named[resource["type"] == "process"].add(str(name))
        return cls(frozenset(named[False]), frozenset(named[True]))


@dataclass(slots=True)
class _Reader:
    known: PolicyNames
    roles: frozenset[str] = frozenset(_ROLES)
    problems: Problems = field(default_factory=Problems)

    def grant(self, name: str, entry: Any) -> Grant | None:
        place = f"grants.{name}"
        if not isinstance(entry, Mapping):
            self.problems.say(place, "must be a mapping with who, may, and collections or processes")
            return None
        self.problems.unknown(place, entry, _MEMBERS)
        who = self._who(f"{place}.who", entry.get("who"))
        actions = self._actions(f"{place}.may", entry.get("may"))
        resources = self._resources(place, entry, actions)
        limits = read_limits(self.problems, f"{place}.limits", entry.get("limits", {}))
        self._without_effect(place, entry, actions)
        return Grant(name, who, actions, resources, limits, **self._restrictions(place, entry))

    def _who(self, place: str, given: Any) -> Subjects:
        if given in _EVERYBODY:
            return Subjects(public=given == "public", authenticated=given == "authenticated")
        if not isinstance(given, Mapping) or not given:
            self.problems.say(place, f"{given!r}; allowed: {', '.join(_EVERYBODY)}, or a mapping of {', '.join(_WHO)}")
            return Subjects()
        self.problems.unknown(place, given, _WHO)
        strings = {
            kind: self.problems.strings(f"{place}.{kind}", given[kind]) if kind in given else frozenset()
            for kind in _WHO
        }
        for role in sorted(strings["role"] - self.roles):
            self.problems.say(f"{place}.role", f"{role!r} is no role; allowed: {', '.join(sorted(self.roles))}")
        return Subjects(roles=strings["role"], groups=strings["group"], scopes=strings["scope"], users=strings["user"])

    def _actions(self, place: str, given: Any) -> frozenset[Action]:
        there_are = frozenset(Action)
        strings = self.problems.strings(place, given)
        for word in sorted(strings - there_are):
            self.problems.say(place, f"{word!r} is no action; allowed: {', '.join(Action)}")
        return frozenset(Action(word) for word in strings & there_are)

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
                    self.problems.say(place, f"{action} needs {kind}: a list of ids, such as ['*']")
        if not found and actions - {Action.ADMINISTER} == {Action.DISCOVER}:
            self.problems.say(place, "discover needs collections or processes: a list of ids, such as ['*']")
        return frozenset(found)

    def _without_effect(self, place: str, entry: Mapping[str, Any], actions: frozenset[Action]) -> None:
        """Report members that have no effect: their author expects one."""
        for kind, on in (("collections", ON_COLLECTIONS), ("processes", ON_PROCESSES)):
            if kind in entry and actions and not actions & on:
                self.problems.say(f"{place}.{kind}", f"no action in may applies to {kind}")
        if "limits" in entry and Action.EXECUTE not in actions:
            self.problems.say(f"{place}.limits", "limits apply to orders, which need execute")
        for member in ("rows", "area"):
            if member in entry and not actions & (ON_COLLECTIONS - {Action.DISCOVER}):
                self.problems.say(
                    f"{place}.{member}", "restricts reading of collections; orders are restricted by limits.order-area"
                )
            if member in entry and entry[member] is None:
                self.problems.say(f"{place}.{member}", "has no value; leave it out to grant all of the collections")

    def _matching(self, place: str, given: Any, known: frozenset[str]) -> Iterator[str]:
        for pattern in sorted(self.problems.strings(place, given)):
            matching = [name for name in known if fnmatchcase(name, pattern)]
            if not matching:
                self.problems.say(place, f"{pattern!r} is none of {', '.join(sorted(known))}")
            yield from matching

    def _restrictions(self, place: str, entry: Mapping[str, Any]) -> dict[str, Any]:
        rows, area = entry.get("rows"), entry.get("area")
        if rows is not None and not (isinstance(rows, str) and rows):
            self.problems.say(f"{place}.rows", f"{rows!r} is not a filter")
        rate = read_rate(entry.get("rate"))
        if "rate" in entry and rate is None:
            self.problems.say(f"{place}.rate", f"{entry['rate']!r}; allowed: NUMBER/second, /minute, /hour or /day")
        read, refuses = read_part(self.problems, f"{place}.area", area)
        return {"rows": rows, "area": read, "refuses": refuses, "rate": rate}


def read_policy(path: Path, known: PolicyNames) -> GrantPolicy:
    """Return the policy of a file. Raises InvalidPolicy."""
    return policy_of(_document(path), known)


def read_roles(path: Path) -> frozenset[str]:
    """Return the roles that a policy file declares. Raises InvalidPolicy."""
    reader = _reader_of(_document(path), PolicyNames(frozenset(), frozenset()))
    reader.problems.end()
    return reader.roles


def _document(path: Path) -> Any:
    try:
        return read_yaml(path)
    except (OSError, UnreadableYaml) as error:
        raise InvalidPolicy([f"{path}: {error}"]) from error


def _reader_of(document: Any, known: PolicyNames) -> _Reader:
    reader = _Reader(known)
    if isinstance(document, Mapping) and "roles" in document:
        reader.roles = reader.problems.strings("roles", document["roles"])
    return reader


def policy_of(document: Any, known: PolicyNames) -> GrantPolicy:
    """Return the policy of a document. Raises InvalidPolicy: an unknown restriction is never ignored."""
    grants = document.get("grants") if isinstance(document, Mapping) else None
    if not isinstance(grants, Mapping) or not grants:
        raise InvalidPolicy(["grants: must be a mapping of at least one name to a grant"])
    reader = _reader_of(document, known)
    for member in document:
        if member not in ("roles", "grants"):
            reader.problems.say(str(member), "unknown; allowed: roles, grants")
    read = [reader.grant(str(name), entry) for name, entry in grants.items()]
    reader.problems.end()
    return GrantPolicy(tuple(grant for grant in read if grant), known.collections | known.processes)
