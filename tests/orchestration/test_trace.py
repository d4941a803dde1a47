"""The context of a trace as W3C Trace Context has it, and the spans of orders."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestration.job import Job, Order, Status
from orchestration.runners.airflow.run import conf_of
from orchestration.trace import (
    OrderTraces,
    Span,
    TraceContext,
    context_of_order,
    context_of_run,
    context_of_task,
    traced_child,
)
from tests.registry import OURS

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
AT = datetime(2026, 11, 30, 12, 0, 0, 250_000, tzinfo=UTC)
JOB = Job(
    "6f1c2d3e-0000-4000-8000-000000000001",
    Order("echo", {"stringInput": "a secret"}, "ann", trace=f"00-{TRACE}-{PARENT}-01"),
    Status.RUNNING,
    created=AT,
    updated=AT,
    started=AT,
    attempt=1,
)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (f"00-{TRACE}-{PARENT}-01", TraceContext(TRACE, PARENT)),
        (f"00-{TRACE}-{PARENT}-00", TraceContext(TRACE, PARENT, sampled=False)),
        (f"00-{TRACE}-{PARENT}-03", TraceContext(TRACE, PARENT)),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", TraceContext(TRACE, PARENT)),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}-1", None),
        (f"00-{TRACE[1:]}-{PARENT}-01", None),
        (f" 00-{TRACE}-{PARENT}-01", None),
        ("", None),
        (None, None),
    ],
)
def test_a_traceparent_is_read_as_the_recommendation_says(text: str | None, read: TraceContext | None) -> None:
    assert TraceContext.read(text) == read


def test_an_order_its_attempt_and_its_task_have_the_same_ids_in_every_process() -> None:
    order, run = context_of_order(JOB.order, JOB.id), context_of_run(JOB)
    assert order is not None
    assert run is not None
    task = context_of_task(run, "perform", -1, 1)
    assert {each.trace for each in (order, run, task)} == {TRACE}
    assert len({PARENT, order.span, run.span, task.span, context_of_task(run, "perform", -1, 2).span}) == 5
    again = context_of_run(replace(JOB, attempt=2))
    assert again is not None
    assert again.span != run.span
    code = (
        "import sys; from orchestration.trace import *; print(TraceContext.read(sys.argv[1]).child(sys.argv[2]).span)"
    )
    command = [sys.executable, "-c", code, str(JOB.order.trace), JOB.id]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == order.span
    assert conf_of(JOB, OURS["echo"])["traceparent"] == f"00-{TRACE}-{run.span}-01"
    assert "traceparent" not in conf_of(replace(JOB, order=replace(JOB.order, trace=None)), OURS["echo"])


def test_a_child_leaves_its_span_for_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", "")
    spans: list[Span] = []
    traces = OrderTraces(spans.append, tmp_path)
    for name, failing in (("1", False), ("2", True), ("3", False)):
        folder = tmp_path / JOB.id / "1" / name
        folder.mkdir(parents=True)
        if name == "3":
            (folder / "span.json").write_text('{"name": 1}')
            continue
        try:
            with traced_child(context_of_run(JOB), folder, "echo"):
                inside = TraceContext.read(os.environ["TRACEPARENT"])
                if failing:
                    sys.exit(3)
        except SystemExit:
            assert failing
        assert inside is not None
        assert inside.trace == TRACE
    traces.attempt_over(JOB, "failed")
    traces.finished(JOB, "failed")
    attempt, first, second, order = spans
    assert [each.name for each in spans] == ["attempt", "child process", "child process", "order echo"]
    assert first.parent == second.parent == attempt.context.span
    assert attempt.parent == order.context.span
    assert order.parent == PARENT
    assert [each.failed for each in spans] == [True, False, True, True]
    assert second.context == inside
    assert order.begin == attempt.begin == 1_796_040_000_250_000_000
    assert order.begin < first.begin <= first.end <= order.end
    assert order.attributes == {
        "landcast.process": "echo",
        "landcast.job": JOB.id,
        "landcast.attempt": 1,
        "landcast.status": "failed",
    }
    assert "secret" not in str(spans)


def test_an_order_without_a_trace_costs_nothing(tmp_path: Path) -> None:
    spans: list[Span] = []
    untraced = replace(JOB, order=replace(JOB.order, trace=None))
    OrderTraces(spans.append, tmp_path).attempt_over(untraced, "successful")
    with traced_child(context_of_run(untraced), tmp_path, "echo"):
        pass
    assert (spans, list(tmp_path.iterdir())) == ([], [])


def test_nothing_of_opentelemetry_is_imported_without_a_collector() -> None:
    code = (
        "import sys, server.app, server.cli, orchestration.service, orchestration.work.__main__ as work; work.load(); "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
