"""Bring a backup back: unpacked and checked inside the state folder, then exchanged for what is there.

The journal says from when on there is no way back but forward: a restore that is interrupted before it leaves the old
state as it was; one that is interrupted after it is completed by the next.
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
from server.backup.mend import mend
from server.backup.unpack import read_about, unpack
from server.state import JOURNAL, RESTORING, StateBusy, alone
from sql.connect import check_database
from sql.migrate import migrate as bring_up
from sql.migrate import owns
from sql.move import filled_table, move
from sql.pool import PostgresPool

_STATE = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", *KEYS, RESULTS, "heartbeat", "usage", "amounts.json")


@dataclass(frozen=True, slots=True)
class Journal:
    """How far an exchange is: of which archive, where the old state goes, and whether it is there already."""

    about: About
    aside: str
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back: from when it is, where the old state and a differing configuration are, what is missing.

    `missing` is the number of orders whose result is not there, so that it has to be ordered again.
    """

    taken: datetime
    aside: Path | None
    configuration: Path | None
    missing: int


class StateInTheWay(Exception):
    """There is a state already, and it was not said that it may be moved aside."""


def restore(
    archive: Path, paths: StatePaths, report: Report, *, force: bool = False, url: str | None = None
) -> Restored:
    """Make the archive the state, or complete the restore of it that was interrupted.

    With a `url` the orders go to that PostgreSQL, whose schema is brought up. What is in it already is then in the old
    state, too. Raises NotRestorable, StateInTheWay, StateBusy, DatabaseAway, NewerSchema or OSError with the old state
    as it was.
    """
    about = read_about(archive)
    with alone(paths.state), _alone_in_database(url):
        stage = paths.state / RESTORING
        journal = _read(stage / JOURNAL)
        if journal is None:
            journal = _prepare(archive, paths.state, report, force=force, url=url)
        restored = _exchange(paths, journal, url)
        if journal.about != about:
            other = f"{journal.about.taken:%Y-%m-%d %H:%M:%S}Z"
            raise StateInTheWay(f"completed the interrupted restore of the backup of {other}; {archive} was not begun")
        return restored


@contextmanager
def _alone_in_database(url: str | None) -> Iterator[None]:
    """Keep the workers of all machines out, and bring the schema up.

    Raises StateBusy where a worker is there, StateInTheWay where the tables are somebody else's.
    """
    if url is None:
        yield
        return
    with closing(worker_lock(url)) as lock:
        if not lock.take():
            raise StateBusy("a worker uses the PostgreSQL of LANDCAST_DATABASE_URL: stop all of them first")
        bring_up(url)
        with closing(PostgresPool(url)) as pool, pool.reading() as connection:
            if not owns(connection):
                raise StateInTheWay("LANDCAST_DATABASE_URL: a restore needs to connect as the owner of the tables")
        yield


def _prepare(archive: Path, state: Path, report: Report, *, force: bool, url: str | None) -> Journal:
    """Unpack and check; from the journal on, which is written last, the archive is the state to be."""
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
    """Begin without what an interrupted restore has left, and leave nothing behind."""
    shutil.rmtree(stage, ignore_errors=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def _refuse_state(state: Path, names: tuple[str, ...], *, force: bool) -> None:
    """Raise StateInTheWay; folders without anything in them are none."""
    for path in (state / name for name in names):
        filled = any(path.iterdir()) if path.is_dir() else path.exists()
        if filled and not force:
            raise StateInTheWay(f"{path} is there already; --force moves the old state aside")


def _refuse_orders(url: str | None, *, force: bool) -> None:
    """Raise StateInTheWay where there is something in PostgreSQL."""
    if url is None or force:
        return
    with closing(PostgresPool(url)) as pool, pool.reading() as connection:
        filled = filled_table(connection)
    if filled:
        raise StateInTheWay(f"there is something in {filled} of PostgreSQL already; --force moves it to a file aside")


def _bring_up(database: Path, archive: Path) -> None:
    """Check the database and bring its schema to ours. Raises NotRestorable."""
    try:
        check_database(database)
        StoredJobs(database).close()
    except (sqlite3.Error, OrchestrationError) as error:
        raise NotRestorable(f"{archive}: {DATABASE}: {error}") from error


def _exchange(paths: StatePaths, journal: Journal, url: str | None) -> Restored:
    """Move the old state aside, the new one in; each step may have been done before."""
    stage, aside = paths.state / RESTORING, paths.state / journal.aside
    new = stage / "new"
    if not journal.moved:
        extra = (PRODUCTS,) if (new / PRODUCTS).exists() else ()
        _move((*_STATE, *extra), paths.state, aside)
        journal = replace(journal, moved=True)
        _write(stage / JOURNAL, journal)
    ours = new if url else paths.state
    _move((*(() if url else (DATABASE,)), *KEYS, RESULTS, PRODUCTS), new, paths.state)
    configuration, missing = mend(paths, new, ours / DATABASE)
    if url:
        aside.mkdir(exist_ok=True)
        move(ours / DATABASE, url, aside=aside / "orders-of-postgresql.sqlite")
    (stage / JOURNAL).unlink()
    make_durable(stage)
    shutil.rmtree(stage)
    with suppress(OSError):
        aside.rmdir()  # where nothing was moved into it
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
