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
from orchestration.store.jobs import StoredJobs
from orchestration.store.place import place_of_environment
from orchestration.work import JobContext, Work
from orchestration.work.attempt import Progress, attempt
from products.catalogue import InvalidConfiguration, read_catalogue
from products.whole import cached_by_file

_OTHERS = {f"orchestration.work.{name}" for name in ("__main__", "steps", "trying")}
"""What is of no use here."""
_LATER = ("numpy.ma", "products.raster.extract", "products.vector.extract")
"""What is loaded by our works only while they work."""
_SILENT = 0.2
"""Seconds for which a try says nothing of its progress: one that is done by then never writes to the database."""

_catalogue_at = cached_by_file(most=1, beside=())(read_catalogue)
"""What the configuration lists, which children have from the server as long as it stays the same."""


def main(arguments: Sequence[str], works: Mapping[str, Work] | None = None) -> None:
    """Serve the worker that the command line names: a child does each order, and ends by a code.

    How the try ended is in its folder, or the code says that the disk is full. `works` are known by the name of their
    process, before those that the registry names.
    """
    options = _parse(arguments)
    die_with(options.parent)
    control = socket.socket(fileno=options.control)
    control.set_inheritable(False)
    load()
    with suppress(InvalidConfiguration):
        _catalogue_at(options.config)
    Forking(control, partial(_do, options, works or {})).serve()


def load() -> None:
    """Import what our own works need, in one thread, and leave nothing open.

    pyproj opens PROJ's database for the thread that loads it, and PROJ keeps it open until it is told to clean up.
    """
    pyproj = Thread(target=import_module, args=("pyproj",))
    pyproj.start()
    pyproj.join()
    for found in pkgutil.iter_modules(orchestration.work.__path__, "orchestration.work."):
        if found.name not in _OTHERS:
            import_module(found.name)
    for name in _LATER:
        import_module(name)
    ctypes.CDLL(import_module("pyproj._context").__file__).proj_cleanup()


def _do(options: Namespace, works: Mapping[str, Work], order: int) -> int:
    """Do the try of the order in the file; return the code to end with."""
    with open(order, "rb", closefd=False) as file:
        told = json.load(file)
    go_first()
    folder = Path(told["folder"])
    work_in(folder)
    place = place_of_environment(options.state_dir)
    report = Progress(StoredJobs(place, busy_seconds=1, lazy=True).report, told["job"], told["attempt"], silent=_SILENT)
    context = JobContext(
        job_id=told["job"],
        order=decode_order(told),
        results=options.state_dir / "results",
        folder=folder,
        configuration=options.config,
        fetch=Fetcher(allowed=any_address if options.fetch_private else is_public),
        report=report,
        orders=place,
        processes=Registry(options.process),
        catalogue=_catalogue_at,
    )
    try:
        with suppress(AttemptOver):
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
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--control", type=int, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
