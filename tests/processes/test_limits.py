"""A plugin that exceeds its time or memory fails once, with this reason."""

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.files.results import ResultFiles
from orchestration.job import Job, Order, Status
from orchestration.pools import pools_on_this_machine
from orchestration.reconcile import Reconciler
from orchestration.registry import ProcessRow, Registry, arguments_of
from orchestration.runners.embedded import EmbeddedRunner
from orchestration.store.jobs import StoredJobs

Execute = Callable[..., Job]
_LATE = "The work took more than 1 s, which is all that it is given."
_HUNGRY = "The work needed more memory than the server gives an order; try a smaller area."


@pytest.fixture
def execute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Execute:
    """Return a function that executes an order of the plugin `odd` to its end, by a reconciler and real children."""
    shutil.copy(Path(__file__).parent / "plugins_of_others.py", tmp_path / "others.py")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    config = tmp_path / "config.yml"
    entry = {"type": "process", "processor": {"name": "others.Odd"}}
    config.write_text(yaml.safe_dump({"resources": {"odd": entry}}))
    database, results = tmp_path / "orders.sqlite", tmp_path / "results"

    def execute(inputs: dict[str, Any], **limits: Any) -> Job:
        row = ProcessRow("odd", "processes.foreign", "processes.foreign", **limits)
        arguments = ["--state-dir", str(tmp_path), "--config", str(config), *arguments_of([row])]
        runner = EmbeddedRunner(results, arguments, processes=Registry([row]))
        with closing(StoredJobs(database)) as store, closing(StoredJobs(database)) as own, closing(runner):
            job = store.add(Order("odd", inputs, "ann"))[0]
            pools = pools_on_this_machine(runner, 1, frozenset())
            reconciler = Reconciler(own, pools, ResultFiles(results), jobs_days=1, rest=runner.wait)
            end = time.monotonic() + 120
            reconciler.run(
                lambda: time.monotonic() > end or not store.unfinished(),
                beat=lambda: None,
            )
            found = store.get(job.id)
        assert found is not None
        return found

    return execute


@pytest.mark.parametrize("what", ["slow", "holding"])
def test_a_plugin_that_takes_too_long_fails_once_with_this_reason(execute: Execute, what: str) -> None:
    """A plugin that blocks the interpreter and one that waits are ended; neither handles signals."""
    job = execute({"what": what}, seconds=1)
    assert (job.status, job.message, job.fault) == (Status.FAILED, _LATE, "WorkFailed")
    assert (job.attempt, job.failures) == (1, 0)


def test_the_place_where_a_plugin_hangs_is_in_the_log(execute: Execute, caplog: pytest.LogCaptureFixture) -> None:
    execute({"what": "holding"}, seconds=1)
    assert "in _holding" in caplog.text
    assert "others.py" in caplog.text


def test_a_plugin_that_ends_in_time_leaves_no_timer(execute: Execute, tmp_path: Path) -> None:
    job = execute({"what": "both"}, seconds=600)
    assert job.status is Status.SUCCESSFUL
    assert not list(tmp_path.rglob("late*"))


def test_the_memory_of_a_plugin_is_limited(execute: Execute) -> None:
    inputs = {"what": "sized", "bytes": 400 * 1024**2}
    assert execute(inputs, memory=1024**3).status is Status.SUCCESSFUL
    job = execute(inputs, memory=300 * 1024**2)
    assert (job.status, job.message) == (Status.FAILED, _HUNGRY)
    assert (job.attempt, job.failures) == (1, 0)
