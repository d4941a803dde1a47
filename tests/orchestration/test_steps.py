"""The steps of an order as tasks of Airflow execute them: each in a separate process, without Airflow."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from orchestration.child import ATTEMPT_OVER, CALLERS_FAULT
from orchestration.ending import read_ending
from orchestration.full import NO_SPACE
from orchestration.handover import ORDER_FILE, hand_order
from orchestration.job import Job, Order, Output
from orchestration.runners import Done, Failed
from orchestration.store.jobs import StoredJobs
from orchestration.trace import TraceContext, context_of_task
from orchestration.work.trying import Reporter
from sql.pool import PostgresPool
from tests.postgres import Postgres
from tests.registry import OURS

ROOT = Path(__file__).parents[2]
_STEP = (sys.executable, str(Path(__file__).parent / "works.py"), "step")
Started = subprocess.Popen[str]


@dataclass
class Steps:
    """A running order and the arguments of its tasks."""

    store: StoredJobs
    job: Job
    conf: Mapping[str, Any]
    environment: dict[str, str]

    @property
    def attempt(self) -> Path:
        return Path(self.environment["LANDCAST_STATE_DIR"]) / "results" / self.job.id / "1"

    def start(self, step: str, *rest: Any, try_: int = 1, conf: Mapping[str, Any] | None = None) -> Started:
        given = [json.dumps(each) for each in (conf or self.conf, *rest)]
        command = [*_STEP, step, *given, str(try_)]
        return subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, step: str, *rest: Any, **more: Any) -> Any:
        """Run a step that succeeds; return its result."""
        return _answer(self.start(step, *rest, **more))

    def endings(self) -> dict[str, Done | Failed]:
        found = {folder.name: read_ending(folder) for folder in self.attempt.glob("*/")}
        return {name: ending for name, ending in found.items() if ending}


MakeSteps = Callable[..., Steps]


def _answer(process: Started) -> Any:
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return json.loads(out)


@pytest.fixture
def make_steps(postgres: Postgres, tmp_path: Path) -> Iterator[MakeSteps]:
    url, name = postgres.migrated(), f"test_steps_{os.getpid()}"
    postgres.run(postgres.url, f"create role {name} login password 'x' in role landcast_worker")
    parts = urlsplit(url)
    pool = PostgresPool(url)

    def make(process: str, inputs: Mapping[str, Any] | None = None, outputs: Mapping[str, Any] | None = None) -> Steps:
        store = StoredJobs(pool)
        job = store.begin(store.add(Order(process, inputs or {}, "ann", outputs=outputs))[0].id)
        assert job is not None
        members = {"job": job.id, "attempt": 1, "process": process}
        hand_order(tmp_path / "results" / job.id / "1", job.order, OURS[process])
        worker = urlunsplit(parts._replace(netloc=f"{name}:x@{parts.hostname}:{parts.port}"))
        settings = {
            "LANDCAST_DATABASE_URL": worker,
            "LANDCAST_STATE_DIR": str(tmp_path),
            "LANDCAST_AIRFLOW_CONFIG": str(ROOT / "pygeoapi-config.yml"),
        }
        return Steps(store, job, members, os.environ | settings)

    yield make
    pool.close()
    postgres.give_back(url)
    postgres.run(postgres.url, f"drop role {name}")


def _until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_order_is_performed_by_one_step(make_steps: MakeSteps) -> None:
    inputs = {"stringInput": "{{ 1 }} é", "numberInput": 1}
    steps = make_steps("echo", inputs, {"stringOutput": {}})
    assert steps.run("perform") is None
    assert steps.endings() == {"1": Done((Output("stringOutput", "{{ 1 }} é"),))}


def test_light_steps_start_quickly(make_steps: MakeSteps) -> None:
    steps = make_steps("echo", {"stringInput": "a"})
    program = (
        "import sys, json; from orchestration.work.steps import perform; "
        "perform(json.loads(sys.argv[1]), 1); print('\\n'.join(sys.modules))"
    )
    command = [sys.executable, "-c", program, json.dumps(steps.conf)]
    loaded = subprocess.run(command, env=steps.environment, cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"pygeoapi", "rasterio", "numpy", "shapely", "pyproj", "pydantic", "starlette", "httpx2", "jsonschema"}
    assert not heavy & set(loaded.stdout.split())


def test_parts_are_made_in_parallel_and_assembled_in_order(make_steps: MakeSteps) -> None:
    steps = make_steps("five", outputs={"numbers": {}})
    planned = steps.run("plan")
    assert [(each["index"], each["count"], each["part"]["number"]) for each in planned] == [(n, 5, n) for n in range(5)]
    percents: list[int] = []
    makers = [steps.start("make", each) for each in planned]
    while any(maker.poll() is None for maker in makers):
        job = steps.store.get(steps.job.id)
        assert job is not None
        percents.append(job.progress)
        time.sleep(0.02)
    pieces = [_answer(maker) for maker in makers]
    assert len({piece["path"] for piece in pieces}) == 5, "no two work in one folder"
    assert percents == sorted(percents)
    assert steps.endings() == {}
    assert steps.run("assemble", pieces, try_=2) is None
    assert steps.endings() == {"2-assemble": Done((Output("numbers", [0, 1, 2, 3, 4]),))}
    job = steps.store.get(steps.job.id)
    assert job is not None
    assert job.progress == 90


def test_progress_counts_the_finished_parts(make_steps: MakeSteps) -> None:
    steps = make_steps("five")
    planned = steps.run("plan")
    for index, percent in ((3, 26), (0, 42)):
        steps.run("make", planned[index])
        job = steps.store.get(steps.job.id)
        assert job is not None
        assert (job.progress, job.message) == (percent, f"Made part {index + 1} of 5")


@pytest.mark.parametrize(
    ("process", "code", "ending"),
    [
        ("refuse", CALLERS_FAULT, Failed("the moon is not covered", fault="WorkFailed")),
        ("missing", 1, Failed("the raster is not there", fault="BrokenSource")),
        ("full", NO_SPACE, None),
    ],
)
def test_the_exit_code_of_a_step_shows_who_must_repair_a_failure(
    make_steps: MakeSteps, process: str, code: int, ending: Failed | None
) -> None:
    steps = make_steps(process)
    step = steps.start("perform")
    _, errors = step.communicate(timeout=60)
    assert step.returncode == code, errors
    assert steps.endings() == ({"1": ending} if ending else {})
    assert (steps.attempt / "1").exists() is bool(ending)
    assert (ending.reason if ending else "no space left") in errors


def test_an_unexpected_error_is_only_in_the_log(make_steps: MakeSteps) -> None:
    steps = make_steps("break")
    [planned] = steps.run("plan")
    step = steps.start("make", planned)
    _, errors = step.communicate(timeout=60)
    assert step.returncode == 1
    assert "ZeroDivisionError: secret detail" in errors
    failed = steps.endings()["1-0"]
    assert isinstance(failed, Failed)
    assert "unexpected" in failed.reason
    assert "secret detail" in failed.detail
    assert failed.fault == ""


@pytest.mark.parametrize("late", [{"attempt": 2}, {"job": "b0b2f3a0-0000-4000-8000-000000000000"}])
def test_a_step_of_another_attempt_does_nothing(make_steps: MakeSteps, late: Mapping[str, Any], tmp_path: Path) -> None:
    steps = make_steps("echo")
    step = steps.start("perform", conf={**steps.conf, **late})
    assert "not the running one" in step.communicate(timeout=60)[1]
    assert step.returncode == ATTEMPT_OVER
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [steps.attempt / ORDER_FILE]


def test_a_step_gets_no_path_from_the_run(make_steps: MakeSteps, tmp_path: Path) -> None:
    """Attack: a user with the right to start a run by hand names a path as the job."""
    steps = make_steps("echo")
    step = steps.start("perform", conf={**steps.conf, "job": "../../outside"})
    step.communicate(timeout=60)
    assert step.returncode == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [steps.attempt / ORDER_FILE]


@pytest.mark.parametrize("process", ["files", "rest"])
def test_a_step_stops_once_its_order_is_dismissed(make_steps: MakeSteps, process: str) -> None:
    """Also a step that does not report for a long time, such as one that reads a slow disk."""
    steps = make_steps(process, {"steps": 3000})
    step = steps.start("perform")
    folder = steps.attempt / "1"
    _until(folder.exists)
    time.sleep(0.5)
    steps.store.dismiss(steps.job.id)
    step.communicate(timeout=60)
    assert step.returncode == ATTEMPT_OVER
    assert not folder.exists()


def test_an_unavailable_database_stops_no_step(make_steps: MakeSteps) -> None:
    steps = make_steps("echo", {"stringInput": "a", "pause": 1})
    steps.environment["LANDCAST_DATABASE_URL"] = "postgresql://nobody:x@127.0.0.1:1/none"
    steps.run("perform")
    assert steps.endings() == {"1": Done((Output("stringOutput", "a"),))}


def test_files_of_a_killed_try_do_not_disturb_the_next(make_steps: MakeSteps) -> None:
    """Airflow runs a task again after a crash, sometimes with the same number, while the first may still run."""
    steps = make_steps("files", {"steps": 60})
    killed, still = steps.start("perform"), steps.start("perform", try_=2)
    _until(lambda: {path.parent.name for path in steps.attempt.glob("*/*.bin")} == {"1", "2"})
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    steps.run("perform")
    steps.run("perform", try_=2)
    still.communicate(timeout=60)
    assert still.returncode == 0
    endings = steps.endings()
    assert endings.keys() == {"1.2", "2", "2.2"}
    for ending in endings.values():
        assert isinstance(ending, Done)
        assert ending.manifest[0].file is not None
        assert ending.manifest[0].file.size == 600_000


def test_a_step_ends_with_its_task(make_steps: MakeSteps) -> None:
    """Airflow kills a task that it stops, but not the program that the task started with our Python."""
    steps = make_steps("files", {"steps": 3000})
    program = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    step = [*_STEP, "perform", json.dumps(steps.conf), "1"]
    parent = subprocess.Popen([sys.executable, "-c", program, *step], cwd=ROOT, env=steps.environment)
    _until(lambda: list(steps.attempt.glob("1/*.bin")))
    parent.kill()
    parent.wait()
    [file] = steps.attempt.glob("1/*.bin")
    time.sleep(0.2)
    size = file.stat().st_size
    time.sleep(0.3)
    assert file.stat().st_size == size


def test_a_worker_s_report_is_answered(make_steps: MakeSteps) -> None:
    steps = make_steps("echo")
    job = steps.job.id
    with closing(Reporter(steps.environment["LANDCAST_DATABASE_URL"])) as tell:
        assert tell(job, 1, 40, "reading")
        assert tell(job, 1, 30, "cutting"), "an other part reports less"
        assert tell.runs(job, 1)
        now = steps.store.get(job)
        assert now is not None
        assert (now.progress, now.message) == (40, "cutting")
        assert not tell(job, 2, 50, "another attempt")
        assert not tell("none", 1, 50, "")
        assert tell(job, 1, 40, "cutting")
        again = steps.store.get(job)
        assert again is not None
        assert again.updated == now.updated, "what is no news writes nothing"
        steps.store.dismiss(job)
        assert not tell.runs(job, 1)


def test_a_step_of_a_traced_order_leaves_a_span_below_its_task(make_steps: MakeSteps) -> None:
    steps = make_steps("echo", {"stringInput": "x"})
    run = TraceContext("ab" * 16, "cd" * 8)
    steps.run("perform", conf={**steps.conf, "traceparent": run.text}, try_=2)
    left = json.loads((steps.attempt / "2" / "span.json").read_text())
    assert left["parent"] == context_of_task(run, "perform", -1, 2).span
    assert (left["context"]["trace"], left["failed"]) == (run.trace, False)
