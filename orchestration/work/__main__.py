"""The fork server of the embedded runner: `python -m orchestration.work`; each child does one try of an order."""

import ctypes
import json
import pkgutil
import socket
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread

import orchestration.work
from orchestration.child import die_with, go_first, work_in
from orchestration.errors import AttemptOver, OrchestrationError
from orchestration.forking import Forking
from orchestration.full import NO_SPACE, is_full
from orchestration.handover import decode_order
from orchestration.net.addresses import any_address, is_public
from orchestration.net.fetch import Fetcher
from orchestration.registry import Registry, decode_row
from orchestration.store.database import database_of_environment
from orchestration.store.jobs import StoredJobs
from orchestration.trace import TraceContext, traced_child
from orchestration.work import JobContext, Work
from orchestration.work.attempt import Progress, attempt
from products.catalogue import InvalidConfiguration, read_catalogue
from products.whole import cached_by_file

_OTHERS = {f"orchestration.work.{name}" for name in ("__main__", "steps", "trying")}
"""Modules that children of the fork server do not need."""
_LATER = ("numpy.ma", "products.raster.extract", "products.vector.extract")
"""Modules that our works import only while they run."""
_SILENT = 0.2
"""Seconds without reports at the beginning of a try: one that is done by then never writes to the database."""

_catalogue_at = cached_by_file(most=1, beside=())(read_catalogue)
"""The products of the configuration, which children inherit from the server until the file changes."""


def main(arguments: Sequence[str], works: Mapping[str, Work] | None = None) -> None:
    """Serve the worker that the command line names: fork a child for each order.

    The ending of a try is in its folder, or the exit code says that the disk is full. `works`, by the id of their
    process, precede those of the registry.
    """
    options = _parse(arguments)
    die_with(options.parent)
    control = socket.socket(fileno=options.control)
    control.set_inheritable(False)
    load(options.warm)
    with suppress(InvalidConfiguration):
        _catalogue_at(options.config)
    Forking(control, partial(_do, options, works or {})).serve()


def load(warm: str = "") -> None:
    """Import the `warm` module, or else all that our own works need; one thread and no open file remain.

    pyproj opens PROJ's database in the thread that imports it, and PROJ keeps it open until it is cleaned up.
    """
    first = Thread(target=import_module, args=(warm or "pyproj",))
    first.start()
    first.join()
    if not warm:
        for found in pkgutil.iter_modules(orchestration.work.__path__, "orchestration.work."):
            if found.name not in _OTHERS:
                import_module(found.name)
        for name in _LATER:
            import_module(name)
    if (projections := sys.modules.get("pyproj._context")) is not None:
        ctypes.CDLL(projections.__file__).proj_cleanup()


def _do(options: Namespace, works: Mapping[str, Work], order: int) -> int:
    """Do one try of the order in the file; return the exit code."""
    with open(order, "rb", closefd=False) as file:
        document = json.load(file)
    go_first()
    folder = Path(document["folder"])
    work_in(folder)
    database = database_of_environment(options.state_dir)
    report = Progress(
        StoredJobs(database, busy_seconds=1, lazy=True).report, document["job"], document["attempt"], silent=_SILENT
    )
    context = JobContext(
        job_id=document["job"],
        order=decode_order(document),
        results=options.state_dir / "results",
        folder=folder,
        configuration=options.config,
        fetch=Fetcher(allowed=any_address if options.fetch_private else is_public),
        report=report,
        orders=database,
        processes=Registry(options.process),
        catalogue=_catalogue_at,
    )
    parent = TraceContext.read(document.get("traceparent"))
    try:
        with suppress(AttemptOver), traced_child(parent, folder, context.order.process):
            attempt(lambda: works.get(context.order.process) or context.process.find_work(), context)
    except OrchestrationError as error:
        if not is_full(error):
            raise
        return NO_SPACE
    return 0


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m orchestration.work", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--fetch-private", action="store_true")
    parser.add_argument("--process", type=decode_row, action="append", default=[])
    parser.add_argument("--warm", default="")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--control", type=int, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
