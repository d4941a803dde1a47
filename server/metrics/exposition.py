"""The metrics for Prometheus, on a separate address."""

import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any, override
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from server.airflow import on_airflow
from server.build import commit, version
from server.database import database_of
from server.metrics.counters import BUCKETS, SharedCounters
from server.metrics.dependencies import (
    AirflowDags,
    Look,
    Machine,
    airflow_looker,
    certificate_end,
    issuer_looker,
    looking,
    machine,
)
from server.metrics.figures import FiguresStore, OrderFigures
from server.settings import Settings

_log = logging.getLogger(__name__)

PATH = "/metrics"
_SECONDS = 10.0
"""Seconds for a client to send its request, and to read each part of the answer."""
_BOUNDS = [*(f"{bound:g}" for bound in BUCKETS), "+Inf"]


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of the metrics; `certificates` are by the name of their service."""

    counters: SharedCounters
    orders: Look[OrderFigures]
    machine: Look[Machine]
    airflow: Look[AirflowDags] | None = None
    issuer: Look[bool] | None = None
    certificates: dict[str, Look[float]] = field(default_factory=dict)
    version: str = ""
    commit: str = ""

    @property
    def looks(self) -> list[Look[Any]]:
        """All sources that are checked in the background."""
        others: list[Look[Any]] = [each for each in (self.airflow, self.issuer) if each is not None]
        return [self.orders, self.machine, *others, *self.certificates.values()]


class MetricsCollector(Collector):
    """Makes the metrics from counters and the last results, without waiting."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    @override
    def collect(self) -> Iterable[Metric]:
        """Yield all metrics, except those of a dependency that is down."""
        sources = self._sources
        yield _gauge("landcast_build", "Version of the program.", [((sources.version, sources.commit), 1)], *_BUILD)
        up = [((each.name,), float(each.now() is not None)) for each in sources.looks]
        yield _gauge("landcast_up", "1 if the dependency answers.", up, "dependency")
        yield from self._requests()
        if (figures := sources.orders.now()) is not None:
            yield from _of_orders(figures, sources.counters.processes()[0])
            yield from _of_database(figures)
        if (machine := sources.machine.now()) is not None:
            yield from _of_machine(machine)
        if sources.airflow and (found := sources.airflow.now()) is not None:
            yield _gauge("landcast_airflow_schedules", "1 if Airflow's scheduler works.", [((), found.schedules)])
            dags = [((state,), number) for state, number in found.dags.items()]
            yield _gauge("landcast_airflow_dags", "DAGs of orders.", dags, "state")
        ends = [((of,), end) for of, look in sources.certificates.items() if (end := look.now()) is not None]
        yield _gauge("landcast_certificate_expires_timestamp_seconds", "When it expires.", ends, "of")

    def _requests(self) -> Iterator[Metric]:
        totals = self._sources.counters.totals()
        requests = CounterMetricFamily(
            "landcast_http_requests", "Answered requests.", labels=("route", "method", "status")
        )
        for (route, method, status), number in totals.requests.items():
            requests.add_metric((route, method, str(status or "other")), number)
        yield requests
        seconds = HistogramMetricFamily(
            "landcast_http_request_seconds", "Time until the last byte of the answer.", labels=("route",)
        )
        for route, (counts, total) in totals.seconds.items():
            seconds.add_metric((route,), list(zip(_BOUNDS, _running(counts), strict=True)), total)
        yield seconds
        yield CounterMetricFamily("landcast_log_lines_lost", "Log lines that were dropped.", totals.lost_lines)
        dropped = totals.dropped_downloads
        yield CounterMetricFamily("landcast_download_messages_dropped", "As too many waited for the broker.", dropped)
        tiles = CounterMetricFamily("landcast_tiles", "Map tiles that the cache had or lacked.", labels=("cache",))
        for name, number in zip(("hit", "miss"), totals.tiles, strict=True):
            tiles.add_metric((name,), number)
        yield tiles
        yield _gauge("landcast_pool_connections", "Connections that requests use now.", [((), totals.connections)])
        if totals.keys_fetched is not None:
            age = max(0.0, time.time() - totals.keys_fetched)
            yield _gauge("landcast_issuer_keys_age_seconds", "Since the issuer's keys were fetched.", [((), age)])


_BUILD = ("version", "commit")


def _of_orders(figures: OrderFigures, on_airflow: frozenset[str]) -> Iterator[Metric]:
    by_process = ("status", "process")
    yield _gauge("landcast_orders", "Stored orders.", figures.orders.items(), "status", "process", "caller")
    yield _gauge("landcast_orders_oldest_seconds", "Age of the oldest.", figures.oldest.items(), *by_process)
    for name, status in (("landcast_orders_waiting", "accepted"), ("landcast_runs", "running")):
        runners = {"airflow": 0, "embedded": 0}
        for (state, process), number in figures.unfinished.items():
            runners["airflow" if process in on_airflow else "embedded"] += number * (state == status)
        yield _gauge(name, "By what runs them.", (((runner,), n) for runner, n in runners.items()), "runner")
    yield _gauge("landcast_orders_finished_last_hour", "Ended orders.", figures.finished.items(), *by_process)
    worked = (((process,), seconds) for process, seconds in figures.worked.items())
    yield _gauge("landcast_order_seconds_last_hour", "Sum of successful runs' times.", worked, "process")
    yield _gauge("landcast_outbox_entries", "Notifications.", figures.entries.items(), "kind", "state")
    overdue = (((kind,), seconds) for kind, seconds in figures.overdue.items())
    yield _gauge("landcast_outbox_overdue_seconds", "How long the oldest one is due.", overdue, "kind")


def _of_database(figures: OrderFigures) -> Iterator[Metric]:
    if figures.most_connections:
        states = (((state,), number) for state, number in figures.connections.items())
        yield _gauge("landcast_database_connections", "To PostgreSQL, of all machines.", states, "state")
        yield _gauge("landcast_database_connections_max", "That it allows.", [((), figures.most_connections)])


def _of_machine(machine: Machine) -> Iterator[Metric]:
    values = {
        "landcast_disk_bytes": ("Size of the disk of the state folder.", machine.disk),
        "landcast_disk_free_bytes": ("Free bytes of that disk.", machine.free),
        "landcast_results_bytes": ("Size of all results.", machine.results),
        "landcast_backup_timestamp_seconds": ("When the newest backup was taken.", machine.backup),
        "landcast_worker_heartbeat_age_seconds": ("Since the worker's last sign of life.", machine.heartbeat),
    }
    for name, (text, value) in values.items():
        if value is not None:
            yield _gauge(name, text, [((), value)])


def _gauge(name: str, text: str, values: Iterable[tuple[tuple[str, ...], float]], *labels: str) -> Metric:
    gauge = GaugeMetricFamily(name, text, labels=labels)
    for label, value in values:
        gauge.add_metric(label, value)
    return gauge


def _running(counts: Iterable[int]) -> Iterator[int]:
    total = 0
    for count in counts:
        total += count
        yield total


def metrics_app(sources: Sources) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application, which answers only `/metrics`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MetricsCollector(sources))
    inner = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"} or environ["PATH_INFO"] != PATH:
            start_response(f"{HTTPStatus.NOT_FOUND} Not Found", [("Content-Type", "text/plain")])
            return [b"the metrics are at /metrics\n"]
        answer: Iterable[bytes] = inner(environ, start_response)
        return answer

    return app


class _Handler(WSGIRequestHandler):
    timeout = _SECONDS

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, as scrapes are frequent and uninteresting."""


class MetricsServer(ThreadingMixIn, WSGIServer):
    """Serves the metrics on an address; each request has a thread, which ends after 10 s without a byte."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, bind: str, sources: Sources) -> None:
        """Listen on `host:port`. Raises OSError."""
        host, _, port = bind.rpartition(":")
        if host.startswith("["):
            self.address_family = socket.AF_INET6
        super().__init__((host.strip("[]"), int(port)), _Handler)
        self.set_app(metrics_app(sources))
        self._sources = sources

    @override
    def server_bind(self) -> None:
        """Bind without a reverse lookup of the address, which may take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing about a client that disconnects."""

    def keep(self, beat: Callable[[], None]) -> None:
        """Serve until the process ends; call `beat` twice a second."""
        self.service_actions = beat  # type: ignore[method-assign]  # socketserver calls it after every poll
        with looking(self._sources.looks):
            self.serve_forever(poll_interval=0.5)


def sources_of(settings: Settings, counters: SharedCounters) -> Sources:
    """Return the sources that the settings name."""
    state = settings.state.dir
    database = FiguresStore(database_of(settings), lazy=True)
    airflow = on_airflow(settings)
    urls = {"server": settings.server.public_url, "issuer": settings.auth.issuer, "airflow": settings.airflow.url}
    return Sources(
        counters,
        orders=Look("database", database.read),
        machine=Look("disk", lambda: machine(state)),
        airflow=None
        if airflow is None
        else Look("airflow", airflow_looker(airflow.access, lambda: counters.processes()[1])),
        issuer=None
        if settings.auth.issuer is None
        else Look("issuer", issuer_looker(settings.auth.issuer, settings.auth.timeout)),
        certificates={
            of: Look(f"certificate of the {of}", partial(certificate_end, url))
            for of, url in urls.items()
            if url and urlsplit(url).scheme == "https"
        },
        version=version(),
        commit=commit(),
    )


def serve_metrics(settings: Settings, counters: SharedCounters, beat: Callable[[], None]) -> None:
    """Serve the metrics until the process ends; call `beat` meanwhile. Raises OSError if the address is in use."""
    MetricsServer(str(settings.metrics.bind), sources_of(settings, counters)).keep(beat)
