"""Figures of the orders and of the outbox, counted in the database."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from orchestration.store.database import OrdersStore
from sql.connect import now
from sql.connections import Connection, DialectText

_HOUR = 3_600_000_000
_SECOND = 1_000_000
_MOST_PROCESSES = 50
"""The processes with figures of their own; orders of further ones count as `other`."""
OTHER_PROCESS = "other"

_ORDERS = """select status, process,
        case when owner in ('anonymous', 'local') then owner else 'known' end as caller, count(*) as orders
    from jobs where deleted is null group by 1, 2, 3"""

_UNFINISHED = """select status, process, count(*) as orders, min(created) as created, min(started) as started
    from jobs where finished is null group by status, process"""

_FINISHED = """select status, process, count(*) as orders,
        sum(case when status = 'successful' then finished - coalesce(started, finished) else 0 end) as worked
    from jobs where finished is not null and updated >= :since and finished >= :since group by status, process"""

_OUTBOX = "select kind, state, count(*) as entries, min(due) as due from outbox group by kind, state"

_CONNECTIONS = DialectText(
    sqlite="select '' as state, 0 as connections, 0 as most where false",
    postgresql="""select coalesce(state, 'other') as state, count(*) as connections,
            current_setting('max_connections')::int as most
        from pg_stat_activity where datname = current_database() and usename = current_user group by 1""",
)


@dataclass(frozen=True, slots=True)
class OrderFigures:
    """The numbers of orders, of outbox entries and of connections; ages and times are in seconds.

    `orders` is by status, process and class of caller (anonymous, local, known), `unfinished` and `oldest` by status
    and process, `finished` by status and process in the last hour, `worked` by process the sum of their times.
    `entries` is by kind and state, `overdue` by kind.
    """

    orders: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    unfinished: Mapping[tuple[str, str], int] = field(default_factory=dict)
    oldest: Mapping[tuple[str, str], float] = field(default_factory=dict)
    finished: Mapping[tuple[str, str], int] = field(default_factory=dict)
    worked: Mapping[str, float] = field(default_factory=dict)
    entries: Mapping[tuple[str, str], int] = field(default_factory=dict)
    overdue: Mapping[str, float] = field(default_factory=dict)
    connections: Mapping[str, int] = field(default_factory=dict)
    most_connections: int = 0


class FiguresStore(OrdersStore):
    """Counts the orders of the database. Raises StoreUnavailable."""

    def read(self) -> OrderFigures:
        """Return the current figures."""
        with self._reading() as connection:
            return self._figures(connection)

    def _figures(self, connection: Connection) -> OrderFigures:
        present = now()
        orders = connection.execute(_ORDERS).fetchall()
        named = _named((row["process"], row["orders"]) for row in orders)
        unfinished = connection.execute(_UNFINISHED).fetchall()
        finished = connection.execute(_FINISHED, {"since": present - _HOUR}).fetchall()
        outbox = connection.execute(_OUTBOX).fetchall()
        connections = connection.execute(_CONNECTIONS.of(self._pool.dialect)).fetchall()
        oldest = {
            (row["status"], row["process"]): row["created"] if row["status"] == "accepted" else row["started"]
            for row in unfinished
        }
        return OrderFigures(
            orders=_summed(((r["status"], named(r["process"]), r["caller"]), r["orders"]) for r in orders),
            unfinished=_summed(((r["status"], named(r["process"])), r["orders"]) for r in unfinished),
            oldest=_largest(((status, named(p)), _age(since, present)) for (status, p), since in oldest.items()),
            finished=_summed(((r["status"], named(r["process"])), r["orders"]) for r in finished),
            worked=_summed((named(r["process"]), int(r["worked"]) / _SECOND) for r in finished),
            entries={(r["kind"], r["state"]): r["entries"] for r in outbox},
            overdue=_largest((r["kind"], _age(r["due"], present)) for r in outbox if r["state"] == "due"),
            connections={row["state"]: row["connections"] for row in connections},
            most_connections=max((row["most"] for row in connections), default=0),
        )


def _named(orders: Iterable[tuple[str, int]]) -> Callable[[str], str]:
    """Return a function that returns the names of the most frequently ordered processes, and `other` for the rest."""
    totals = Counter[str]()
    for process, number in orders:
        totals[process] += number
    most = {process for process, _ in totals.most_common(_MOST_PROCESSES)}
    return lambda process: process if process in most else OTHER_PROCESS


def _summed[Key: Hashable, Number: (int, float)](pairs: Iterable[tuple[Key, Number]]) -> dict[Key, Number]:
    sums: dict[Key, Number] = {}
    for key, number in pairs:
        sums[key] = sums[key] + number if key in sums else number
    return sums


def _largest[Key: Hashable](pairs: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    largest: dict[Key, float] = {}
    for key, number in pairs:
        largest[key] = max(number, largest.get(key, 0.0))
    return largest


def _age(since: int | None, present: int) -> float:
    """Return the seconds since a time in microseconds, 0 for none or a future time."""
    return 0.0 if since is None else max(0, present - since) / _SECOND
