"""Traces from a running server: one order is one trace, whatever the collector does nothing waits for it."""

import logging
import time
from pathlib import Path
from shutil import copytree

import pytest
from opentelemetry.proto.trace.v1 import trace_pb2
from starlette.testclient import TestClient

from orchestration.trace import Span, TraceContext
from server.check import refusals
from server.environment import WrongSettings, read_settings
from server.traces import TraceExporter
from tests.collector import Collector, collecting
from tests.conftest import MakeApp
from tests.ports import free_port
from tests.server.served import eventually, serving

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
EXECUTION = "/processes/echo/execution"


def test_a_request_its_order_its_attempt_and_its_child_process_are_one_trace(sample: Path, tmp_path: Path) -> None:
    copytree(sample / "sample", tmp_path / "sample")
    with (
        collecting() as collector,
        serving(tmp_path, tmp_path / "log", LANDCAST_TRACES_URL=collector.url, LANDCAST_LOG_SERVICE="maps") as client,
    ):
        given = {"traceparent": f"00-{TRACE}-{CALLER}-01", "prefer": "respond-async", "x-api-key": "a-key-of-mine"}
        order = {"inputs": {"stringInput": "a-value-of-mine"}}
        answer = client.post(f"{EXECUTION}?f=json", json=order, headers=given)
        assert answer.status_code == 201
        request = TraceContext.read(answer.headers["traceresponse"])
        assert request is not None
        assert request.trace == TRACE
        eventually(lambda: _named(collector, "child process") and _named(collector, "order echo"))
        (child,) = _named(collector, "child process")
        path = ["child process", "attempt", "order echo", "POST /processes/{process_id}/execution", CALLER]
        assert collector.around(child) == path
        assert _named(collector, path[3])[0].span_id.hex() == request.span
        assert {each["service.name"] for each in collector.resources} == {"maps"}
        (done,) = _named(collector, "order echo")
        assert {each.key: each.value.string_value for each in done.attributes}["landcast.status"] == "successful"
        other = client.get("/collections/parks?bbox=1,2,3,4&f=nonsense", headers={"traceparent": "00-nonsense"})
        begun = TraceContext.read(other.headers["traceresponse"])
        assert begun is not None
        eventually(lambda: collector.of_trace(begun.trace))
        (span,) = collector.of_trace(begun.trace)
        assert span.parent_span_id == b""
        assert {each.key: each.value.string_value or each.value.int_value for each in span.attributes} == {
            "http.request.method": "GET",
            "http.route": "/collections/{collection_id}",
            "http.response.status_code": 400,
        }
        client.post(f"{EXECUTION}?f=json", json=order, headers={"traceparent": f"00-{'ab' * 16}-{CALLER}-00"})
        client.get("/health/live", headers={"traceparent": f"00-{'cd' * 16}-{CALLER}-01"})
        client.get("/conformance?f=json", headers={"traceparent": f"00-{'ef' * 16}-{CALLER}-01"})
        eventually(lambda: collector.of_trace("ef" * 16))
        assert collector.of_trace("ab" * 16) == []
        assert collector.of_trace("cd" * 16) == []
        found = str(collector.spans)
        assert [word for word in ("a-key-of-mine", "a-value-of-mine", "1,2,3,4", "nonsense") if word in found] == []
    assert TRACE in (tmp_path / "log").read_text(), "the log names the trace"


def _named(collector: Collector, name: str) -> list[trace_pb2.Span]:
    return [span for span in collector.of_trace(TRACE) if span.name == name]


@pytest.mark.parametrize("away", ["hangs", "gone"])
def test_nothing_waits_for_a_collector(away: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="opentelemetry")
    with collecting() as collector:
        collector.hangs.set()
        url = collector.url if away == "hangs" else f"http://127.0.0.1:{free_port()}/v1/traces"
        exporter = TraceExporter(url, "landcast")
        span = Span("x", TraceContext(TRACE, CALLER), None, 1, 2)
        before = time.process_time(), time.perf_counter()
        for _ in range(5000):
            exporter.record(span)
        assert time.perf_counter() - before[1] < 5, "a request of the collector takes as long as it likes"
        assert len(exporter._processor._batch_processor._queue) <= 2048
        before_end = time.perf_counter()
        exporter.close()
        assert time.perf_counter() - before_end < 4
        collector.over.set()


def test_a_server_with_a_collector_that_is_away_answers_and_ends(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="opentelemetry")
    gone = f"http://127.0.0.1:{free_port()}/v1/traces"
    with TestClient(make_app(traces={"url": gone})) as client:
        assert "traceresponse" in client.get("/collections/parks?f=json").headers


def test_the_address_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("collector:4317", "http://user:secret@collector/v1/traces", "http://collector/v1/traces?token=x"):
        monkeypatch.setenv("LANDCAST_TRACES_URL", url)
        with pytest.raises(WrongSettings, match="must be an address and a path") as wrong:
            read_settings()
        assert "secret" not in str(wrong.value)
    monkeypatch.setenv("LANDCAST_TRACES_URL", "http://collector:4318/v1/traces")
    monkeypatch.setattr("server.check.find_spec", lambda _: None)
    assert "LANDCAST_TRACES_URL: needs the packages of landcast[traces]" in refusals(read_settings())


def test_an_answer_says_nothing_of_traces_without_a_collector(make_app: MakeApp) -> None:
    with TestClient(make_app()) as client:
        answer = client.get("/?f=json", headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})
        assert "traceresponse" not in answer.headers
