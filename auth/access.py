"""What a request wants to do, and what was decided of it."""

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from auth.identity import Identity
from products.area import Area


class Action(StrEnum):
    """What can be allowed; the words of a policy."""

    DISCOVER = "discover"
    READ_ITEMS = "read-items"
    READ_COVERAGE = "read-coverage"
    READ_MAP = "read-map"
    READ_TILES = "read-tiles"
    DOWNLOAD = "download"
    EXECUTE = "execute"
    READ_OWN_JOBS = "read-own-jobs"
    DISMISS_OWN_JOBS = "dismiss-own-jobs"
    READ_ALL_JOBS = "read-all-jobs"
    DISMISS_ALL_JOBS = "dismiss-all-jobs"
    ADMINISTER = "administer"


ON_COLLECTIONS = frozenset(
    {Action.DISCOVER, Action.READ_ITEMS, Action.READ_COVERAGE, Action.READ_MAP, Action.READ_TILES, Action.DOWNLOAD}
)
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
    """One action on one collection or process; `resource` is None where the action is on the server."""

    action: Action
    resource: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What an order may be: so many km2 at most, inside an area, with so many orders unfinished; None is no limit."""

    km2: float | None = None
    within: Area | None = None
    open_orders: int | None = None


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an access is allowed and by which `rule`; `reason` says to the caller what is missing.

    `rows` are filters of which any one must hold, `area` is where pixels and features may be seen; both are None where
    all may be. An order must keep to any one of the `limits`.
    """

    allowed: bool
    reason: str = ""
    rule: str = ""
    rows: tuple[str, ...] | None = None
    area: Area | None = None
    limits: tuple[Limits, ...] = (UNLIMITED,)


class Policy(Protocol):
    """Decide on an access; must not raise for an ordinary refusal."""

    def __call__(self, identity: Identity, access: Access) -> Verdict:
        """Return the verdict; what nothing allows is refused."""


current_verdict: ContextVar[Verdict] = ContextVar("current_verdict")
"""The verdict that let the running request in; every provider honours its `rows` and `area` or refuses."""
