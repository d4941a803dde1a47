"""The runner with a stand-in for Airflow, for rare faults and states."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.ending import write_ending
from orchestration.errors import RunnerUnavailable, WorkflowUnavailable
from orchestration.handover import TaskStatus, handed_order, write_status
from orchestration.job import Job, Order, Output, Status
from orchestration.registry import Registry
from orchestration.runners import Done, Failed, Gone, NotBegun, Queued, Running, run_id
from orchestration.runners.airflow import Timing
from orchestration.runners.airflow.client import Airflow
from orchestration.runners.airflow.condition import AWAY, IDLE, QUEUED, Condition
from orchestration.runners.airflow.run import run_of
from orchestration.runners.airflow.runner import AirflowRunner, hand_over
from orchestration.trace import Span, context_of_run, context_of_task
from tests.orchestration.played_airflow import PlayedAirflow, playing_airflow, task
from tests.ports import free_port
from tests.registry import OURS

Until = Callable[..., None]
ID = "6f2b4c1e-0000-4000-8000-00000000000{}"
PACE = Timing(poll=0.1, health=0.1, closer=0.3, patience=0.6, linger=0.4, shared=0.2, lost=0.5)
PROCESSES = Registry(tuple(row for row in OURS if row.id in {"echo", "apply-model"}))


class Yard:
    """A runner on a stand-in for Airflow, and jobs for it."""

    def __init__(self, played: PlayedAirflow, results: Path, until: Until) -> None:
        self.played = played
        self.results = results
        self.until = until
        self.spans: list[Span] = []
        self.runner = AirflowRunner(
            lambda: Airflow(played.access(timeout=0.5)), results, PROCESSES, pace=PACE, record=self.spans.append
        )

    def job(self, number: int = 1, process: str = "echo", **members: Any) -> Job:
        now = datetime.now(UTC)
        job = Job(ID.format(number), Order(process, {"a": number}, "local"), Status.RUNNING, now, now, attempt=1)
        return replace(job, **members)

    def ready(self) -> None:
        self.until(lambda: not self.runner.why_wait(self.job()))

    def started(self, number: int = 1, process: str = "echo") -> Job:
        self.ready()
        job = self.job(number, process)
        self.runner.start(job)
        self.until(lambda: self.key(job) in self.played.runs)
        return job

    def key(self, job: Job) -> tuple[str, str]:
        return job.order.process, run_id(job.id, job.attempt)

    def set(self, job: Job, state: str) -> None:
        self.played.runs[self.key(job)] = state

    def write(self, job: Job, ending: Done | Failed, try_: str = "1") -> None:
        folder = self.results / job.id / str(job.attempt) / try_
        folder.mkdir(parents=True)
        write_ending(folder, ending)

    def comes_to(self, job: Job, state: object) -> None:
        self.until(lambda: self.runner.look(job) == state, seconds=30)

    def is_over(self, job: Job) -> bool:
        return not isinstance(self.runner.look(job), Queued | Running)


@pytest.fixture
def played() -> Iterator[PlayedAirflow]:
    with playing_airflow() as made:
        yield made


@pytest.fixture
def yard(played: PlayedAirflow, tmp_path: Path, until: Until) -> Iterator[Yard]:
    made = Yard(played, tmp_path / "results", until)
    with closing(made.runner):
        yield made


RESULT = Done((Output("stringOutput", "x"),))


def test_a_refused_login_is_tried_with_growing_pauses(played: PlayedAirflow, tmp_path: Path) -> None:
    """An account with a failed login each second would be locked."""
    access = replace(played.access(timeout=0.5), password="wrong")  # noqa: S106  of nobody
    with closing(AirflowRunner(lambda: Airflow(access), tmp_path, PROCESSES, pace=PACE)):
        time.sleep(4)
    assert 1 <= played.logins <= 2


def test_an_order_is_handed_over_followed_and_ends_with_its_ending_file(yard: Yard) -> None:
    job = yard.started()
    assert yard.played.confs == [{"job": job.id, "attempt": 1, "process": "echo"}], (
        "what was ordered may be large, and whose order it is is none of Airflow's business"
    )
    assert handed_order(yard.results / job.id / "1") == Order("echo", {"a": 1}, "")
    yard.comes_to(job, Queued(QUEUED))
    yard.set(job, "running")
    yard.comes_to(job, Running())
    yard.write(job, RESULT)
    yard.set(job, "success")
    yard.comes_to(job, RESULT)


def test_a_later_try_s_result_wins_over_an_earlier_failure(yard: Yard) -> None:
    job = yard.started()
    yard.write(job, RESULT, "2/pieces")
    yard.write(job, Failed("no"))
    yard.set(job, "success")
    yard.comes_to(job, RESULT)


def test_an_event_causes_a_check_and_is_not_trusted(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yard.runner, "_poll", lambda: 600.0)
    job = yard.started()
    time.sleep(0.3)
    yard.runner.hear(run_id(job.id, 1))
    yard.comes_to(job, Queued(QUEUED))
    assert not yard.is_over(job)
    yard.write(job, RESULT)
    yard.set(job, "success")
    time.sleep(0.3)
    assert not yard.is_over(job)
    yard.runner.hear("6f2b4c1e-0000-4000-8000-0000000000ff.1")
    yard.runner.hear(run_id(job.id, 1))
    yard.comes_to(job, RESULT)


def test_a_run_without_an_ending_is_gone(yard: Yard) -> None:
    job = yard.started()
    yard.set(job, "failed")
    yard.comes_to(job, Gone("Airflow ended its run (failed) without a result"))


def test_a_service_run_that_failed_names_task_and_tries(yard: Yard) -> None:
    job = yard.started(process="apply-model")
    yard.played.tasks = [task("a", "success"), task("b", "failed", tries=11), task("c", "failed", number=3)]
    yard.set(job, "failed")
    yard.comes_to(job, Failed("A task of the work failed: b after 11 tries, c[3] after 1 try."))


def test_a_deleted_run_is_gone(yard: Yard) -> None:
    job = yard.started()
    yard.comes_to(job, Queued(QUEUED))
    del yard.played.runs[yard.key(job)]
    yard.comes_to(job, Gone("Airflow has its run no more"))


def test_repeated_hand_overs_start_one_run(yard: Yard) -> None:
    """The first answer is lost after Airflow has started the run."""
    yard.ready()
    job = yard.job()
    yard.played.runs[yard.key(job)] = "running"
    yard.runner.start(job, again=True)
    yard.comes_to(job, Running())
    other = yard.job(2)
    yard.played.mood = [(502, b"x")]
    yard.runner.start(other)
    yard.until(lambda: yard.key(other) in yard.played.runs)
    yard.comes_to(other, Queued(QUEUED))
    assert len(yard.played.confs) == 1


def test_an_expired_token_is_renewed_during_a_run(yard: Yard) -> None:
    job = yard.started()
    yard.played.mood = [(401, {"detail": "Token Expired"}), (403, {"detail": "Invalid JWT token"})]
    yard.set(job, "running")
    yard.comes_to(job, Running())


def test_paused_and_missing_dags_prevent_a_hand_over(yard: Yard) -> None:
    yard.played.dags = {"echo": True}
    why = "Waits: the DAG echo is paused in Airflow."
    yard.until(lambda: yard.runner.why_wait(yard.job()) == why)
    with pytest.raises(RunnerUnavailable, match="is paused"):
        yard.runner.start(yard.job())
    assert yard.runner.why_wait(yard.job(2, "apply-model")) == "Waits: Airflow has no DAG apply-model."
    assert yard.played.runs == {}
    yard.played.dags = {"echo": False}
    yard.started()


def test_a_test_order_waits_for_the_twin_dag(yard: Yard) -> None:
    now = datetime.now(UTC)
    order = Order("extract-product", {"test": True}, "local")
    job = Job(ID.format(7), order, Status.RUNNING, now, now, attempt=1)
    yard.played.dags = {"echo": False, "extract-product": False, "extract-product-testing": True}
    products = Registry(tuple(row for row in OURS if row.id in {"echo", "extract-product"}))
    runner = AirflowRunner(lambda: Airflow(yard.played.access()), yard.results, products, pace=PACE)
    with closing(runner):
        yard.until(lambda: not runner.why_wait(job))
        with pytest.raises(RunnerUnavailable, match="extract-product-testing is paused"):
            runner.start(job)
        listed = replace(job, order=replace(order, inputs={}))
        assert runner.why_wait(listed) == "Waits: the DAG extract-product-testing is paused in Airflow."
        yard.played.dags["extract-product-testing"] = False
        yard.until(lambda: not runner.why_wait(listed))
        runner.start(job)
        yard.until(lambda: ("extract-product-testing", run_id(job.id, 1)) in yard.played.runs)


def test_a_dag_that_disappears_between_two_checks_costs_no_attempt(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    yard.ready()
    monkeypatch.setattr(yard.runner, "_look_at_airflow", lambda: 60.0)
    time.sleep(0.3)
    yard.played.dags = {}
    job = yard.job()
    yard.runner.start(job)
    yard.until(lambda: isinstance(yard.runner.look(job), NotBegun))


def test_a_dag_paused_at_the_last_moment_gets_no_unseen_run(yard: Yard) -> None:
    """Airflow accepts a run of a paused DAG, and leaves it queued."""
    run = run_of(yard.job(), ("echo",), yard.results, OURS["echo"])
    run.conf = {}
    with closing(Airflow(yard.played.access())) as airflow:
        hand_over(run, airflow, Condition(paused={"echo": True}))
    assert run.state == NotBegun("Waits: the DAG echo is paused in Airflow.")
    assert yard.played.runs == {}


def test_an_order_that_airflow_refuses_fails_with_the_reason_in_the_log(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yard.runner, "_look_at_airflow", lambda: 60.0)
    monkeypatch.setattr(yard.runner, "_poll", lambda: 600.0)
    time.sleep(0.3)
    run = run_of(yard.job(), ("echo",), yard.results, OURS["echo"])
    run.conf = {}
    yard.played.mood = [(400, {"detail": "Invalid input for param inputs"})]
    with closing(Airflow(yard.played.access())) as airflow:
        hand_over(run, airflow, Condition(paused={"echo": False}))
    assert isinstance(run.state, Failed)
    assert "Invalid input" not in run.state.reason
    assert "Invalid input for param inputs" in run.state.detail


def test_orders_wait_while_airflow_is_unavailable_or_does_not_schedule(yard: Yard) -> None:
    yard.ready()
    yard.played.scheduler = "unhealthy"
    yard.until(lambda: yard.runner.why_wait(yard.job()) == IDLE)
    yard.played.scheduler = "healthy"
    yard.ready()
    yard.played.mood = [(503, b"x")] * 2
    yard.until(lambda: yard.runner.why_wait(yard.job()) == AWAY)
    yard.ready()


@pytest.mark.parametrize("before", [False, True])
def test_a_run_that_airflow_cannot_have_received_is_not_begun(yard: Yard, *, before: bool) -> None:
    """Unless this worker or one before it may have handed it over."""
    run = run_of(yard.job(), ("echo",), yard.results, OURS["echo"])
    run.conf, run.sent = {}, before
    nobody = PlayedAirflow(url=f"http://127.0.0.1:{free_port()}")
    with closing(Airflow(nobody.access())) as airflow, pytest.raises(WorkflowUnavailable):
        hand_over(run, airflow, Condition(paused={"echo": False}))
    assert isinstance(run.state, Queued if before else NotBegun)


def test_airflow_may_become_available_after_the_start(tmp_path: Path, until: Until) -> None:
    played = PlayedAirflow(url=f"http://127.0.0.1:{free_port()}")
    yard = Yard(played, tmp_path, until)
    with closing(yard.runner):
        assert yard.runner.why_wait(yard.job()) == AWAY
        with playing_airflow() as there:
            played.url = there.url
            yard.runner._connect = lambda: Airflow(there.access())
            yard.runner._airflow = None
            until(lambda: not yard.runner.why_wait(yard.job()))


def test_a_dismissed_run_is_over_after_its_tasks_have_ended(yard: Yard) -> None:
    job = yard.started()
    yard.set(job, "running")
    yard.comes_to(job, Running())
    begin = time.monotonic()
    yard.runner.stop(job)
    yard.until(lambda: yard.played.runs[yard.key(job)] == "failed")
    while not yard.is_over(job):
        yard.runner.stop(job)
        time.sleep(0.02)
    assert time.monotonic() - begin >= PACE.linger
    assert yard.runner.look(job) == Gone("it was ended")
    assert yard.played.asked.count(f"PATCH /api/v2/dags/echo/dagRuns/{job.id}.1") == 1


def test_a_finished_run_is_not_changed(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow would write `failed` over its success."""
    monkeypatch.setattr(yard.runner, "_poll", lambda: 600.0)
    job = yard.started()
    time.sleep(0.3)
    yard.set(job, "success")
    yard.runner.stop(job)
    yard.until(lambda: yard.is_over(job))
    assert yard.played.runs[yard.key(job)] == "success"


def test_a_dismissed_run_is_not_handed_over(yard: Yard) -> None:
    yard.ready()
    busy = [yard.job(number) for number in range(2, 6)]
    yard.played.mood = [0.4] * 4
    for each in busy:
        yard.runner.start(each)
    job = yard.job()
    yard.runner.start(job)
    yard.runner.stop(job)
    yard.until(lambda: yard.is_over(job))
    assert yard.key(job) not in yard.played.runs


def test_after_a_restart_a_dismissed_run_is_found_by_its_name_and_ended(yard: Yard) -> None:
    yard.ready()
    job = yard.job(status=Status.DISMISSED)
    yard.set(job, "running")
    assert not yard.is_over(job)
    yard.runner.stop(job)
    yard.until(lambda: yard.is_over(job))
    assert yard.played.runs[yard.key(job)] == "failed"
    nowhere = yard.job(2, status=Status.DISMISSED)
    yard.comes_to(nowhere, Gone("Airflow has no such run"))


def test_expired_files_are_removed_without_waiting(yard: Yard) -> None:
    yard.ready()
    yard.played.asked.clear()
    assert isinstance(yard.runner.look(yard.job(status=Status.SUCCESSFUL)), Gone)
    assert not [asked for asked in yard.played.asked if "dagRuns/" in asked]


def test_a_dag_paused_meanwhile_is_reported_and_not_a_lack_of_progress(yard: Yard) -> None:
    job = yard.started()
    yard.set(job, "running")
    yard.played.tasks = [task("a", "running")]
    yard.played.dags["echo"] = True
    yard.comes_to(job, Running(message="Waits: the DAG echo is paused in Airflow."))
    time.sleep(PACE.patience * 2)
    assert not yard.is_over(job)
    yard.played.dags["echo"] = False
    yard.comes_to(job, Running())


def test_an_order_of_a_service_reports_the_status_of_its_tasks(yard: Yard) -> None:
    job = yard.started(process="apply-model")
    folder = yard.results / job.id / "1"
    yard.set(job, "running")
    yard.comes_to(job, Running())
    write_status(folder, "calculate", TaskStatus("Asking calculate, try 1 of 11."))
    yard.comes_to(job, Running(message="Asking calculate, try 1 of 11."))
    for index in range(5):
        write_status(folder, f"ask-{index}", TaskStatus(f"[{index}] Try 2 of 7 failed: busy.", "busy"))
    found = (
        "[0] Try 2 of 7 failed: busy. [1] Try 2 of 7 failed: busy. [2] Try 2 of 7 failed: busy. And 3 more requests."
    )
    yard.comes_to(job, Running(message=found))
    (folder / "status-calculate.json").write_text("[")
    for index in range(5):
        write_status(folder, f"ask-{index}", None)
        write_status(folder, f"ask-{index}", None)
    yard.comes_to(job, Running())


def test_a_running_order_without_reports_shows_that_airflow_is_unavailable(yard: Yard) -> None:
    old = datetime.now(UTC) - timedelta(minutes=1)
    silent = replace(yard.started(1, "apply-model"), updated=old)
    heard = replace(yard.started(2), message="Cutting the raster")
    for job in (silent, heard):
        yard.set(job, "running")
        yard.comes_to(job, Running())
    yard.played.mood = [(503, b"x")] * 2000
    yard.comes_to(silent, Running(message=AWAY))
    assert yard.runner.look(heard) == Running()
    assert yard.runner.look(replace(heard, updated=old)) == Running(message=AWAY)
    found = replace(silent, message=AWAY, updated=datetime.now(UTC))
    assert yard.runner.look(found) == Running(message=AWAY), "its own word is nothing that is heard"
    yard.played.mood = []
    yard.comes_to(found, Running())


def test_a_result_is_used_even_if_airflow_does_not_end_the_run(yard: Yard) -> None:
    """A known fault: a transaction of a killed scheduler locks the row of the run."""
    yard.runner._pace = replace(PACE, closer=60)
    job = yard.started()
    yard.set(job, "running")
    yard.played.tasks = [task("a", "running")]
    yard.write(job, RESULT)
    time.sleep(0.5)
    assert not yard.is_over(job), "its task may still be at it"
    yard.played.tasks = [task("a", "success")]
    yard.comes_to(job, RESULT)


def test_a_run_with_finished_tasks_and_no_ending_is_given_up(yard: Yard) -> None:
    job = yard.started()
    yard.set(job, "running")
    yard.played.tasks = [task("a", "success"), task("b", "upstream_failed")]
    yard.until(lambda: yard.is_over(job))
    assert "all its tasks finished" in str(yard.runner.look(job))
    assert yard.played.runs[yard.key(job)] == "failed"


def test_only_a_run_without_progress_is_given_up(yard: Yard) -> None:
    silent, reports = yard.started(1), yard.started(2)
    for job in (silent, reports):
        yard.set(job, "running")
    yard.played.tasks = [task("a", "running")]
    begin, percent = time.monotonic(), 0
    while not yard.is_over(silent):
        assert time.monotonic() < begin + 10
        percent += 1
        assert not isinstance(yard.runner.look(replace(reports, progress=percent)), Gone)
        time.sleep(0.05)
    assert "made no progress" in str(yard.runner.look(silent))
    waits = yard.started(3)
    yard.played.tasks = [task("a", "queued")]
    time.sleep(PACE.patience * 2)
    assert not yard.is_over(waits)


def test_concurrent_threads_take_each_name_alone_and_lose_none(yard: Yard) -> None:
    jobs = [yard.started(number) for number in range(1, 9)]
    for job in jobs:
        yard.write(job, RESULT)
        yard.set(job, "success")
        for _ in range(20):
            yard.runner.hear(run_id(job.id, 1))
    for job in jobs:
        yard.comes_to(job, RESULT)
    yard.until(lambda: not yard.runner._runs)


def test_the_tasks_of_a_traced_order_are_spans_below_its_attempt(yard: Yard) -> None:
    order = Order("echo", {"a": 1}, "local", trace=f"00-{'ab' * 16}-{'cd' * 8}-01")
    job = yard.job(order=order)
    context = context_of_run(job)
    assert context is not None
    yard.ready()
    yard.runner.start(job)
    yard.until(lambda: yard.key(job) in yard.played.runs)
    assert yard.played.confs[0]["traceparent"] == context.text
    times = {"start_date": "2026-11-25T00:00:00.500Z", "end_date": "2026-11-25T00:00:02Z"}
    yard.played.tasks = [
        task("plan", "success") | times,
        task("make", "failed", 2, 7) | times,
        task("assemble", "upstream_failed"),
    ]
    yard.write(job, RESULT)
    yard.set(job, "success")
    yard.comes_to(job, RESULT)
    yard.until(lambda: len(yard.spans) == 2)
    plan, make = yard.spans
    assert (plan.name, plan.failed, make.name, make.failed) == ("task plan", False, "task make", True)
    assert plan.context == context_of_task(context, "plan", -1, 1)
    assert make.context == context_of_task(context, "make", 7, 2)
    assert plan.parent == make.parent == context.span
    assert (plan.begin, plan.end) == (1_795_564_800_500_000_000, 1_795_564_802_000_000_000)
    assert not [each for each in yard.played.asked if "Instances" in each][1:], "asked once"


def test_airflow_is_not_asked_for_the_tasks_of_an_order_without_a_trace(yard: Yard) -> None:
    job = yard.started()
    yard.write(job, RESULT)
    yard.set(job, "success")
    yard.comes_to(job, RESULT)
    assert [each for each in yard.played.asked if "Instances" in each] == []
    assert yard.spans == []
