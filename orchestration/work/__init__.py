"""The work of a process: plan an order, make its parts, assemble the pieces."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.job import VISIBLE, Manifest, Order, ResultFile
from orchestration.registry import ProcessRow, Registry
from products.catalogue import Catalogue, Product, read_catalogue
from products.progress import Report

if TYPE_CHECKING:
    from orchestration.net.fetch import Fetched
    from sql.connections import Database

Part = Mapping[str, Any]
Piece = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JobContext:
    """What one try of an order works with.

    `folder` is the try's own, exists and is below `results`; `configuration` is the file that lists the collections;
    `fetch` gets an input by reference; `report` reports the progress of the current step; `orders` is the database of
    the orders, to be read only. `workers` is the number of processes that may make parts at the same time; if it is
    one, that process does all steps. `processes` has the row of the order's process, and of others if they are known.
    `catalogue` reads the products that the configuration lists.
    """

    job_id: str
    order: Order
    results: Path
    folder: Path
    configuration: Path
    fetch: "Callable[[str], Fetched]"
    report: Report
    orders: "Database | None" = None
    workers: int = 1
    processes: Registry = field(default_factory=Registry)
    catalogue: Callable[[Path], Catalogue] = read_catalogue

    @property
    def process(self) -> ProcessRow:
        """The row of the order's process."""
        return self.processes[self.order.process]


@dataclass(frozen=True, slots=True)
class Work:
    """The three steps of a work, functions of their arguments only.

    Parts and pieces are JSON values, so that each step may run in a process, or on a machine, of its own, and more
    than once; the files of a piece are in the context's folder, their paths relative to `results`. There may be no
    part. A process that does all steps does them inside of `lock`, so that no two make the same thing at once.
    Raises ProductError and OrchestrationError with a reason for the caller.
    """

    plan: Callable[[JobContext], Sequence[Part]]
    make: Callable[[Part, JobContext], Piece]
    assemble: Callable[[Sequence[Piece], JobContext], Manifest]
    lock: Callable[[JobContext], AbstractContextManager[object]] = nullcontext


REFUSED = "refused"
"""The member of an estimate's stored inputs with the reason why an order with them would be refused."""


def result_file(path: Path, context: JobContext, *, media_type: str) -> ResultFile:
    """Return a complete file as part of a result, after making it durable."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return ResultFile(path.name, str(path.relative_to(context.results)), media_type, path.stat().st_size, digest)


def product_of(context: JobContext) -> Product:
    """Return the product that the order names by `series` and `year`. Raises UnknownProduct if it no longer exists."""
    inputs = context.order.inputs
    return current_catalogue(context).find(inputs.get("series"), inputs.get("year"))


def seen_of(context: JobContext) -> str | None:
    """Return the outline that the order's caller may see of the raster, for `Area.within`; None for all of it."""
    outline: str | None = context.order.inputs.get(VISIBLE)
    return outline


def current_catalogue(context: JobContext) -> Catalogue:
    """Return the currently configured products."""
    return context.catalogue(context.configuration)
