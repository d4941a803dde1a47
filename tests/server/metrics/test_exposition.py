"""Metrics for Prometheus, with 100,000 orders in a real database."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestration.files.usage import note_usage
from server.app import COUNTED_ROUTES
from server.environment import read_settings
from server.metrics.counters import SharedCounters
from server.metrics.dependencies import AirflowDags, Look, Machine, certificate_end, machine
from server.metrics.exposition import MetricsServer, Sources, metrics_app, sources_of
from server.metrics.figures import FiguresStore, OrderFigures
from tests.auth.issuers import FakeIssuer
from tests.databases import BOTH, DatabaseOf
from tests.ports import free_port

_COLUMNS = "(id, owner, process, inputs, response, created, updated, started, finished, status)"
_MANY = f"""with recursive n(i) as (select 1 union all select i + 1 from n where i < :many)
    insert into jobs {_COLUMNS}
    select 'job' || i, case i % 3 when 0 then 'anonymous' when 1 then 'https://sso|' || (i % 50) else 'local' end,
        'process-' || (i % 5), '{{}}', 'raw', :now - 7200000000, :now - 600000000, :now - 660000000,
        :now - 600000000, case i % 10 when 0 then 'failed' else 'successful' end from n"""  # noqa: S608  constants
_WAITING = f"""insert into jobs {_COLUMNS}
    values (:id, 'local', :process, '{{}}', 'raw', :created, :created, :started, null, :status)"""  # noqa: S608  constants
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def _now() -> int:
    return int(time.time() * 1_000_000)


def _sources(orders: Look[OrderFigures], tmp_path: Path, **more: Any) -> Sources:
    tmp_path.joinpath("results").mkdir(exist_ok=True)
    found: Look[Machine] = Look("disk", lambda: machine(tmp_path))
    found.look()
    return Sources(SharedCounters(4), orders, found, version="1.2", commit="abc", **more)


def _ask(sources: Sources) -> bytes:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "QUERY_STRING": ""}
    return b"".join(metrics_app(sources)(environ, lambda *_: None))


def _values(text: bytes) -> Values:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def _labels(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def _without_orders(tmp_path: Path, look: Callable[[], OrderFigures] = OrderFigures) -> Sources:
    orders = Look("database", look)
    orders.look()
    return _sources(orders, tmp_path)


@pytest.mark.parametrize("database_of", BOTH, indirect=True)
def test_metrics_of_a_hundred_thousand_orders_are_fast_and_short(database_of: DatabaseOf, tmp_path: Path) -> None:
    store = FiguresStore(database_of())
    present = _now()
    database_of.run(_MANY, many=100_000, now=present)
    for number, (process, status, started) in enumerate(
        [("tiles", "accepted", None), ("tiles", "accepted", None), ("service", "running", present - 30_000_000)]
    ):
        created = present - 90_000_000 * (number + 1)
        database_of.run(_WAITING, id=f"open{number}", process=process, status=status, created=created, started=started)
    orders = Look("database", store.read)
    orders.look()
    sources = _sources(orders, tmp_path)
    sources.counters.write_processes(["service"], ["dag"])
    slot = sources.counters.take()
    assert slot is not None
    slot.name_routes(COUNTED_ROUTES)
    sources.counters.write_routes(COUNTED_ROUTES)
    for route in COUNTED_ROUTES:  # as if each had been asked for in many ways
        for code in (200, 304, 400, 401, 403, 404, 429, 503):
            slot.count((route, "GET", code, 0.02))
    costs = []
    for _ in range(7):
        began = time.process_time()
        text = _ask(sources)
        costs.append(time.process_time() - began)
    assert min(costs) < 0.1  # 20 ms on an idle machine
    assert len(text) < 200_000
    assert orders.seconds < 30  # in the background, a tenth of a second on an idle machine
    values = _values(text)
    assert values["landcast_orders", _labels(status="failed", process="process-0", caller="anonymous")] == 3333
    by_status = [value for (name, _), value in values.items() if name == "landcast_orders"]
    assert sum(by_status) == 100_003
    assert values["landcast_runs", _labels(runner="airflow")] == 1
    assert values["landcast_runs", _labels(runner="embedded")] == 0
    assert values["landcast_orders_waiting", _labels(runner="embedded")] == 2
    oldest = values["landcast_orders_oldest_seconds", _labels(status="accepted", process="tiles")]
    assert 180 <= oldest < 240
    running = values["landcast_orders_oldest_seconds", _labels(status="running", process="service")]
    assert 30 <= running < 90
    done = values["landcast_orders_finished_last_hour", _labels(status="successful", process="process-1")]
    assert done == 20_000
    assert values["landcast_order_seconds_last_hour", _labels(process="process-1")] == 60 * 20_000
    route = "/collections/{collection_id}/items"
    assert values["landcast_http_requests_total", _labels(route=route, method="GET", status="429")] == 1
    assert values["landcast_http_request_seconds_bucket", _labels(route=route, le="0.01")] == 0
    assert values["landcast_http_request_seconds_bucket", _labels(route=route, le="0.025")] == 8
    assert values["landcast_http_request_seconds_bucket", _labels(route=route, le="+Inf")] == 8
    if "://" in database_of.text:
        assert values["landcast_database_connections", _labels(state="active")] >= 1
        assert values["landcast_database_connections_max", frozenset()] > 50
    store.close()


@pytest.mark.parametrize("database_of", BOTH, indirect=True)
def test_an_empty_database_has_no_orders_and_process_labels_are_bounded(
    database_of: DatabaseOf, tmp_path: Path
) -> None:
    store = FiguresStore(database_of())
    assert store.read().orders == {}
    for number in range(60):
        created = _now()
        database_of.run(
            _WAITING, id=f"j{number}", process=f'p"\n{number}', status="accepted", created=created, started=None
        )
    orders = Look("database", store.read)
    orders.look()
    values = _values(_ask(_sources(orders, tmp_path)))
    told = {dict(labels)["process"]: value for (name, labels), value in values.items() if name == "landcast_orders"}
    assert len(told) == 51
    assert told["other"] == 10
    store.close()


@pytest.mark.parametrize("database_of", BOTH, indirect=True)
def test_the_outbox_has_its_size_and_delay(database_of: DatabaseOf) -> None:
    store = FiguresStore(database_of())
    created = _now()
    database_of.run(_WAITING, id="j", process="p", status="accepted", created=created, started=None)
    for kind, state, due in (
        ("mail", "due", created - 50_000_000),
        ("mail", "due", created),
        ("callback", "failed", None),
    ):
        database_of.run(
            "insert into outbox (job, kind, event, address, state, due)"
            " values ('j', :kind, 'accepted', 'x', :state, :due)",
            kind=kind, state=state, due=due,
        )  # fmt: skip
    figures = store.read()
    assert figures.entries == {("mail", "due"): 2, ("callback", "failed"): 1}
    assert 50 <= figures.overdue["mail"] < 110
    store.close()


def test_an_unavailable_dependency_is_down_and_its_metrics_are_omitted(tmp_path: Path) -> None:
    def fail() -> OrderFigures:
        raise OSError("down")

    sources = _without_orders(tmp_path, fail)
    values = _values(_ask(sources))
    assert values["landcast_up", _labels(dependency="database")] == 0
    assert values["landcast_up", _labels(dependency="disk")] == 1
    assert not [name for name, _ in values if name.startswith("landcast_orders")]
    assert values["landcast_build", _labels(version="1.2", commit="abc")] == 1


def test_dropped_lines_and_messages_are_counted(tmp_path: Path) -> None:
    sources = _without_orders(tmp_path)
    slot = sources.counters.take()
    assert slot is not None
    slot.note(keys_fetched=None, connections=0, lost_lines=3, dropped_downloads=5)
    values = _values(_ask(sources))
    assert values["landcast_log_lines_lost_total", frozenset()] == 3
    assert values["landcast_download_messages_dropped_total", frozenset()] == 5


def test_outdated_figures_are_omitted(tmp_path: Path) -> None:
    sources = _without_orders(tmp_path)
    assert sources.orders.now() is not None
    sources.orders._at -= 15
    assert _values(_ask(sources))["landcast_up", _labels(dependency="database")] == 0


def test_a_hanging_check_delays_no_other() -> None:
    hang, stop = Event(), Event()

    def wait() -> int:
        hang.wait(60)
        return 1

    slow, quick = Look("slow", wait, interval=0.01), Look("quick", lambda: 1, interval=0.01)
    threads = [Thread(target=each.keep, args=(stop,)) for each in (slow, quick)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while quick.now() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (quick.now(), slow.now()) == (1, None)
    stop.set()
    hang.set()
    for thread in threads:
        thread.join()


def test_disk_results_and_worker_have_metrics(tmp_path: Path) -> None:
    note_usage(tmp_path / "results", 4711)
    (tmp_path / "heartbeat").touch()
    values = _values(_ask(_without_orders(tmp_path)))
    assert values["landcast_results_bytes", frozenset()] == 4711
    assert 0 < values["landcast_disk_free_bytes", frozenset()] <= values["landcast_disk_bytes", frozenset()]
    assert 0 <= values["landcast_worker_heartbeat_age_seconds", frozenset()] < 60


def test_airflow_and_certificates_have_metrics(tmp_path: Path) -> None:
    airflow = Look("airflow", lambda: AirflowDags(schedules=False, dags={"active": 3, "paused": 1, "missing": 0}))
    until = Look("certificate of the server", lambda: 4e9)
    for each in (airflow, until):
        each.look()
    orders = Look("database", OrderFigures)
    values = _values(_ask(_sources(orders, tmp_path, airflow=airflow, certificates={"server": until})))
    assert values["landcast_airflow_schedules", frozenset()] == 0
    assert values["landcast_airflow_dags", _labels(state="paused")] == 1
    assert values["landcast_certificate_expires_timestamp_seconds", _labels(of="server")] == 4e9


def test_the_newest_backup_has_its_time(tmp_path: Path) -> None:
    assert machine(tmp_path, tmp_path / "nowhere").backup is None
    for number, at in enumerate((1_780_000_000, 1_780_086_400, 1_770_000_000)):
        (tmp_path / f"{number}.tar").touch()
        os.utime(tmp_path / f"{number}.tar", (at, at))
    (tmp_path / "later.tar.part").touch()
    found = Look("disk", lambda: machine(tmp_path, tmp_path))
    found.look()
    values = _values(_ask(Sources(SharedCounters(1), Look("database", OrderFigures), found)))
    assert values["landcast_backup_timestamp_seconds", frozenset()] == 1_780_086_400


def test_an_issuer_is_down_without_a_valid_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = FakeIssuer()
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("LANDCAST_AUTH_ISSUER", issuer.url)
    sources = sources_of(read_settings(), SharedCounters(1))
    look, key = sources.issuer, ("landcast_up", _labels(dependency="issuer"))
    assert look is not None
    look.look()
    assert _values(_ask(sources))[key] == 1
    issuer.answers["/.well-known/openid-configuration"] = (503, b"")
    look.look()
    assert _values(_ask(sources))[key] == 0
    issuer.close()
    look.look()
    assert _values(_ask(sources))[key] == 0


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    server = MetricsServer(f"127.0.0.1:{free_port()}", _without_orders(tmp_path))
    serving = Thread(target=server.keep, args=(lambda: None,))
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


def test_only_the_metrics_are_served(url: str) -> None:
    assert "landcast_build" in httpx2.get(f"{url}/metrics", timeout=60).text
    assert httpx2.get(f"{url}/metrics?x=1", timeout=60).status_code == 200
    for path in ("/", "/metrics/", "/../etc/passwd", "/favicon.ico"):
        assert httpx2.get(url + path, timeout=60).status_code == 404
    assert httpx2.post(f"{url}/metrics", timeout=60).status_code == 404


def test_silent_or_malformed_clients_delay_no_other(url: str) -> None:
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    silent = [socket.create_connection(address, 30) for _ in range(20)]
    silent[0].sendall(b"\0\xff" * 40_000 + b"\r\n\r\n")
    silent[1].sendall(b"GET /metrics HTTP/1.1\r\nHost: ")
    assert httpx2.get(f"{url}/metrics", timeout=60).status_code == 200
    for each in silent:
        each.close()
    assert httpx2.get(f"{url}/metrics", timeout=60).status_code == 200


def test_an_address_without_tls_has_no_certificate(url: str) -> None:
    with pytest.raises(OSError, match=r"(?i)ssl|wrong version|record"):
        certificate_end(url.replace("http", "https"))
