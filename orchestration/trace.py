"""Traces: the context that requests, orders and their runs hand on (W3C Trace Context), and the spans of orders.

Only the server and the worker send spans, by what `server.traces` makes. A child process leaves its own in its folder,
and Airflow says when its tasks ran, so neither needs a collector, and no run waits for one.
"""

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path

from orchestration.job import Job, Order

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_FIRST = "00-"
"""The version of the header that allows nothing after the flags."""
_SAMPLED = 1
_VARIABLE = "TRACEPARENT"
"""The environment variable by which a process continues the trace of the one that started it."""
_FILE = "span.json"


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span by the ids of its trace and its own in hexadecimal digits; only a `sampled` one is sent anywhere."""

    trace: str
    span: str
    sampled: bool = True

    @classmethod
    def read(cls, text: str | None) -> "TraceContext | None":
        """Return the context of a `traceparent`, None if it has another form."""
        found = _TRACEPARENT.fullmatch(text or "")
        if found is None or (found[0].startswith(_FIRST) and found[4]):
            return None
        return cls(found[1], found[2], sampled=bool(int(found[3], 16) & _SAMPLED))

    @classmethod
    def new(cls, *, sampled: bool) -> "TraceContext":
        """Return the context of the first span of a new trace."""
        return cls(secrets.token_hex(16), secrets.token_hex(8), sampled=sampled)

    def child(self, name: str = "") -> "TraceContext":
        """Return the context of another span of the trace; the same `name` has the same id in every process."""
        span = hashlib.sha256(f"{self.trace}/{name}".encode()).hexdigest()[:16] if name else secrets.token_hex(8)
        return replace(self, span=span)

    @property
    def text(self) -> str:
        """The context as `traceparent`."""
        return f"{_FIRST}{self.trace}-{self.span}-{int(self.sampled):02x}"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of work from `begin` to `end`, in nanoseconds since 1970; `parent` is the id of the span around it."""

    name: str
    context: TraceContext
    parent: str | None
    begin: int
    end: int
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    failed: bool = False
    is_request: bool = False


Record = Callable[[Span], None]
"""Takes a finished span, at once and without an error."""

current_trace: ContextVar[TraceContext | None] = ContextVar("current_trace", default=None)
"""The span of the current request; None without traces."""


def context_of_order(order: Order, job_id: str) -> TraceContext | None:
    """Return the context of the order's span, a child of its request's; None without a trace."""
    context = TraceContext.read(order.trace) if order.trace else None
    return context and context.child(job_id)


def context_of_run(job: Job) -> TraceContext | None:
    """Return the context of the span of the order's current attempt, a child of the order's."""
    context = context_of_order(job.order, job.id)
    return context and context.child(f"{job.id}.{job.attempt}")


def context_of_task(run: TraceContext, task: str, number: int, try_: int) -> TraceContext:
    """Return the context of the span of a try of a task of Airflow, a child of the run's; `number` is its map index."""
    return run.child(f"{run.span}/{task}/{number}/{try_}")


def handed_on(job: Job) -> dict[str, str]:
    """Return the member by which a run continues the trace of its order; empty without one."""
    context = context_of_run(job)
    return {"traceparent": context.text} if context else {}


@dataclass(frozen=True, slots=True)
class OrderTraces:
    """Records the spans of orders: of an attempt with its child processes, of the whole order once it is finished."""

    record: Record
    results: Path

    def attempt_over(self, job: Job, outcome: str) -> None:
        """Record the attempt, whose folder still exists; `outcome` is a status, or `lost`."""
        run, order = context_of_run(job), context_of_order(job.order, job.id)
        if run is None or order is None or job.started is None:
            return
        attributes = _attributes(job, outcome)
        begin, failed = nanoseconds(job.started), outcome in ("failed", "lost")
        self.record(Span("attempt", run, order.span, begin, time.time_ns(), attributes, failed=failed))
        for span in _left_in(self.results / job.id / str(job.attempt)):
            self.record(span)

    def finished(self, job: Job, status: str) -> None:
        """Record a finished order."""
        parent, order = TraceContext.read(job.order.trace), context_of_order(job.order, job.id)
        if parent is None or order is None:
            return
        end = time.time_ns() if job.finished is None else nanoseconds(job.finished)
        attributes, name = _attributes(job, status), f"order {job.order.process}"
        self.record(
            Span(name, order, parent.span, nanoseconds(job.created), end, attributes, failed=status == "failed")
        )


def _attributes(job: Job, status: str) -> dict[str, str | int]:
    """Return what a span says of an order: nothing that its caller has chosen but the process."""
    names: dict[str, str | int] = {
        "process": job.order.process,
        "job": job.id,
        "attempt": job.attempt,
        "status": status,
    }
    return {f"landcast.{name}": value for name, value in names.items()}


def nanoseconds(at: datetime) -> int:
    """Return a time as spans have it."""
    return round(at.timestamp() * 1_000_000) * 1000


@contextmanager
def traced_child(parent: TraceContext | None, folder: Path, process: str) -> Iterator[None]:
    """Continue the trace in this process, which leaves a span in the folder of its try; without a parent do nothing.

    What it starts continues the trace by the environment.
    """
    if parent is None:
        yield
        return
    context, begin, failed = parent.child(), time.time_ns(), True
    os.environ[_VARIABLE] = context.text
    try:
        yield
        failed = False
    finally:
        attributes: dict[str, str | int] = {"landcast.process": process, "process.pid": os.getpid()}
        span = Span("child process", context, parent.span, begin, time.time_ns(), attributes, failed=failed)
        with suppress(OSError):
            (folder / _FILE).write_text(json.dumps(asdict(span)))


def _left_in(attempt: Path) -> Iterator[Span]:
    """Yield the spans that the child processes of an attempt have left in their folders."""
    for path in sorted(attempt.glob(f"*/{_FILE}")):
        with suppress(OSError, ValueError, TypeError, KeyError):
            members = json.loads(path.read_text())
            yield Span(**{**members, "context": TraceContext(**members["context"])})
