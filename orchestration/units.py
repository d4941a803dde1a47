"""The units of a production: 10 km cells of the EEA's grid and other units, each with its state.

Triggers of the database keep the state of a unit at that of its newest order (`sql/*/260_units.sql`).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Literal

from orchestration.job import OrderUnit
from orchestration.store.database import OrdersStore
from sql.connect import now

KEY = ("service", "task", "id")
"""What identifies a unit: the process, the task of the production, empty where it has one only, and the unit's id."""
LONGEST = 100
"""The most characters of the id of a unit and of a task."""
_CELL = re.compile(r"10kmE(0|[1-9]\d{0,2})N(0|[1-9]\d{0,2})", re.ASCII)
_CELL_METRES = 10_000
_MOST_EAST, _MOST_NORTH = 799, 599
"""The last cells of the grid that EPSG:3035 has in Europe."""
_AT_ONCE = 1000


class UnitState(StrEnum):
    """The state of a unit in the production."""

    NOT_STARTED = "not started"
    RECEIVED = "received"
    QUEUED = "queued"
    RUNNING = "running"
    FAILED = "failed"
    SUCCESS = "success"
    READY = "ready for delivery"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit, its centre in degrees, and its state.

    Without a state a known unit keeps its own, and a new one is not started.
    """

    id: str
    kind: Literal["cell", "unit"]
    longitude: float
    latitude: float
    state: UnitState | None = None


class UnitInvalid(ValueError):
    """A row is no unit; the message says what is wrong and what is allowed."""


def read_unit(row: Mapping[str, str]) -> Unit:
    """Return the unit of a row with `id`, and with `longitude`, `latitude`, `state` where they are given.

    The centre of a 10 km cell follows from its id, such as 10kmE502N304. Raises UnitInvalid.
    """
    id_, given = row.get("id", ""), row.get("state", "")
    if not is_name(id_):
        raise UnitInvalid(f"id {id_[:LONGEST]!r}; allowed: 1 to {LONGEST} printable characters")
    if given and given not in UnitState:
        raise UnitInvalid(f"state {given[:LONGEST]!r}; allowed: {', '.join(UnitState)}")
    state = UnitState(given) if given else None
    if id_.startswith("10km"):
        return Unit(id_, "cell", *_centre_of(id_), state)
    return Unit(id_, "unit", _degrees(row, "longitude", 180), _degrees(row, "latitude", 90), state)


def is_name(text: str) -> bool:
    """Return whether the text may be the id of a unit or the name of a task."""
    return 1 <= len(text) <= LONGEST and text.isprintable() and text == text.strip()


def _centre_of(cell: str) -> tuple[float, float]:
    found = _CELL.fullmatch(cell)
    east, north = (int(found[1]), int(found[2])) if found else (-1, -1)
    if not (0 <= east <= _MOST_EAST and 0 <= north <= _MOST_NORTH):
        allowed = f"10kmE0N0 to 10kmE{_MOST_EAST}N{_MOST_NORTH}, such as 10kmE502N304"
        raise UnitInvalid(f"id {cell[:LONGEST]!r} is no cell of the EEA's grid; allowed: {allowed}")
    longitude, latitude = _to_degrees()((east + 0.5) * _CELL_METRES, (north + 0.5) * _CELL_METRES)
    return longitude, latitude


@cache
def _to_degrees() -> Callable[[float, float], tuple[float, float]]:
    from pyproj import Transformer  # noqa: PLC0415  no request needs it

    transform: Callable[[float, float], tuple[float, float]] = Transformer.from_crs(
        3035, 4258, always_xy=True
    ).transform
    return transform


def _degrees(row: Mapping[str, str], name: str, most: int) -> float:
    text = row.get(name, "")
    try:
        degrees = float(text)
    except ValueError:
        degrees = most + 1.0
    if not -most <= degrees <= most:
        raise UnitInvalid(
            f"{name} {text[:LONGEST]!r}; allowed: {-most} to {most}, needed unless the id is a 10 km cell's"
        )
    return degrees


def unit_of(value: Any) -> OrderUnit:
    """Return the unit that an execution names as `{"id": …, "task": …}`. Raises UnitInvalid."""
    allowed = f"an object with id, and task if the production has several, each of 1 to {LONGEST} printable characters"
    if not isinstance(value, dict) or "id" not in value or not value.keys() <= {"id", "task"}:
        raise UnitInvalid(allowed)
    if not all(isinstance(member, str) and is_name(member) for member in value.values()):
        raise UnitInvalid(allowed)
    return OrderUnit(value["id"], value.get("task", ""))


class StoredUnits(OrdersStore):
    """The units in the database of the orders. Raises StoreUnavailable."""

    def put(self, service: str, task: str, units: Iterable[Unit]) -> int:
        """Store the units in one transaction; return how many are new. A known one gets the place and a given state."""
        present, name = now(), {"service": service, "task": task}
        values = [
            {**name, "id": unit.id, "kind": unit.kind, "x": unit.longitude, "y": unit.latitude, "now": present}
            | {"state": unit.state}
            for unit in units
        ]
        with self._writing() as connection:
            before = connection.execute(_NUMBER, name).fetchone()[0]
            for begin in range(0, len(values), _AT_ONCE):
                connection.executemany(_PUT, values[begin : begin + _AT_ONCE])
            return int(connection.execute(_NUMBER, name).fetchone()[0]) - int(before)

    def make_ready(self, service: str, task: str, ids: Iterable[str]) -> dict[str, str | None]:
        """Change successful units to ready for delivery; return the states of the others by id, None if unknown."""
        others: dict[str, str | None] = {}
        with self._writing() as connection:
            for id_ in ids:
                values = {"service": service, "task": task, "id": id_, "now": now()}
                if not connection.execute(_READY, values).rowcount:
                    row = connection.execute(_STATE, values).fetchone()
                    if row is None or row[0] != UnitState.READY:
                        others[id_] = row and row[0]
        return others

    def counts(self) -> list[tuple[str, str, str, int]]:
        """Return the number of units by service, task and state."""
        with self._reading() as connection:
            return [tuple(row) for row in connection.execute(_COUNTS).fetchall()]


_NUMBER = "select count(*) from units where service = :service and task = :task"
_PUT = """insert into units (service, task, id, kind, longitude, latitude, state, updated)
    values (:service, :task, :id, :kind, :x, :y, coalesce(:state, 'not started'), :now)
    on conflict (service, task, id) do update set kind = excluded.kind, longitude = excluded.longitude,
        latitude = excluded.latitude, state = coalesce(:state, units.state), updated = excluded.updated"""
_READY = """update units set state = 'ready for delivery', updated = :now
    where service = :service and task = :task and id = :id and state = 'success'"""
_STATE = "select state from units where service = :service and task = :task and id = :id"
_COUNTS = "select service, task, state, count(*) from units group by service, task, state order by service, task, state"
