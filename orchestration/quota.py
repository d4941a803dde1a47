"""Quotas: how much an owner may order at once and in a day, which begins at midnight UTC.

An order counts on the day on which it was ordered, with the bytes that are expected of it until it has its result.
Failed and dismissed ones do not.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestration.errors import OrchestrationError, QuotaUsedUp, TooManyOpenOrders
from orchestration.files.usage import readable_size
from orchestration.job import instant


@dataclass(frozen=True, slots=True)
class Quota:
    """How many unfinished orders an owner may have, and how many km2 and bytes of results a day; None is no limit."""

    open_orders: int | None = None
    km2: float | None = None
    bytes: int | None = None


UNBOUNDED = Quota()


@dataclass(frozen=True, slots=True)
class Used:
    """What an owner has used at a time: unfinished orders, and the km2 and bytes of that day."""

    open_orders: int
    km2: float
    bytes: int
    at: datetime

    @property
    def ends(self) -> datetime:
        """When the day ends and the next one begins."""
        return day_of(self.at) + timedelta(days=1)


def day_of(time: datetime) -> datetime:
    """Return when the day of a time began."""
    return time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def check_quotas(quotas: Sequence[Quota], used: Used, km2: float | None, size: int = 0) -> None:
    """Raise TooManyOpenOrders or QuotaUsedUp if an order of so many km2 keeps to none of the quotas; () is no limit.

    `size` is the bytes of its result, as they are expected. Without `km2` the order is not counted by the day.
    """
    refusals = [_refusal(quota, used, km2, size) for quota in quotas]
    if refusals and None not in refusals:
        raise next(refusal for refusal in reversed(refusals) if refusal is not None)


def _refusal(quota: Quota, used: Used, km2: float | None, size: int) -> OrchestrationError | None:
    if quota.open_orders is not None and used.open_orders >= quota.open_orders:
        most = f"at most {quota.open_orders} may be open at once (open-orders)"
        return TooManyOpenOrders(f"you have {used.open_orders} unfinished orders; {most}")
    if km2 is None:
        return None
    seconds = math.ceil((used.ends - used.at).total_seconds())
    if quota.km2 is not None and used.km2 + km2 > quota.km2:
        return QuotaUsedUp(
            f"the order covers {km2:,.2f} km2; you have ordered {used.km2:,.2f} km2 today and may order at most "
            f"{quota.km2:,g} km2 a day (km2-a-day); the next day begins at {instant(used.ends)}",
            seconds,
        )
    if quota.bytes is not None and (used.bytes >= quota.bytes or used.bytes + size > quota.bytes):
        asked = f"the result is expected to have {readable_size(size)}; "
        return QuotaUsedUp(
            f"{asked}those of your orders of today have or are expected to have {readable_size(used.bytes)}; you may "
            f"order at most {readable_size(quota.bytes)} a day (bytes-a-day); "
            f"the next day begins at {instant(used.ends)}",
            seconds,
        )
    return None


def described(quotas: Sequence[Quota], used: Used) -> list[dict[str, Any]]:
    """Return what is allowed, used and remaining of each quota, by the names of the policy file."""
    return [dict(_described(quota, used)) for quota in quotas]


def _described(quota: Quota, used: Used) -> Iterator[tuple[str, Any]]:
    amounts = {
        "open-orders": (quota.open_orders, used.open_orders),
        "km2-a-day": (quota.km2, round(used.km2, 2)),
        "bytes-a-day": (quota.bytes, used.bytes),
    }
    for name, (allowed, amount) in amounts.items():
        if allowed is not None:
            yield name, {"allowed": allowed, "used": amount, "remaining": max(0, round(allowed - amount, 2))}
    if quota.km2 is not None or quota.bytes is not None:
        yield "until", instant(used.ends)
