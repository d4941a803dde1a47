"""Read past orders for estimates, read-only and bounded."""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestration.store.database import unavailable
from sql.connections import Connection, Database, Dialect, DialectText, among

MOST = 50
"""Maximum number of orders that an estimate is based on: the newest."""

_PAST = DialectText(
    sqlite="""select id, inputs, json_extract(manifest, '$[0].file.size') as size, (finished - started) / 1e6 as seconds
    from jobs
    where number > (select coalesce(max(number), 0) - 5000 from jobs)
        and process = :process and status = 'successful' and deleted is null and finished > started
        and case when length(inputs) < 200000 then
            json_extract(inputs, '$.product') = :kind and coalesce(json_extract(inputs, '$.series'), :series) = :series
        end
        and json_extract(manifest, '$[0].file.size') > 0
    order by number desc limit :most""",
    postgresql="""select id, inputs, cast(manifest::json -> 0 -> 'file' ->> 'size' as bigint) as size,
        cast(finished - started as double precision) / 1000000 as seconds
    from jobs
    where number > (select coalesce(max(number), 0) - 5000 from jobs)
        and process = :process and status = 'successful' and deleted is null and finished > started
        and case when length(inputs) < 200000 and inputs !~ '\\\\u(0000|[dD][89a-fA-F])' then
            inputs::json ->> 'product' = :kind and coalesce(inputs::json ->> 'series', :series) = :series
        end
        and cast(manifest::json -> 0 -> 'file' ->> 'size' as bigint) > 0
    order by number desc limit :most""",
)
"""Only the last 5,000 orders. Orders with very large areas are skipped, in PostgreSQL also those whose JSON it cannot
read, because of characters outside the Basic Multilingual Plane."""

_WAITING = "select count(*) from jobs where finished is null and backend = 0 and process not in "


@dataclass(frozen=True, slots=True)
class PastOrder:
    """A successful order: its inputs, the size of its file in bytes, the duration of its run in seconds."""

    id: str
    inputs: Mapping[str, Any] = field(repr=False)
    size: int
    seconds: float


def past_orders(database: Database, *, process: str, kind: str, series: str, most: int = MOST) -> tuple[PastOrder, ...]:
    """Return the newest successful orders of a process for a kind of product of a series. Raises StoreUnavailable."""
    values = {"process": process, "kind": kind, "series": series, "most": most}
    with _reading(database) as connection:
        rows = connection.execute(_PAST.of(_dialect(database)), values).fetchall()
    return tuple(PastOrder(id_, json.loads(inputs), size, seconds) for id_, inputs, size, seconds in rows)


def count_unfinished(database: Database, *, beside: Collection[str]) -> int:
    """Return the number of unfinished orders of all processes except `beside`. Raises StoreUnavailable."""
    quick, values = among("quick", sorted(beside) or [""])
    with _reading(database) as connection:
        [(count,)] = connection.execute(_WAITING + quick, values).fetchall()
    return int(count)


def _dialect(database: Database) -> Dialect:
    return "sqlite" if isinstance(database, Path) else database.dialect


@contextmanager
def _reading(database: Database) -> Iterator[Connection]:
    """Yield a read-only connection; a missing file is not created."""
    with unavailable():
        if not isinstance(database, Path):
            with database.reading() as shared:
                yield shared
            return
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            yield connection
