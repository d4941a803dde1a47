"""What the orders' database says of orders that are over, for estimates: only read, and only so much of it."""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestration.store.database import unavailable

MOST = 50
"""Orders that an estimate rests on, at most: the newest."""

_PAST = """select id, inputs, json_extract(manifest, '$[0].file.size') as size, (finished - started) / 1e6 as seconds
    from jobs
    where number > (select coalesce(max(number), 0) - 5000 from jobs)
        and process = :process and status = 'successful' and deleted is null and finished > started
        and case when length(inputs) < 200000 then
            json_extract(inputs, '$.product') = :kind and coalesce(json_extract(inputs, '$.series'), :series) = :series
        end
        and json_extract(manifest, '$[0].file.size') > 0
    order by number desc limit :most"""
"""Of the last 5,000 orders only; one whose area has very many vertices is left out."""

_WAITING = """select count(*) from jobs
    where finished is null and process not in (select value from json_each(:quick))"""


@dataclass(frozen=True, slots=True)
class PastOrder:
    """A successful order: what it was for, the bytes of its file, the seconds of its run."""

    id: str
    inputs: Mapping[str, Any] = field(repr=False)
    size: int
    seconds: float


def past_orders(path: Path, *, process: str, kind: str, series: str, most: int = MOST) -> tuple[PastOrder, ...]:
    """Return the newest successful orders of a process for a kind of product of a series. Raises StoreUnavailable."""
    values = {"process": process, "kind": kind, "series": series, "most": most}
    with _reading(path) as connection:
        rows = connection.execute(_PAST, values).fetchall()
    return tuple(PastOrder(id_, json.loads(inputs), size, seconds) for id_, inputs, size, seconds in rows)


def count_unfinished(path: Path, *, beside: Collection[str]) -> int:
    """Return how many orders wait or run, without those of some processes. Raises StoreUnavailable."""
    with _reading(path) as connection:
        [(count,)] = connection.execute(_WAITING, {"quick": json.dumps(sorted(beside))}).fetchall()
    return int(count)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    with unavailable(), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection
