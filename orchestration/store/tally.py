"""Count the orders by status and by owner."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from orchestration.job import Status
from sql.connect import time_of
from sql.connections import Connection

_STATUSES = """select status, count(*) as orders, min(created) as oldest
    from jobs where deleted is null group by status"""

_OWNERS = """select owner, count(*) as orders,
        sum(case when finished is null then 1 else 0 end) as unfinished,
        sum(case when status = 'failed' then 1 else 0 end) as failed
    from jobs where deleted is null group by owner
    order by unfinished desc, failed desc, orders desc, owner limit :most"""


@dataclass(frozen=True, slots=True)
class OwnerTally:
    """The orders of an owner: all, those not finished, those that failed."""

    owner: str
    orders: int
    unfinished: int
    failed: int


@dataclass(frozen=True, slots=True)
class Tally:
    """The number of orders by status, when the oldest of each was created, and the owners with most unfinished ones."""

    orders: Mapping[Status, int]
    oldest: Mapping[Status, datetime]
    owners: tuple[OwnerTally, ...]


def read_tally(connection: Connection, most: int) -> Tally:
    """Count the orders that are not deleted; of at most so many owners."""
    statuses = connection.execute(_STATUSES).fetchall()
    owners = connection.execute(_OWNERS, {"most": most}).fetchall()
    return Tally(
        {Status(row["status"]): row["orders"] for row in statuses},
        {Status(row["status"]): time_of(row["oldest"]) for row in statuses},
        tuple(OwnerTally(r["owner"], r["orders"], int(r["unfinished"]), int(r["failed"])) for r in owners),
    )
