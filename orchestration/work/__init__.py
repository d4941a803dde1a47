"""What is done for an order: plan it, make its parts, assemble the pieces."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.job import Manifest, Order, ResultFile
from orchestration.registry import ProcessRow, Registry
from products.catalogue import Catalogue, Product, read_catalogue
from products.progress import Report

if TYPE_CHECKING:
    from orchestration.net.fetch import Fetched
    from sql.connections import Place

Part = Mapping[str, Any]
Piece = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JobContext:
    """Where one try of an order works, and what with.

    `folder` is its own, there and below `results`; `configuration` the file of the collections; `fetch` gets an input
    by reference; `report` tells how far the step at hand is; `orders` is the orders' database, to be read only.
    `workers` is how many processes may make parts at the same time; where it is one, that one does all steps.
    `processes` has the row of the order's process, of others where that is known. `catalogue` reads the products that
    the configuration lists.
    """

    job_id: str
    order: Order
    results: Path
    folder: Path
    configuration: Path
    fetch: "Callable[[str], Fetched]"
    report: Report
    orders: "Place | None" = None
    workers: int = 1
    processes: Registry = field(default_factory=Registry)
    catalogue: Callable[[Path], Catalogue] = read_catalogue

    @property
    def process(self) -> ProcessRow:
        """The row of the order's process."""
        return self.processes[self.order.process]


@dataclass(frozen=True, slots=True)
class Work:
    """What a process does, in functions of their arguments only.

    Parts and pieces are JSON values, so that each step may run in a process, or on a machine, of its own, and more
    than once; a piece's files lie in the context's folder, their paths are told relative to `results`. There may be no
    part. Who does all steps in one process does them inside of `turn`, so that two never make the same at once.
    Raises ProductError and OrchestrationError with a reason for the caller.
    """

    plan: Callable[[JobContext], Sequence[Part]]
    make: Callable[[Part, JobContext], Piece]
    assemble: Callable[[Sequence[Piece], JobContext], Manifest]
    turn: Callable[[JobContext], AbstractContextManager[object]] = nullcontext


REFUSED = "refused"
"""The member of an estimate's stored inputs that says why an order with them would be refused."""


def result_file(path: Path, context: JobContext, *, media_type: str) -> ResultFile:
    """Return a file that is complete as part of a result; it is durable from then on."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return ResultFile(path.name, str(path.relative_to(context.results)), media_type, path.stat().st_size, digest)


def product_of(context: JobContext) -> Product:
    """Return the product that the order names by `series` and `year`. Raises UnknownProduct where it is no more."""
    inputs = context.order.inputs
    return catalogue_of_bench(context).find(inputs.get("series"), inputs.get("year"))


def catalogue_of_bench(context: JobContext) -> Catalogue:
    """Return the products that are configured now."""
    return context.catalogue(context.configuration)
