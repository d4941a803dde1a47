"""The figures from Prometheus have the values of made-up days, and real exporters have the metrics that they name."""

import re
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from deploy.grafana.figures import Figure, figures
from tests.ports import free_port
from tests.prometheus import Prometheus, start_prometheus, started, write_blocks

BEGIN = 1_780_272_000  # 2026-06-01
NOW = BEGIN + 25 * 3600
_API, _HOST = "https://a.example.org", "node:9100"
_LOADS = {"1": 1.5, "5": 1.25, "15": 1.0}


def _steady(value: float) -> Callable[[int], float]:
    return lambda _: value


def _growing(a_second: float) -> Callable[[int], float]:
    return lambda at: a_second * (at - BEGIN)


def _doubled(before: float) -> Callable[[int], float]:
    """Make a value that is doubled for the last half hour."""
    return lambda at: before * (2 if at > NOW - 1800 else 1)


_MADE: dict[str, Callable[[int], float]] = {
    f'probe_success{{instance="{_API}"}}': _steady(1),
    'probe_success{instance="http://b.example.org"}': _steady(0),
    f'probe_http_status_code{{instance="{_API}"}}': _steady(200),
    f'probe_http_version{{instance="{_API}"}}': _steady(1.1),
    f'probe_tls_version_info{{instance="{_API}",version="TLS 1.3"}}': _steady(1),
    f'probe_ssl_earliest_cert_expiry{{instance="{_API}"}}': _steady(NOW + 30 * 86_400),
    f'probe_duration_seconds{{instance="{_API}"}}': _doubled(0.2),
    'probe_duration_seconds{instance="http://b.example.org"}': _steady(9),
    f'probe_dns_lookup_time_seconds{{instance="{_API}"}}': _doubled(0.02),
    f'probe_http_duration_seconds{{instance="{_API}",phase="connect"}}': _steady(0.05),
    f'probe_http_duration_seconds{{instance="{_API}",phase="tls"}}': _steady(0.1),
    f'node_boot_time_seconds{{instance="{_HOST}"}}': _steady(NOW - 259_200),
    f'node_filesystem_avail_bytes{{instance="{_HOST}",mountpoint="/"}}': _steady(20e9),
    f'node_filesystem_size_bytes{{instance="{_HOST}",mountpoint="/"}}': _steady(100e9),
    f'node_filesystem_avail_bytes{{instance="{_HOST}",mountpoint="/tmp"}}': _steady(1),
    f'node_filesystem_size_bytes{{instance="{_HOST}",mountpoint="/tmp"}}': _steady(100),
    f'node_memory_MemAvailable_bytes{{instance="{_HOST}"}}': _steady(30e9),
    f'node_memory_MemTotal_bytes{{instance="{_HOST}"}}': _steady(120e9),
    f'node_memory_SwapTotal_bytes{{instance="{_HOST}"}}': _steady(8e9),
    f'node_memory_SwapFree_bytes{{instance="{_HOST}"}}': _steady(5e9),
    **{f'node_load{minutes}{{instance="{_HOST}"}}': _steady(load) for minutes, load in _LOADS.items()},
    'container_last_seen{name="landcast",id="/a"}': _steady(NOW),
    'container_last_seen{name="postgres",id="/b"}': _steady(NOW),
    'container_last_seen{id="/"}': _steady(NOW),
    'container_cpu_usage_seconds_total{name="landcast",id="/a",cpu="0"}': _growing(0.5),
    'container_cpu_usage_seconds_total{name="landcast",id="/a",cpu="1"}': _growing(0.75),
    'container_cpu_usage_seconds_total{id="/",cpu="0"}': _growing(9),
    'container_memory_working_set_bytes{name="landcast",id="/a"}': _steady(3e8),
    'container_memory_working_set_bytes{name="postgres",id="/b"}': _steady(2e8),
    'container_network_receive_bytes_total{name="landcast",id="/a",interface="eth0"}': _growing(100),
    'container_network_transmit_bytes_total{name="landcast",id="/a",interface="eth0"}': _growing(50),
    f'node_network_receive_bytes_total{{instance="{_HOST}",device="eth0"}}': _growing(1000),
    f'node_network_receive_bytes_total{{instance="{_HOST}",device="eth1"}}': _growing(200),
    f'node_network_receive_bytes_total{{instance="{_HOST}",device="lo"}}': _growing(9000),
    f'node_network_receive_bytes_total{{instance="{_HOST}",device="veth1a"}}': _growing(9000),
    f'node_network_transmit_bytes_total{{instance="{_HOST}",device="eth0"}}': _growing(500),
    f'node_netstat_Tcp_CurrEstab{{instance="{_HOST}"}}': _steady(12),
    f'node_sockstat_TCP_tw{{instance="{_HOST}"}}': _steady(3),
    f'node_netstat_Tcp_RetransSegs{{instance="{_HOST}"}}': _growing(2),
    f'node_sockstat_UDP_inuse{{instance="{_HOST}"}}': _steady(4),
    f'node_netstat_Udp_InDatagrams{{instance="{_HOST}"}}': _growing(6),
    f'node_netstat_Udp_OutDatagrams{{instance="{_HOST}"}}': _growing(5),
    f'node_nf_conntrack_entries{{instance="{_HOST}"}}': _steady(100),
    f'node_nf_conntrack_entries_limit{{instance="{_HOST}"}}': _steady(65_536),
}

EXPECTED: dict[tuple[str, str], list[list[float]]] = {
    ("api-status", "Answers"): [[1]],
    ("api-status", "HTTP code"): [[200]],
    ("api-status", "HTTP version"): [[1.1]],
    ("api-status", "TLS"): [[1]],
    ("api-status", "Certificate ends in"): [[2_592_000]],
    ("api-status", "Mean duration of a probe"): [[0.3]],
    ("api-status", "Mean time of DNS"): [[0.03]],
    ("api-status", "Duration"): [[0.4]],
    ("api-status", "Duration by phase"): [[0.05, 0.1]],
    ("containers", "Uptime"): [[259_200]],
    ("containers", "Containers"): [[2]],
    ("containers", "Disk"): [[80]],
    ("containers", "Memory"): [[75]],
    ("containers", "Swap"): [[3e9]],
    ("containers", "Load"): [[1.5]],
    ("containers", "CPU by container"): [[125]],
    ("containers", "Memory by container"): [[2e8, 3e8]],
    ("containers", "Network by container"): [[100], [50]],
    ("network", "Load"): [[1.5], [1.25], [1.0]],
    ("network", "Traffic"): [[1200], [500]],
    ("network", "In, 24 h"): [[103_680_000]],
    ("network", "Out, 24 h"): [[43_200_000]],
    ("network", "TCP"): [[12], [3], [2]],
    ("network", "UDP"): [[4], [6], [5]],
    ("network", "Connection tracking"): [[100], [65_536]],
}
"""The values of each query, sorted: computed by hand."""

_FIGURES = [(board.id, figure) for board, figure in figures() if board.source == "prometheus"]


def filled(query: str, target: str) -> str:
    """Return a query as Grafana sends it; a range of 60 samples, one a minute."""
    for name, value in (("$target", target), ("$host", ".*"), ("$__range", "3590s")):
        query = query.replace(name, value)
    assert "$" not in query
    return query


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    times = range(BEGIN, NOW + 1, 60)
    write_blocks(folder, {name: {at: value(at) for at in times} for name, value in _MADE.items()})
    with start_prometheus(folder) as running:
        yield running


@pytest.mark.parametrize(
    ("board", "figure"), [pytest.param(*each, id=f"{each[0]} {each[1].title}") for each in _FIGURES]
)
def test_a_figure_has_the_value_of_the_made_up_day(made_up: Prometheus, board: str, figure: Figure) -> None:
    found = [made_up.ask(filled(query.text, _API), NOW) for query in figure.queries]
    values = [sorted(value for _, value in series) for series in found]
    assert values == [pytest.approx(each) for each in EXPECTED[board, figure.title]]
    for query, series in zip(figure.queries, found, strict=True):
        for labels, _ in series:
            assert set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= labels.keys(), "the legend names labels"


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name in the base
        """Log nothing."""


@pytest.fixture
def https(tmp_path: Path) -> Iterator[str]:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-days", "9", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()


_JOBS = """
  - {{job_name: node, static_configs: [{{targets: ["127.0.0.1:{node}"]}}]}}
  - job_name: blackbox
    metrics_path: /probe
    params: {{module: [https]}}
    static_configs: [{{targets: ["{target}"]}}]
    relabel_configs:
      - {{source_labels: [__address__], target_label: __param_target}}
      - {{source_labels: [__param_target], target_label: instance}}
      - {{target_label: __address__, replacement: "127.0.0.1:{blackbox}"}}
"""
_MODULES = "modules: {https: {prober: http, timeout: 5s, http: {tls_config: {insecure_skip_verify: true}}}}"
_CONNTRACK = Path("/proc/sys/net/netfilter/nf_conntrack_count")


def test_real_exporters_have_what_the_figures_ask_for(tmp_path: Path, https: str) -> None:
    node, blackbox = free_port(), free_port()
    (tmp_path / "blackbox.yml").write_text(_MODULES)
    commands = {
        node: ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{node}"],
        blackbox: [
            "prometheus-blackbox-exporter", f"--config.file={tmp_path / 'blackbox.yml'}",
            f"--web.listen-address=127.0.0.1:{blackbox}",
        ],
    }  # fmt: skip
    with ExitStack() as running:
        for port, command in commands.items():
            running.enter_context(started(command, f"http://127.0.0.1:{port}/", tmp_path / f"{port}.log"))
        jobs = _JOBS.format(node=node, blackbox=blackbox, target=https)
        prometheus = running.enter_context(start_prometheus(tmp_path, jobs))
        queries = [query.text for _, figure in _FIGURES for query in figure.queries]
        left = [query for query in queries if "container_" not in query]
        if not _CONNTRACK.exists():
            left = [query for query in left if "conntrack" not in query]
        until = time.monotonic() + 60
        while left := [query for query in left if not prometheus.ask(filled(query, ".*"))]:
            assert time.monotonic() < until, left
            time.sleep(0.3)
        [(labels, success)] = prometheus.ask(filled('probe_success{instance=~"$target"}', https))
        assert (labels["instance"], success) == (https, 1)
        [(_, ends)] = prometheus.ask("probe_ssl_earliest_cert_expiry - time()")
        assert 8.9 * 86_400 < ends < 9 * 86_400
