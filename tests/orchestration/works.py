"""A child of the runner, or a step of a task, with the real works and works that misbehave."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from orchestration.errors import NoSpaceLeft, WorkFailed
from orchestration.job import Manifest, Output
from orchestration.work import JobContext, Part, Piece, Work, result_file, steps
from orchestration.work.__main__ import main
from products.errors import BrokenSource

_DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def _files(part: Part, context: JobContext) -> Piece:
    """Write random bytes in small steps, so that it can be killed in between."""
    path = context.folder / f"{context.job_id}.bin"
    with path.open("wb") as file:
        for step in range(part["steps"]):
            file.write(random.randbytes(part.get("size", 10_000)))  # noqa: S311  any bytes do
            file.flush()
            context.report(step / part["steps"], "writing")
            time.sleep(0.02)
    return {"path": str(path)}


def _file_of(pieces: Sequence[Piece], context: JobContext) -> Manifest:
    path = context.folder / os.path.basename(pieces[0]["path"])  # noqa: PTH119
    return (Output("result", None, "application/zip", result_file(path, context, media_type="application/zip")),)


def _crash(_part: Part, _context: JobContext) -> Piece:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def _family(_part: Part, context: JobContext) -> Piece:
    """Start a grandchild that ignores SIGTERM, and ignore it too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with subprocess.Popen([sys.executable, "-c", _DEAF], stdout=subprocess.PIPE) as grandchild:
        assert grandchild.stdout is not None
        grandchild.stdout.readline()
        (context.folder / "family").write_text(f"{os.getpid()} {grandchild.pid}")
        grandchild.wait()
    return {}


def _environment(part: Part, _context: JobContext) -> Piece:
    """Return the environment and the folder of temporary files; wait so that another child could change them."""
    os.environ[part["name"]] = "set"
    time.sleep(0.5)
    with closing(sqlite3.connect("")) as connection:
        connection.execute("pragma cache_size = 1")
        connection.execute("create table large (content)")
        connection.executemany("insert into large values (randomblob(?))", [(100_000,)] * 20)
        opened = [str(each.readlink()) for each in sorted(Path("/proc/self/fd").iterdir()) if each.is_symlink()]
        (sqlite,) = connection.execute("pragma temp_store_directory").fetchone()
    spilled = [name for name in opened if name.startswith(f"{sqlite}/etilqs")]
    found = {"environment": dict(os.environ), "python": tempfile.gettempdir(), "sqlite": sqlite, "spilled": spilled}
    return {"found": found}


def _found(pieces: Sequence[Piece], _context: JobContext) -> Manifest:
    return (Output("found", pieces[0]["found"]),)


def _orphans(_part: Part, _context: JobContext) -> Piece:
    """Leave behind a grandchild that ignores SIGTERM, and its child."""
    program = f"import os; os.fork(); {_DEAF}"
    grandchild = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert grandchild.stdout is not None
    grandchild.stdout.readline()
    return {}


def _leave(_part: Part, _context: JobContext) -> Piece:
    sys.exit(7)


def _refuse(_part: Part, _context: JobContext) -> Piece:
    raise WorkFailed("the moon is not covered")


def _break(_part: Part, _context: JobContext) -> Piece:
    raise ZeroDivisionError("secret detail")


def _rest(_part: Part, _context: JobContext) -> Piece:
    """Report nothing for a long time."""
    time.sleep(60)
    return {}


def _full(_part: Part, _context: JobContext) -> Piece:
    raise NoSpaceLeft("there is no space left on the server's disk")


def _missing(_part: Part, _context: JobContext) -> Piece:
    raise BrokenSource("the raster is not there")


def _five(context: JobContext) -> Sequence[Part]:
    return [{"number": number, **context.order.inputs} for number in range(5)]


def _number(part: Part, context: JobContext) -> Piece:
    for step in range(4):
        context.report(step / 4, f"making {part['number']}")
        time.sleep(0.2)
    (context.folder / "piece").write_text(str(part["number"]))
    return {"number": part["number"], "path": str(context.folder / "piece")}


def _numbers(pieces: Sequence[Piece], _context: JobContext) -> Manifest:
    return (Output("numbers", [piece["number"] for piece in pieces]), Output("other", len(pieces)))


def _plan(context: JobContext) -> Sequence[Part]:
    return [dict(context.order.inputs)]


def _nothing(_pieces: Sequence[Piece], _context: JobContext) -> Manifest:
    return ()


_WORKS = {
    "files": Work(_plan, _files, _file_of),
    "crash": Work(_plan, _crash, _nothing),
    "family": Work(_plan, _family, _nothing),
    "environment": Work(_plan, _environment, _found),
    "orphans": Work(_plan, _orphans, _nothing),
    "leave": Work(_plan, _leave, _nothing),
    "refuse": Work(_plan, _refuse, _nothing),
    "break": Work(_plan, _break, _nothing),
    "rest": Work(_plan, _rest, _nothing),
    "full": Work(_plan, _full, _nothing),
    "missing": Work(_plan, _missing, _nothing),
    "five": Work(_five, _number, _numbers),
}


def _step(name: str, *arguments: str) -> None:
    """Run a step like a task of Airflow; print its result."""
    *given, try_ = map(json.loads, arguments)
    print(json.dumps(getattr(steps, name)(*given, try_, works=_WORKS)))  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1] == "step":
        _step(*sys.argv[2:])
    else:
        main(sys.argv[1:], _WORKS)
