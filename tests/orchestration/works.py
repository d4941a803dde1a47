"""A child of the runner that knows works which misbehave, beside the real ones."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from orchestration.errors import WorkFailed
from orchestration.job import Manifest, Output
from orchestration.work import Bench, Part, Piece, Work, result_file, work_of
from orchestration.work.__main__ import main

_DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def _files(part: Part, bench: Bench) -> Piece:
    """Write random bytes for a while, in small steps, so that it can be killed half-way."""
    path = bench.folder / f"{bench.job_id}.bin"
    with path.open("wb") as file:
        for step in range(part["steps"]):
            file.write(random.randbytes(part.get("size", 10_000)))  # noqa: S311  any bytes do
            file.flush()
            bench.report(step / part["steps"], "writing")
            time.sleep(0.02)
    return {"path": str(path)}


def _file_of(pieces: Sequence[Piece], bench: Bench) -> Manifest:
    path = bench.folder / os.path.basename(pieces[0]["path"])  # noqa: PTH119
    return (Output("result", None, "application/zip", result_file(path, bench, media_type="application/zip")),)


def _crash(_part: Part, _bench: Bench) -> Piece:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def _family(_part: Part, bench: Bench) -> Piece:
    """Have a grandchild that ignores SIGTERM, and be as deaf."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with subprocess.Popen([sys.executable, "-c", _DEAF], stdout=subprocess.PIPE) as grandchild:
        assert grandchild.stdout is not None
        grandchild.stdout.readline()
        (bench.folder / "family").write_text(f"{os.getpid()} {grandchild.pid}")
        grandchild.wait()
    return {}


def _refuse(_part: Part, _bench: Bench) -> Piece:
    raise WorkFailed("the moon is not covered")


def _break(_part: Part, _bench: Bench) -> Piece:
    raise ZeroDivisionError("secret detail")


def _plan(bench: Bench) -> Sequence[Part]:
    return [dict(bench.order.inputs)]


def _nothing(_pieces: Sequence[Piece], _bench: Bench) -> Manifest:
    return ()


_WORKS = {
    "files": Work(_plan, _files, _file_of),
    "crash": Work(_plan, _crash, _nothing),
    "family": Work(_plan, _family, _nothing),
    "refuse": Work(_plan, _refuse, _nothing),
    "break": Work(_plan, _break, _nothing),
}


def _work_of(process: str) -> Work:
    return _WORKS.get(process) or work_of(process)


if __name__ == "__main__":
    chosen: Callable[[str], Work] = _work_of
    main(sys.argv[1:], chosen)
