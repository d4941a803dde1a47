"""The steps of an order on Airflow, each in a process of our own Python: JSON values in, JSON values out.

`conf` is that of the DAG run, `{"job", "attempt", "process"}`; `try_` numbers the tries of the step. A step ends its
process with an exit code of `orchestration.child` if its order fails or is no longer wanted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestration import environment
from orchestration.ending import write_ending
from orchestration.runners import Done
from orchestration.work import JobContext, Piece, Work
from orchestration.work.attempt import MADE, READ, assembled, begin, performed
from orchestration.work.trying import TaskOfTry, trying
from products.progress import Report, between

Conf = Mapping[str, Any]
Works = Mapping[str, Work]
"""Works by the id of their process, which precede those of the registry."""

_MADE = "made"
"""The folder of an attempt with an empty file for each finished part."""


def perform(conf: Conf, try_: int, *, works: Works | None = None) -> None:
    """Do all of the work and write its ending."""
    with trying(conf, str(try_), TaskOfTry("perform", try_)) as context:
        begin(context.report)
        write_ending(context.folder, Done(performed(_work_of(context, works), context)))


def plan(conf: Conf, try_: int, *, works: Works | None = None) -> list[dict[str, Any]]:
    """Return the parts, `{"part", "index", "count"}`, as `make` takes them."""
    with trying(conf, f"{try_}-plan", TaskOfTry("plan", try_), workers=environment.workers()) as context:
        begin(context.report)
        parts = _work_of(context, works).plan(context)
        return [{"part": part, "index": index, "count": len(parts)} for index, part in enumerate(parts)]


def make(conf: Conf, planned: Mapping[str, Any], try_: int, *, works: Works | None = None) -> Piece:
    """Make one of the parts that `plan` returned; return its piece."""
    index, part = planned["index"], planned["part"]
    with trying(conf, f"{try_}-{index}", TaskOfTry("make", try_, index), workers=environment.workers()) as context:
        made = context.folder.parent / _MADE
        made.mkdir(exist_ok=True)
        share = _share(context.report, made, planned["count"])
        piece = _work_of(context, works).make(part, replace(context, report=share))
        (made / str(index)).touch()
        share(0, f"Made part {index + 1} of {planned['count']}")
        return piece


def assemble(conf: Conf, pieces: Sequence[Piece], try_: int, *, works: Works | None = None) -> None:
    """Assemble the pieces, which are in the order of their parts, and write the ending."""
    with trying(conf, f"{try_}-assemble", TaskOfTry("assemble", try_), workers=environment.workers()) as context:
        write_ending(context.folder, Done(assembled(_work_of(context, works), pieces, context)))


def _work_of(context: JobContext, works: Works | None) -> Work:
    return (works or {}).get(context.order.process) or context.process.find_work()


def _share(report: Report, made: Path, count: int) -> Report:
    """Return the progress report of one part of an order, while others are made at the same time."""
    making = between(report, READ, MADE)

    def tell(fraction: float, message: str) -> None:
        making(min(1, (sum(1 for _ in made.iterdir()) + fraction) / count), message)

    return tell
