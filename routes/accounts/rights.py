"""What a caller may do, asked of the one policy, in its words."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from auth.access import ON_COLLECTIONS, ON_PROCESSES, UNLIMITED, Access, Action, Limits, Verdict
from auth.identity import Identity
from routes.pages.translator import Translator, noted
from routes.resources import Resources, is_listed

NAMES = (
    *(noted("discover"), noted("read items"), noted("read coverage"), noted("read map"), noted("read tiles")),
    *(noted("download"), noted("execute"), noted("read own jobs"), noted("dismiss own jobs"), noted("read all jobs")),
    *(noted("dismiss all jobs"), noted("administer")),
)
"""What a page calls the actions."""


def rights_of(resources: Resources, identity: Identity) -> dict[str, Any]:
    """Return what the caller may, by collection and process that they see; call it with the caller's identity set.

    `may` are actions; `limits` are alternatives that an order must keep to any one of, left out where there is none;
    `restricted` says that only a part of the collection may be seen.
    """
    return {
        "administer": resources.policy(identity, Access(Action.ADMINISTER)).allowed,
        "collections": list(_of_kind(resources, identity, "collection")),
        "processes": list(_of_kind(resources, identity, "process")),
    }


def _of_kind(resources: Resources, identity: Identity, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of processes, or of all else, which are collections, those of STAC too."""
    actions = ON_PROCESSES if kind == "process" else ON_COLLECTIONS
    ordered = [action for action in Action if action in actions]
    for name, entry in resources.api.config["resources"].items():
        if (entry["type"] == "process") == (kind == "process") and is_listed(entry):
            verdicts = {action: resources.policy(identity, Access(action, name)) for action in ordered}
            yield {"id": name, **_allowed(verdicts)}


def _allowed(verdicts: Mapping[Action, Verdict]) -> dict[str, Any]:
    allowed = {action: verdict for action, verdict in verdicts.items() if verdict.allowed}
    found: dict[str, Any] = {"may": [action.value for action in allowed]}
    execute = allowed.get(Action.EXECUTE)
    if execute is not None and UNLIMITED not in execute.limits:
        found["limits"] = [_limits(limits) for limits in execute.limits]
    if any(verdict.rows is not None or verdict.area is not None for verdict in allowed.values()):
        found["restricted"] = True
    return found


def _limits(limits: Limits) -> dict[str, Any]:
    """Return limits under the names that the policy file has for them."""
    given = {
        "largest-order-km2": limits.km2,
        "order-area": None if limits.within is None else list(limits.within.geometry.bounds),
        "open-orders": limits.open_orders,
        "km2-a-day": limits.km2_a_day,
        "bytes-a-day": limits.bytes_a_day,
    }
    return {name: value for name, value in given.items() if value is not None}


def describe_limits(translator: Translator, alternatives: Iterable[Mapping[str, Any]]) -> str:
    """Return limits in words for people."""
    return f", {translator('or')} ".join(
        f" {translator('and')} ".join(_described(translator, limits)) for limits in alternatives
    )


def _described(translator: Translator, limits: Mapping[str, Any]) -> Iterator[str]:
    if "largest-order-km2" in limits:
        yield translator("at most %(area)s km² at once", area=translator.number(limits["largest-order-km2"]))
    if "order-area" in limits:
        west, south, east, north = (f"{side:.6g}" for side in limits["order-area"])
        corners = {"southwest": f"{west} {south}", "northeast": f"{east} {north}"}
        yield translator("inside an area between %(southwest)s and %(northeast)s", **corners)
    if "open-orders" in limits:
        yield translator.several(
            "at most %(count)s order open at once", "at most %(count)s orders open at once", limits["open-orders"]
        )
    if "km2-a-day" in limits:
        yield translator("at most %(area)s km² a day", area=translator.number(limits["km2-a-day"]))
    if "bytes-a-day" in limits:
        yield translator("at most %(size)s a day", size=translator.size(limits["bytes-a-day"]))
