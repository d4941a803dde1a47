"""Orders on a real Airflow: runs started by its API, with their endings and reports."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestration.ending import read_ending
from orchestration.files.results import ResultFiles
from orchestration.handover import ORDER_FILE, hand_order
from orchestration.job import Job, Order, Output
from orchestration.runners import Done, Failed
from orchestration.store.jobs import StoredJobs
from sql.pool import PostgresPool
from tests.airflow import Airflow
from tests.orchestration.receivers import Postman
from tests.reaper import lives
from tests.registry import OURS

AREA = "POLYGON((23.80 52.68, 23.90 52.68, 23.90 52.75, 23.80 52.75, 23.80 52.68))"


@dataclass
class Run:
    """A running order and its run."""

    airflow: Airflow
    store: StoredJobs
    job: Job
    dag: str

    @property
    def id(self) -> str:
        return f"{self.job.id}.{self.job.attempt}"

    @property
    def folder(self) -> Path:
        return self.airflow.state / "results" / self.job.id / str(self.job.attempt)

    def endings(self) -> list[Done | Failed]:
        return [ending for folder in sorted(self.folder.glob("*/")) if (ending := read_ending(folder))]

    def tasks(self) -> list[tuple[str, int, str, int]]:
        """Return the tasks in Airflow: name, map index, state, tries."""
        found = self.airflow.ask("GET", f"/dags/{self.dag}/dagRuns/{self.id}/taskInstances")["task_instances"]
        return sorted((each["task_id"], each["map_index"], each["state"], each["try_number"]) for each in found)

    def now(self) -> Job:
        job = self.store.get(self.job.id)
        assert job is not None
        return job


Begin = Callable[..., Run]


@pytest.fixture
def begin(airflow: Airflow) -> Iterator[Begin]:
    with closing(PostgresPool(airflow.database_url)) as pool:
        store = StoredJobs(pool)

        def begin(
            process: str, inputs: Mapping[str, Any], *, dag: str | None = None, outputs: Mapping[str, Any] | None = None
        ) -> Run:
            job = store.begin(store.add(Order(process, inputs, "ann", outputs=outputs))[0].id)
            assert job is not None
            run = Run(airflow, store, job, dag or process)
            hand_order(run.folder, job.order, OURS[process])
            airflow.begin(run.dag, run.id, {"job": job.id, "attempt": 1, "process": process})
            return run

        yield begin


def _until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def _process_of(run: Run) -> psutil.Process | None:
    """Return the process of our Python that executes a run."""
    return next((each for each in _children(run.airflow) if _works_in(each, run.folder)), None)


def _children(airflow: Airflow) -> list[psutil.Process]:
    leader = psutil.Process(int((airflow.folder / "scheduler.pid").read_text()))
    return leader.children(recursive=True)


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return any("venv-call" in word for word in process.cmdline()) and any(folder.glob("*/"))
    except psutil.Error:
        return False


@pytest.mark.parametrize(
    ("process", "dag", "inputs"),
    [
        ("echo", "echo", {"stringInput": "{{ 1 + 1 }} é <'\">", "numberInput": 1.5}),
        ("extract-product", "extract-product", {"product": "Raster", "aoi": AREA}),
        ("extract-product", "extract-product-testing", {"product": "Vector", "aoi": AREA, "test": True}),
        pytest.param(
            "national-product",
            "national-product",
            {"product": "Raster", "nation": "Poland"},
            marks=pytest.mark.full,
        ),
    ],
)
def test_an_order_is_executed(begin: Begin, process: str, dag: str, inputs: Mapping[str, Any]) -> None:
    run = begin(process, inputs, dag=dag)
    assert run.airflow.ended(dag, run.id, within=300) == "success", run.tasks()
    [ending] = run.endings()
    assert isinstance(ending, Done)
    if process == "echo":
        outputs = {output.id: output.value for output in ending.manifest}
        assert outputs == {"stringOutput": inputs["stringInput"], "numberOutput": 1.5}
        return
    [output] = ending.manifest
    assert output.file is not None
    assert ResultFiles(run.airflow.state / "results").path_of(output.file).stat().st_size == output.file.size
    assert run.now().progress > 0


def test_an_existing_file_is_returned_without_parts(begin: Begin) -> None:
    first = begin("european-product", {"product": "Raster"})
    made = _result(first)
    again = begin("european-product", {"product": "Raster", "test": True}, dag="european-product-testing")
    assert _result(again) == made
    assert [task[:3] for task in again.tasks()] == [
        ("assemble", -1, "success"),
        ("make", -1, "skipped"),
        ("plan", -1, "success"),
    ]


def _result(run: Run) -> Done | Failed:
    assert run.airflow.ended(run.dag, run.id, within=120) == "success", run.tasks()
    [ending] = run.endings()
    return ending


def test_parts_are_mapped_and_assembled_in_their_order(begin: Begin) -> None:
    inputs = {f"{name}Input": name for name in "abcde"}
    run = begin("echo", inputs, dag="test-parts", outputs={"aOutput": {}, "eOutput": {}})
    assert run.airflow.ended(run.dag, run.id) == "success"
    assert run.endings() == [Done((Output("aOutput", "a"), Output("eOutput", "e")))]
    assert [task[:3] for task in run.tasks()] == [
        ("assemble", -1, "success"),
        *[("make", index, "success") for index in range(5)],
        ("plan", -1, "success"),
    ]
    assert run.now().progress == 90


def test_a_failure_by_the_caller_fails_the_run_without_a_mail(begin: Begin, airflow: Airflow) -> None:
    with _mails(airflow) as mails:
        run = begin("extract-product", {"product": "Raster", "aoi": "POLYGON((0 0, 1 0, 1 1, 0 1, 0 0))"})
        assert airflow.ended(run.dag, run.id) == "failed"
        [ending] = run.endings()
        assert ending == Failed("The product has no data inside the area.", fault="NothingInside")
        assert [task[:3] for task in run.tasks()] == [("perform", -1, "failed")]
        time.sleep(1)
        assert mails.taken == []


def test_a_failure_for_operators_sends_a_mail(begin: Begin, airflow: Airflow) -> None:
    with _mails(airflow) as mails:
        run = begin("echo", {"pause": "secret word"})
        assert airflow.ended(run.dag, run.id) == "failed"
        [ending] = run.endings()
        assert isinstance(ending, Failed)
        assert "secret word" in ending.detail
        _until(lambda: mails.taken)
    [mail] = mails.taken
    assert isinstance(mail.content, bytes)
    message = message_from_bytes(mail.content, policy=policy.default)
    body = message.get_body()
    assert body is not None
    text = body.get_content()
    assert message["To"] == "operators@example.org"
    assert message["Subject"] == "Landcast: perform of echo failed"
    assert run.id in text
    assert f"{airflow.url}/dags/echo/runs/{run.id}" in text
    assert "secret word" not in text


@pytest.mark.parametrize("ours", [True, False], ids=["our program", "Airflow's task"])
def test_a_task_that_is_killed_ends_its_run_without_an_ending(begin: Begin, *, ours: bool) -> None:
    run = begin("echo", {"pause": 60})
    _until(lambda: _process_of(run))
    process = _process_of(run)
    assert process is not None
    killed = process if ours else process.parent()
    assert killed is not None
    with _mails(run.airflow) as mails:
        killed.kill()
        assert run.airflow.ended(run.dag, run.id) == "failed"
        assert run.endings() == []
        _until(lambda: not lives(process), 5)
        if ours:
            _until(lambda: mails.taken)


@pytest.mark.full
def test_a_task_ended_by_a_crash_of_airflow_runs_again(begin: Begin, airflow: Airflow) -> None:
    run = begin("echo", {"pause": 6, "stringInput": "a"})
    _until(lambda: _process_of(run))
    before = _children(airflow)
    airflow.kill("scheduler")
    assert not any(map(lives, before))
    airflow.start("scheduler")
    assert airflow.ended(run.dag, run.id, within=120) == "success"
    assert [task[2:] for task in run.tasks()] == [("success", 2)]
    assert run.endings() == [Done((Output("stringOutput", "a"),))]


def test_the_task_of_a_dismissed_order_stops_by_itself(begin: Begin) -> None:
    run = begin("echo", {"pause": 60})
    _until(lambda: _process_of(run))
    run.store.dismiss(run.job.id)
    run.airflow.ended(run.dag, run.id, within=20)
    assert run.endings() == []
    assert [task[2] for task in run.tasks()] == ["skipped"]
    assert [path.name for path in run.folder.iterdir()] == [ORDER_FILE]


@contextmanager
def _mails(airflow: Airflow) -> Iterator[Postman]:
    with closing(Postman(port=airflow.mail_port)) as server:
        yield server
