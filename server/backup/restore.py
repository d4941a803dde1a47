"""Restore a backup: unpack and check it inside the state folder, then exchange it for the current state.

The journal is written before the exchange. A restore interrupted before it leaves the old state unchanged; one
interrupted after it is completed by the next restore.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from orchestration.errors import OrchestrationError
from orchestration.leader import worker_lock
from orchestration.store.jobs import StoredJobs
from products.progress import Report
from products.whole import make_durable, whole_file
from server.backup.contents import DATABASE, KEYS, PRODUCTS, RESULTS, About, NotRestorable
from server.backup.members import StatePaths
from server.backup.repair import repair
from server.backup.unpack import read_about, unpack
from server.state import JOURNAL, RESTORING, StateBusy, exclusive
from sql.connect import check_database
from sql.migrate import migrate as bring_up
from sql.migrate import owns
from sql.move import filled_table, move
from sql.pool import PostgresPool

_STATE = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", *KEYS, RESULTS, "heartbeat", "usage", "amounts.json")


@dataclass(frozen=True, slots=True)
class Journal:
    """The progress of an exchange: the archive, the folder for the old state, and whether that was moved."""

    about: About
    aside: str
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Restored:
    """A completed restore: the time of the backup, where the old state and a differing configuration are.

    `missing` is the number of orders whose result files are not in the backup.
    """

    taken: datetime
    aside: Path | None
    configuration: Path | None
    missing: int


class StateExists(Exception):
    """The state folder or database is not empty, and `force` was not given."""


def restore(
    archive: Path, paths: StatePaths, report: Report, *, force: bool = False, url: str | None = None
) -> Restored:
    """Replace the state by the archive, or complete an interrupted restore.

    With a `url` the orders go to that PostgreSQL, whose schema is upgraded; its existing rows are saved with the old
    state. Raises NotRestorable, StateExists, StateBusy, DatabaseAway, NewerSchema or OSError, with the old state
    unchanged.
    """
    about = read_about(archive)
    with exclusive(paths.state), _exclusive_database(url):
        stage = paths.state / RESTORING
        journal = _read(stage / JOURNAL)
        if journal is None:
            journal = _prepare(archive, paths.state, report, force=force, url=url)
        restored = _exchange(paths, journal, url)
        if journal.about != about:
            other = f"{journal.about.taken:%Y-%m-%d %H:%M:%S}Z"
            raise StateExists(f"completed the interrupted restore of the backup of {other}; {archive} is not restored")
        return restored


@contextmanager
def _exclusive_database(url: str | None) -> Iterator[None]:
    """Lock out the workers of all machines, and upgrade the schema.

    Raises StateBusy if a worker runs, StateExists if another user owns the tables.
    """
    if url is None:
        yield
        return
    with closing(worker_lock(url)) as lock:
        if not lock.take():
            raise StateBusy("a worker uses the PostgreSQL of LANDCAST_DATABASE_URL: stop all workers first")
        bring_up(url)
        with closing(PostgresPool(url)) as pool, pool.reading() as connection:
            if not owns(connection):
                raise StateExists("LANDCAST_DATABASE_URL: a restore needs to connect as the owner of the tables")
        yield


def _prepare(archive: Path, state: Path, report: Report, *, force: bool, url: str | None) -> Journal:
    """Unpack and check the archive; writing the journal, the last step, commits to the exchange."""
    stage = state / RESTORING
    with _removed_on_failure(stage):
        _refuse_state(state, _STATE, force=force)
        _refuse_orders(url, force=force)
        new = stage / "new"
        new.mkdir(parents=True)
        about = unpack(archive, new, report)
        if (new / PRODUCTS).exists():
            _refuse_state(state, (PRODUCTS,), force=force)
        _bring_up(new / DATABASE, archive)
        make_durable(new)
        journal = Journal(about, f"before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
        _write(stage / JOURNAL, journal)
    return journal


@contextmanager
def _removed_on_failure(stage: Path) -> Iterator[None]:
    """Remove the leftovers of an interrupted restore before, and the folder on an exception."""
    shutil.rmtree(stage, ignore_errors=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def _refuse_state(state: Path, names: tuple[str, ...], *, force: bool) -> None:
    """Raise StateExists if any of these exists; empty folders do not count."""
    for path in (state / name for name in names):
        filled = any(path.iterdir()) if path.is_dir() else path.exists()
        if filled and not force:
            raise StateExists(f"{path} exists already; --force moves the old state aside")


def _refuse_orders(url: str | None, *, force: bool) -> None:
    """Raise StateExists if PostgreSQL has rows."""
    if url is None or force:
        return
    with closing(PostgresPool(url)) as pool, pool.reading() as connection:
        filled = filled_table(connection)
    if filled:
        raise StateExists(f"the table {filled} in PostgreSQL already has rows; --force moves them to a file aside")


def _bring_up(database: Path, archive: Path) -> None:
    """Check the database and upgrade its schema. Raises NotRestorable."""
    try:
        check_database(database)
        StoredJobs(database).close()
    except (sqlite3.Error, OrchestrationError) as error:
        raise NotRestorable(f"{archive}: {DATABASE}: {error}") from error


def _exchange(paths: StatePaths, journal: Journal, url: str | None) -> Restored:
    """Move the old state aside and the new one in; every step may be repeated."""
    stage, aside = paths.state / RESTORING, paths.state / journal.aside
    new = stage / "new"
    if not journal.moved:
        extra = (PRODUCTS,) if (new / PRODUCTS).exists() else ()
        _move((*_STATE, *extra), paths.state, aside)
        journal = replace(journal, moved=True)
        _write(stage / JOURNAL, journal)
    ours = new if url else paths.state
    _move((*(() if url else (DATABASE,)), *KEYS, RESULTS, PRODUCTS), new, paths.state)
    configuration, missing = repair(paths, new, ours / DATABASE)
    if url:
        aside.mkdir(exist_ok=True)
        move(ours / DATABASE, url, aside=aside / "orders-of-postgresql.sqlite")
    (stage / JOURNAL).unlink()
    make_durable(stage)
    shutil.rmtree(stage)
    with suppress(OSError):
        aside.rmdir()  # if nothing was moved into it
    return Restored(journal.about.taken, aside if aside.exists() else None, configuration, missing)


def _move(names: tuple[str, ...], source: Path, target: Path) -> None:
    for name in names:
        if (source / name).exists(follow_symlinks=False):
            target.mkdir(exist_ok=True)
            (source / name).rename(target / name)
    make_durable(source)
    if target.exists():
        make_durable(target)


def _write(path: Path, journal: Journal) -> None:
    with whole_file(path) as part:
        part.write_bytes(_JOURNAL_JSON.dump_json(journal))


def _read(path: Path) -> Journal | None:
    return _JOURNAL_JSON.validate_json(path.read_bytes()) if path.exists() else None


_JOURNAL_JSON = TypeAdapter(Journal)
