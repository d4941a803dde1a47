"""`landcast orders`: manage orders as the operator."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from orchestration.errors import OrchestrationError
from orchestration.job import UNFINISHED, Job, JobQuery, Status
from server.commands.common import configured_database, printable, table

if TYPE_CHECKING:
    from orchestration.store.jobs import StoredJobs

_COLUMNS: dict[str, Callable[[Job], str]] = {
    "ID": lambda job: job.id,
    "PROCESS": lambda job: job.order.process,
    "STATUS": lambda job: job.status.value,
    "DONE": lambda job: f"{job.progress} %",
    "ORDERED": lambda job: f"{job.created:%Y-%m-%d %H:%M:%S}Z",
    "OWNER": lambda job: job.order.owner,
    "MESSAGE": lambda job: job.message,
}
_AGAIN = frozenset({Status.FAILED, Status.DISMISSED})
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@click.group()
def orders() -> None:
    """List, show, retry and cancel orders."""


@orders.command("list")
@click.option("--status", "statuses", multiple=True, type=click.Choice([status.value for status in Status]))
@click.option("--process", "processes", multiple=True, help="Only orders of this process; may be repeated.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Maximum number of orders."
)
@_JSON
def list_orders(statuses: Sequence[str], processes: Sequence[str], limit: int, *, as_json: bool) -> None:
    """List the orders, newest first."""
    query = JobQuery(statuses=tuple(map(Status, statuses)), processes=tuple(processes), limit=limit)
    with _store() as store:
        page = store.find(query)
    if as_json:
        click.echo(json.dumps([_summary(job) for job in page.jobs], indent=2))
        return
    rows = [tuple(_COLUMNS), *(tuple(printable(text(job)) for text in _COLUMNS.values()) for job in page.jobs)]
    for line in table(rows):
        click.echo(line)
    click.echo(f"{len(page.jobs)} of {page.matched} orders", err=True)


@orders.command()
@click.argument("job_id", metavar="ID")
@_JSON
def show(job_id: str, *, as_json: bool) -> None:
    """Show all details of an order."""
    with _store() as store:
        members = _details(_job(store, job_id))
    if as_json:
        click.echo(json.dumps(members, indent=2))
        return
    for name, value in members.items():
        text = value if isinstance(value, str) else json.dumps(value)
        click.echo(f"{name:10} {printable(text)}".rstrip())


@orders.command()
@click.argument("job_id", metavar="ID")
def retry(job_id: str) -> None:
    """Repeat a failed or dismissed order with its inputs, owner and subscribers; print the new order's ID."""
    with _store() as store:
        job = _job(store, job_id)
        if job.status not in _AGAIN:
            raise click.ClickException(f"order {job.id} is {job.status}; only a failed or dismissed one can be retried")
        new, _ = store.add(replace(job.order, idempotency_key=None, request_hash=None))
    click.echo(new.id)


@orders.command()
@click.argument("job_id", metavar="ID")
def cancel(job_id: str) -> None:
    """Dismiss a waiting or running order."""
    with _store() as store:
        job = _job(store, job_id)
        if job.status not in UNFINISHED:
            raise click.ClickException(
                f"order {job.id} is {job.status}; only a waiting or running one can be cancelled"
            )
        store.dismiss(job.id)
    click.echo(f"{job.id} dismissed")


@contextmanager
def _store() -> Iterator["StoredJobs"]:
    """Open the existing job store; errors are printed as one line."""
    from orchestration.store.jobs import StoredJobs

    database = configured_database("there are no orders yet")
    try:
        with closing(StoredJobs(database)) as store:
            yield store
    except OrchestrationError as error:
        raise click.ClickException(str(error)) from error


def _job(store: "StoredJobs", job_id: str) -> Job:
    job = store.get(job_id)
    if job is None:
        raise click.ClickException(f"there is no order {printable(job_id)}, or it was deleted")
    return job


def _summary(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "process": job.order.process,
        "status": job.status.value,
        "progress": job.progress,
        "owner": job.order.owner,
        "created": _time(job.created),
        "started": _time(job.started),
        "finished": _time(job.finished),
        "message": job.message,
    }


def _details(job: Job) -> dict[str, Any]:
    files = [output.file for output in job.manifest if output.file]
    return _summary(job) | {
        "email": job.order.email,
        "unit": job.order.unit and asdict(job.order.unit),
        "inputs": job.order.inputs,
        "outputs": job.order.outputs,
        "attempt": job.attempt,
        "failures": job.failures,
        "fault": job.fault,
        "backend": job.backend,
        "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in files],
        "until": _time(job.files_until),
    }


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds")
