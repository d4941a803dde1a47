"""The figures of the dashboards: what each shows, and the query in SQL or PromQL that it comes from.

SQL reads `jobs` and `units` (docs/database.md); times are microseconds since 1970. Grafana replaces `$…` and `${…}`.
"""

# ruff: noqa: S608 - what is put together are constants

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

View = Literal["stat", "series", "bars", "table", "map", "states"]
Source = Literal["postgres", "prometheus"]

FULL, HALF, THIRD, QUARTER = 24, 12, 8, 6
"""Widths in the 24 columns of a dashboard."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query; `legend` names its series by the labels of PromQL."""

    text: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A panel: a figure of the requirements, its queries, and the bounds from which it is a warning and critical."""

    asked: str
    """The figure in the words of the requirements."""
    title: str
    view: View
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = HALF
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard; all its values are chosen at first."""

    name: str
    label: str
    query: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard; its `id` is in its address and the name of its file."""

    id: str
    title: str
    source: Source
    variables: tuple[Variable, ...]
    figures: tuple[Figure, ...]
    since: str = "now-7d"


def _promql(asked: str, title: str, view: View, *queries: tuple[str, str], **more: object) -> Figure:
    return Figure(asked, title, view, tuple(Query(*query) for query in queries), **more)  # type: ignore[arg-type]


def _sql(asked: str, title: str, view: View, query: str, **more: object) -> Figure:
    return Figure(asked, title, view, (Query(query),), **more)  # type: ignore[arg-type]


_OF_SERVICE = "process in (${service:sqlstring})"
_OF_TASK = "coalesce(nullif(task, ''), '-') in (${task:sqlstring})"
_UNITS = f"service in (${{service:sqlstring}}) and {_OF_TASK}"
_ORDERED = "created between ${__from}000 and ${__to}000"
_JOBS = f"from jobs where {_OF_SERVICE} and {_ORDERED}"
_USER = "coalesce(email, owner)"
_SECONDS = "avg(finished - started) / 1e6"
_STATES = """case when state in ('received', 'queued', 'running') then 'received, queued, running'
    when state = 'ready for delivery' then 'success' else state end"""
_DAY = 86_400_000_000

SERVICE = Variable(
    "service", "Service", "select distinct service from units union select distinct process from jobs order by 1"
)
TASK = Variable(
    "task",
    "Task",
    "select coalesce(nullif(task, ''), '-') from units where service in (${service:sqlstring})\n"
    "union select '-' order by 1",
)
"""A production of one task has none; here it is `-`."""

PROCESSING = Dashboard(
    "processing-status",
    "Processing status",
    "postgres",
    (SERVICE, TASK),
    (
        _sql(
            "map of 10 km cells by state",
            "10 km cells by state",
            "map",
            f"select id as cell, longitude, latitude, {_STATES} as state, to_timestamp(updated / 1e6) as changed\n"
            f"from units where kind = 'cell' and {_UNITS} order by id",
            width=16,
        ),
        _sql(
            "progress in per cent of the cells",
            "Progress of the cells",
            "stat",
            "select 100.0 * count(*) filter (where state in ('success', 'ready for delivery')) / nullif(count(*), 0)\n"
            f"    as progress from units where kind = 'cell' and {_UNITS}",
            unit="percent",
            width=THIRD,
        ),
        _sql(
            "number of requests",
            "Requests",
            "stat",
            f"select count(*) as requests {_JOBS} and {_OF_TASK}",
            width=THIRD,
        ),
        _sql(
            "mean duration",
            "Mean duration",
            "stat",
            f"select {_SECONDS} as seconds {_JOBS} and {_OF_TASK} and status = 'successful'",
            unit="s",
            width=THIRD,
        ),
        _sql(
            "requests by user",
            "Requests by user",
            "bars",
            f'select {_USER} as "user", count(*) as requests {_JOBS} and {_OF_TASK}\n'
            "group by 1 order by 2 desc, 1 limit 50",
            width=THIRD,
        ),
        _sql(
            "table of jobs (cell, order, user, received, started, stopped, status, order)",
            "Jobs",
            "table",
            f'select unit as cell, id as "order", {_USER} as "user", to_timestamp(created / 1e6) as received,\n'
            "    to_timestamp(started / 1e6) as started, to_timestamp(finished / 1e6) as stopped, status,\n"
            f"    left(inputs, 500) as inputs {_JOBS} and {_OF_TASK}\n"
            "order by number desc limit 1000",
            width=FULL,
        ),
    ),
)

SYSTEM = Dashboard(
    "system-status",
    "System status",
    "postgres",
    (SERVICE,),
    (
        _sql(
            "units finished, failed, ready for delivery by service",
            "Units by service",
            "table",
            """select service, kind, count(*) as units,
    count(*) filter (where state in ('success', 'ready for delivery')) as finished,
    count(*) filter (where state = 'failed') as failed,
    count(*) filter (where state = 'ready for delivery') as "ready for delivery"
from units where service in (${service:sqlstring}) group by service, kind order by service, kind""",
        ),
        _sql(
            "mean duration",
            "Mean duration by service",
            "bars",
            f"select process as service, {_SECONDS} as seconds {_JOBS} and status = 'successful'\n"
            "    and unit is not null group by process order by process",
            unit="s",
        ),
        _sql(
            "map of units",
            "Units by state",
            "map",
            f"select service, id as unit, longitude, latitude, {_STATES} as state,\n"
            "    to_timestamp(updated / 1e6) as changed from units\n"
            "where kind = 'unit' and service in (${service:sqlstring}) order by service, id",
            width=FULL,
        ),
    ),
)

_NOW = "(extract(epoch from now()) * 1000000)::bigint"
_MEAN = f"(select {_SECONDS} {_JOBS} and status = 'successful')"

USAGE = Dashboard(
    "usage",
    "Usage",
    "postgres",
    (SERVICE,),
    (
        _sql(
            "requests by user",
            "Requests by user",
            "bars",
            f'select {_USER} as "user", count(*) as requests {_JOBS}\ngroup by 1 order by 2 desc, 1 limit 50',
            width=THIRD,
        ),
        _sql(
            "requests by service",
            "Requests by service",
            "bars",
            f"select process as service, count(*) as requests {_JOBS} group by 1 order by 2 desc, 1 limit 50",
            width=THIRD,
        ),
        _sql(
            "requests by state",
            "Requests by state",
            "bars",
            f"select status as state, count(*) as requests {_JOBS} group by 1 order by 2 desc, 1",
            width=THIRD,
        ),
        _sql(
            "open (last 10 days)",
            "Open, ordered in the last 10 days",
            "stat",
            f"select count(*) as open from jobs where finished is null and {_OF_SERVICE}\n"
            f"    and created >= {_NOW} - {10 * _DAY}",
            width=QUARTER,
        ),
        _sql(
            "closed",
            "Closed",
            "stat",
            f"select count(*) as closed from jobs where {_OF_SERVICE}\n"
            "    and finished between ${__from}000 and ${__to}000",
            width=QUARTER,
        ),
        _sql(
            "mean duration",
            "Mean duration",
            "stat",
            f"select {_SECONDS} as seconds {_JOBS} and status = 'successful'",
            unit="s",
            width=QUARTER,
        ),
        _sql(
            "time to finish = mean duration x waiting / running",
            "Time to finish",
            "stat",
            f"select {_MEAN} * count(*) filter (where status = 'accepted')\n"
            f"    / nullif(count(*) filter (where status = 'running'), 0) as seconds\n"
            f"from jobs where finished is null and {_OF_SERVICE}",
            unit="s",
            width=QUARTER,
        ),
        _sql(
            "parallel executions",
            "Parallel executions",
            "series",
            f"""select to_timestamp(at / 1e6) as time, sum(sum(step)) over (order by at) as running from (
    select greatest(started, ${{__from}}000) as at, 1 as step from jobs where {_OF_SERVICE}
        and started <= ${{__to}}000 and (finished is null or finished >= ${{__from}}000)
    union all select finished, -1 from jobs where {_OF_SERVICE}
        and started is not null and finished between ${{__from}}000 and ${{__to}}000) as steps
group by at order by at""",
            width=FULL,
        ),
        _sql(
            "the last 100 failed",
            "The last 100 failed",
            "table",
            f'select id as "order", process as service, {_USER} as "user", to_timestamp(created / 1e6) as received,\n'
            "    to_timestamp(finished / 1e6) as stopped, message as reason from jobs\n"
            f"where status = 'failed' and {_OF_SERVICE} order by finished desc, number desc limit 100",
            width=FULL,
        ),
    ),
)

_TARGET = '{instance=~"$target"}'

API = Dashboard(
    "api-status",
    "API status",
    "prometheus",
    (Variable("target", "Target", "label_values(probe_success, instance)"),),
    (
        _promql(
            "probe success", "Answers", "states", (f"probe_success{_TARGET}", "{{instance}}"), width=FULL, bounds=None
        ),
        _promql(
            "HTTP code",
            "HTTP code",
            "stat",
            (f"probe_http_status_code{_TARGET}", "{{instance}}"),
            width=THIRD,
            unit="none",
        ),
        _promql(
            "HTTP version",
            "HTTP version",
            "stat",
            (f"probe_http_version{_TARGET}", "{{instance}}"),
            width=THIRD,
            unit="none",
        ),
        _promql(
            "TLS",
            "TLS",
            "stat",
            (f"probe_tls_version_info{_TARGET}", "{{instance}} {{version}}"),
            width=THIRD,
            unit="none",
        ),
        _promql(
            "TLS expiry",
            "Certificate ends in",
            "stat",
            (f"probe_ssl_earliest_cert_expiry{_TARGET} - time()", "{{instance}}"),
            unit="s",
            width=THIRD,
        ),
        _promql(
            "mean probe time",
            "Mean duration of a probe",
            "stat",
            (f"avg_over_time(probe_duration_seconds{_TARGET}[$__range])", "{{instance}}"),
            unit="s",
            width=THIRD,
        ),
        _promql(
            "mean DNS time",
            "Mean time of DNS",
            "stat",
            (f"avg_over_time(probe_dns_lookup_time_seconds{_TARGET}[$__range])", "{{instance}}"),
            unit="s",
            width=THIRD,
        ),
        _promql("duration whole", "Duration", "series", (f"probe_duration_seconds{_TARGET}", "{{instance}}"), unit="s"),
        _promql(
            "duration by phase",
            "Duration by phase",
            "series",
            (f"probe_http_duration_seconds{_TARGET}", "{{instance}} {{phase}}"),
            unit="s",
        ),
    ),
    since="now-24h",
)

_HOST = '{instance=~"$host"}'
_ROOT = '{instance=~"$host",mountpoint="/"}'
_CONTAINER = '{name!=""}'
_HOSTS = Variable("host", "Host", "label_values(node_uname_info, instance)")


def _per_container(metric: str, *, rate: bool = True) -> str:
    series = f"{metric}{_CONTAINER}"
    return f"sum by (name) (rate({series}[5m]))" if rate else f"sum by (name) ({series})"


CONTAINERS = Dashboard(
    "containers",
    "Containers",
    "prometheus",
    (_HOSTS,),
    (
        _promql(
            "uptime",
            "Uptime",
            "stat",
            (f"time() - node_boot_time_seconds{_HOST}", "{{instance}}"),
            unit="s",
            width=QUARTER,
        ),
        _promql("count", "Containers", "stat", (f"count(container_last_seen{_CONTAINER})", ""), width=QUARTER),
        _promql(
            "disk (75/90 %)",
            "Disk",
            "stat",
            (f"100 - 100 * node_filesystem_avail_bytes{_ROOT} / node_filesystem_size_bytes{_ROOT}", "{{instance}}"),
            unit="percent",
            width=QUARTER,
            bounds=(75, 90),
        ),
        _promql(
            "memory (70/90 %)",
            "Memory",
            "stat",
            (f"100 - 100 * node_memory_MemAvailable_bytes{_HOST} / node_memory_MemTotal_bytes{_HOST}", "{{instance}}"),
            unit="percent",
            width=QUARTER,
            bounds=(70, 90),
        ),
        _promql(
            "swap",
            "Swap",
            "series",
            (f"node_memory_SwapTotal_bytes{_HOST} - node_memory_SwapFree_bytes{_HOST}", "{{instance}}"),
            unit="bytes",
        ),
        _promql("load", "Load", "series", (f"node_load1{_HOST}", "{{instance}}")),
        _promql(
            "per container CPU",
            "CPU by container",
            "series",
            (f"100 * {_per_container('container_cpu_usage_seconds_total')}", "{{name}}"),
            unit="percent",
        ),
        _promql(
            "per container memory",
            "Memory by container",
            "series",
            (_per_container("container_memory_working_set_bytes", rate=False), "{{name}}"),
            unit="bytes",
        ),
        _promql(
            "per container network",
            "Network by container",
            "series",
            (_per_container("container_network_receive_bytes_total"), "{{name}} in"),
            (_per_container("container_network_transmit_bytes_total"), "{{name}} out"),
            unit="Bps",
            width=FULL,
        ),
    ),
    since="now-24h",
)

_DEVICES = '{instance=~"$host",device!~"lo|veth.*"}'


def _moved(direction: str, span: str, function: str) -> str:
    return f"sum by (instance) ({function}(node_network_{direction}_bytes_total{_DEVICES}[{span}]))"


NETWORK = Dashboard(
    "network",
    "Network",
    "prometheus",
    (_HOSTS,),
    (
        _promql(
            "load",
            "Load",
            "series",
            *((f"node_load{minutes}{_HOST}", f"{{{{instance}}}} {minutes} min") for minutes in (1, 5, 15)),
        ),
        _promql(
            "traffic",
            "Traffic",
            "series",
            (_moved("receive", "5m", "rate"), "{{instance}} in"),
            (_moved("transmit", "5m", "rate"), "{{instance}} out"),
            unit="Bps",
        ),
        _promql("24 h in", "In, 24 h", "stat", (_moved("receive", "24h", "increase"), "{{instance}}"), unit="bytes"),
        _promql("24 h out", "Out, 24 h", "stat", (_moved("transmit", "24h", "increase"), "{{instance}}"), unit="bytes"),
        _promql(
            "TCP",
            "TCP",
            "series",
            (f"node_netstat_Tcp_CurrEstab{_HOST}", "{{instance}} established"),
            (f"node_sockstat_TCP_tw{_HOST}", "{{instance}} time wait"),
            (f"rate(node_netstat_Tcp_RetransSegs{_HOST}[5m])", "{{instance}} segments sent again a second"),
            width=THIRD,
        ),
        _promql(
            "UDP",
            "UDP",
            "series",
            (f"node_sockstat_UDP_inuse{_HOST}", "{{instance}} sockets"),
            (f"rate(node_netstat_Udp_InDatagrams{_HOST}[5m])", "{{instance}} in a second"),
            (f"rate(node_netstat_Udp_OutDatagrams{_HOST}[5m])", "{{instance}} out a second"),
            width=THIRD,
        ),
        _promql(
            "connection tracking",
            "Connection tracking",
            "series",
            (f"node_nf_conntrack_entries{_HOST}", "{{instance}} entries"),
            (f"node_nf_conntrack_entries_limit{_HOST}", "{{instance}} limit"),
            width=THIRD,
        ),
    ),
    since="now-24h",
)

BOARDS = (API, PROCESSING, SYSTEM, USAGE, CONTAINERS, NETWORK)


def figures() -> Iterator[tuple[Dashboard, Figure]]:
    """Yield each figure with its dashboard."""
    for board in BOARDS:
        for figure in board.figures:
            yield board, figure
