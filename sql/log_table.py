"""The table of log lines in PostgreSQL: a partition for each month, each line once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta

import psycopg2
from psycopg2 import extensions, extras

from sql.connections import DatabaseAway

_LOCK = 4_711_230_915
_TABLE = """
create table if not exists log_lines (
    time    timestamptz not null,
    sender  text        not null,
    service text        not null,
    level   text        not null,
    logger  text        not null,
    message text        not null,
    job     text,
    request text,
    details text        not null default '{}',
    primary key (time, sender)
) partition by range (time);
comment on table log_lines is 'Lines of the log, a partition for each month; written by `landcast logs consume`.';
comment on column log_lines.time is 'UTC; no two lines of a sender have the same.';
comment on column log_lines.sender is 'The process that logged.';
comment on column log_lines.job is 'The id of the order.';
comment on column log_lines.details is 'Further members of the line as JSON, its traceback included.';
create index if not exists log_lines_job on log_lines (job, time) where job is not null;
create index if not exists log_lines_errors on log_lines (time) where level in ('ERROR', 'CRITICAL');
"""
_PARTITIONS = """select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'log_lines'::regclass"""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the log; `time` and `sender` are its key."""

    time: datetime
    sender: str
    service: str
    level: str
    logger: str
    message: str
    job: str | None = None
    request: str | None = None
    details: str = "{}"


_NAMES = tuple(each.name for each in fields(LogLine))
_INSERT = f"insert into log_lines ({', '.join(_NAMES)}) values %s on conflict do nothing"  # noqa: S608  names of ours


class LogTable:
    """The table at an address; its user may create tables. One thread uses it. Raises DatabaseAway."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open: extensions.connection | None = None
        self._months: set[date] = set()

    def write(self, lines: Sequence[LogLine]) -> int:
        """Store the lines in one transaction, durably; return how many were new."""
        with self._connection() as connection, connection.cursor() as cursor:
            self._make_months(cursor, {month_of(line.time) for line in lines} - self._months)
            values = [tuple(getattr(line, name) for name in _NAMES) for line in lines]
            new = 0
            for begin in range(0, len(values), 1000):
                extras.execute_values(cursor, _INSERT, values[begin : begin + 1000], page_size=1000)
                new += cursor.rowcount
        self._months |= {month_of(line.time) for line in lines}
        return new

    def drop_before(self, day: date) -> list[str]:
        """Drop the months that end before the day; return their names."""
        with self._connection() as connection, connection.cursor() as cursor:
            self._make_months(cursor, set())
            cursor.execute(_PARTITIONS)
            names = sorted(str(name) for (name,) in cursor.fetchall())
            old = [name for name in names if _end_of(name) <= day]
            for name in old:
                cursor.execute(f'drop table "{name}"')
        self._months.clear()
        return old

    def close(self) -> None:
        """Close the connection."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _make_months(self, cursor: extensions.cursor, months: Iterable[date]) -> None:
        if self._months and not (months := set(months)):
            return
        cursor.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        cursor.execute(_TABLE)
        for month in months:
            name = f"log_lines_{month:%Y_%m}"
            cursor.execute(
                f"create table if not exists {name} partition of log_lines for values from (%s) to (%s)",
                (_start_of(month), _start_of(_next_month(month))),
            )

    def _connection(self) -> "_Transaction":
        try:
            if self._open is None or self._open.closed:
                self._open = psycopg2.connect(self._url, connect_timeout=3, application_name="landcast logs")
                with self._open.cursor() as cursor:
                    cursor.execute("set client_min_messages = warning; set timezone = 'UTC'")
                self._open.commit()
        except psycopg2.Error as error:
            raise DatabaseAway("PostgreSQL cannot be reached") from error
        return _Transaction(self._open)


class _Transaction:
    """A transaction; an error of the database closes the connection and is raised as DatabaseAway."""

    def __init__(self, connection: extensions.connection) -> None:
        self._connection = connection

    def __enter__(self) -> extensions.connection:
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            if error is None:
                self._connection.commit()
                return
            self._connection.close()
        except psycopg2.Error as failure:
            self._connection.close()
            raise DatabaseAway("PostgreSQL failed at the commit") from failure
        if isinstance(error, psycopg2.Error):
            raise DatabaseAway(f"PostgreSQL failed (SQLSTATE {error.pgcode or '08'})") from error


def month_of(time: datetime) -> date:
    """Return the first day of the month, of UTC."""
    return time.astimezone(UTC).date().replace(day=1)


def _next_month(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1)


def _start_of(month: date) -> datetime:
    return datetime(month.year, month.month, 1, tzinfo=UTC)


def _end_of(name: str) -> date:
    """Return the day after the last of a partition; one with another name never ends."""
    try:
        year, month = map(int, name.removeprefix("log_lines_").split("_"))
        return _next_month(date(year, month, 1))
    except ValueError:
        return date.max
