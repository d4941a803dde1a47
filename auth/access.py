"""Accesses, verdicts and the interface of a policy."""

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from auth.identity import Identity
from auth.rate import Rate
from products.area import Area


class Action(StrEnum):
    """The actions that a policy can grant, by their names in the policy file."""

    DISCOVER = "discover"
    READ_ITEMS = "read-items"
    READ_COVERAGE = "read-coverage"
    READ_MAP = "read-map"
    READ_TILES = "read-tiles"
    DOWNLOAD = "download"
    CREATE_ITEMS = "create-items"
    UPDATE_ITEMS = "update-items"
    DELETE_ITEMS = "delete-items"
    EXECUTE = "execute"
    READ_OWN_JOBS = "read-own-jobs"
    DISMISS_OWN_JOBS = "dismiss-own-jobs"
    READ_ALL_JOBS = "read-all-jobs"
    DISMISS_ALL_JOBS = "dismiss-all-jobs"
    ADMINISTER = "administer"


EDITING = frozenset({Action.CREATE_ITEMS, Action.UPDATE_ITEMS, Action.DELETE_ITEMS})
_READING = {Action.READ_ITEMS, Action.READ_COVERAGE, Action.READ_MAP, Action.READ_TILES, Action.DOWNLOAD}
ON_COLLECTIONS = frozenset({Action.DISCOVER, *_READING, *EDITING})
ON_PROCESSES = frozenset(
    {
        Action.DISCOVER,
        Action.EXECUTE,
        Action.READ_OWN_JOBS,
        Action.DISMISS_OWN_JOBS,
        Action.READ_ALL_JOBS,
        Action.DISMISS_ALL_JOBS,
    }
)


@dataclass(frozen=True, slots=True)
class Access:
    """One action on one collection or process; `resource` is None for an action on the server."""

    action: Action
    resource: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of an order: its size, the area it must lie in, the caller's open orders; None is no limit.

    `km2_a_day` and `bytes_a_day` are what the caller may order in a day altogether.
    """

    km2: float | None = None
    within: Area | None = None
    open_orders: int | None = None
    km2_a_day: float | None = None
    bytes_a_day: int | None = None


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an access is allowed and by which `rule`; `reason` tells the caller what is missing.

    A caller sees the features that match any filter of `rows`, and the pixels and features inside `area`; None does not
    restrict. What reaches beyond the area has no data there, or is refused as a whole where the area `refuses`. An
    order must keep to one of the `limits`.
    """

    allowed: bool
    reason: str = ""
    rule: str = ""
    rows: tuple[str, ...] | None = None
    area: Area | None = None
    refuses: bool = False
    limits: tuple[Limits, ...] = (UNLIMITED,)
    also: "Verdict | None" = None
    """One whose rows and area restrict too: who changes an item has to see it."""
    rates: tuple[tuple[str, Rate], ...] = ()
    """By grant how often the caller may do this; one of them is enough, and none is no limit."""


class Policy(Protocol):
    """Decides on an access; a refusal is a verdict, not an exception."""

    def __call__(self, identity: Identity, access: Access) -> Verdict:
        """Return the verdict; the default is to refuse."""


current_verdict: ContextVar[Verdict] = ContextVar("current_verdict")
"""The verdict that admitted the current request; every provider applies its `rows` and `area` or refuses."""
