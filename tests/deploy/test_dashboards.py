"""The dashboards are those that the code makes, have every figure, and show the right values of made-up weeks."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from deploy.grafana.figures import BOARDS, SERVICE, TASK, Figure, figures
from deploy.grafana.make import DASHBOARDS, PAGE, dashboards, page_of
from tests.postgres import Postgres

ASKED = {
    "API status": (
        "probe success", "HTTP code", "HTTP version", "TLS", "TLS expiry", "duration whole", "duration by phase",
        "mean probe time", "mean DNS time",
    ),
    "Processing status": (
        "map of 10 km cells by state", "progress in per cent of the cells", "number of requests", "mean duration",
        "requests by user", "table of jobs (cell, order, user, received, started, stopped, status, order)",
    ),
    "System status": ("units finished, failed, ready for delivery by service", "map of units", "mean duration"),
    "Usage": (
        "requests by user", "requests by service", "requests by state", "open (last 10 days)", "closed",
        "parallel executions", "mean duration", "time to finish = mean duration x waiting / running",
        "the last 100 failed",
    ),
    "Containers": (
        "uptime", "count", "disk (75/90 %)", "memory (70/90 %)", "swap", "load", "per container CPU",
        "per container memory", "per container network",
    ),
    "Network": ("load", "traffic", "24 h in", "24 h out", "TCP", "UDP", "connection tracking"),
}  # fmt: skip
"""What an operator asked for, by dashboard."""

WEEK = datetime(2026, 6, 1, tzinfo=UTC)
EVERY = ("apply-model", "extract-product", "sample-extraction")
_MADE = """
set landcast.owner = '*';
insert into units (service, task, id, kind, longitude, latitude, updated)
    select 'apply-model', '2024', 'C' || n, 'cell', 10 + n, 50, 0 from generate_series(1, 8) as n
    union all values ('apply-model', '', 'U1', 'unit', 1, 2, 0), ('sample-extraction', '', 'U2', 'unit', 3, 4, 0);
insert into jobs (id, owner, email, process, status, unit, task, created, started, finished, message, inputs, response,
        updated)
    select id, owner, email, process, status, unit,
        case when unit like 'C%' then '2024' when unit is not null then '' end,
        at(created), at(started), at(finished), 'why', '{"n": 1}', 'raw', at(created)
    from (values
        ('a', 'iss|1', 'ann@x', 'apply-model', 'successful', 'C1', 0, 1, 3),
        ('b', 'iss|1', 'ann@x', 'apply-model', 'successful', 'C2', 24, 25, 29),
        ('c', 'iss|bob', null, 'apply-model', 'failed', 'C3', 48, 49, 50),
        ('d', 'iss|bob', null, 'apply-model', 'running', 'C4', 72, 73, null),
        ('e', 'iss|1', 'ann@x', 'apply-model', 'accepted', 'C5', 96, null, null),
        ('f', 'iss|3', 'cid@x', 'extract-product', 'successful', null, 2, 2, 8),
        ('g', 'iss|3', 'cid@x', 'extract-product', 'dismissed', null, 5, null, 6),
        ('h', 'iss|1', 'ann@x', 'apply-model', 'successful', 'C6', -24, -23, 2),
        ('i', 'iss|1', 'ann@x', 'apply-model', 'successful', null, 400, 401, 402),
        ('j', 'iss|bob', null, 'apply-model', 'accepted', 'U1', 100, null, null),
        ('k', 'iss|bob', null, 'sample-extraction', 'successful', 'U2', 10, 11, 12)
    ) as made (id, owner, email, process, status, unit, created, started, finished);
insert into jobs (id, owner, process, status, created, started, inputs, response, updated)
    select 'now ' || days, 'iss|1', 'echo', status, present - days * 86400000000, null, '{}', 'raw', present
    from (values (0, 'accepted'), (9, 'running'), (11, 'accepted')) as made (days, status),
        (select (extract(epoch from now()) * 1000000)::bigint as present) as clock;
insert into jobs (id, owner, process, status, created, finished, inputs, response, updated)
    select 'failed ' || n, 'iss|1', 'echo', 'failed', n, n, '{}', 'raw', n from generate_series(1, 105) as n;
update units set state = 'ready for delivery' where id = 'C8';
"""
"""Hours since the begin of the first week."""
_AT = "(extract(epoch from timestamptz '2026-06-01 00:00+00') * 1000000)::bigint + {}::bigint * 3600000000"


def after(hours: int) -> datetime:
    return WEEK + timedelta(hours=hours)


def ms(hours: int) -> int:
    return round(after(hours).timestamp() * 1000)


_JOBS = [
    ("C5", "e", "ann@x", after(96), None, None, "accepted", '{"n": 1}'),
    ("C4", "d", "iss|bob", after(72), after(73), None, "running", '{"n": 1}'),
    ("C3", "c", "iss|bob", after(48), after(49), after(50), "failed", '{"n": 1}'),
    ("C2", "b", "ann@x", after(24), after(25), after(29), "successful", '{"n": 1}'),
    ("C1", "a", "ann@x", after(0), after(1), after(3), "successful", '{"n": 1}'),
]
_WORK = "received, queued, running"
_CELLS = [("C1", 11, "success"), ("C2", 12, "success"), ("C3", 13, "failed"), ("C4", 14, _WORK), ("C5", 15, _WORK),
    ("C6", 16, "success"), ("C7", 17, "not started"), ("C8", 18, "success")]  # fmt: skip
_STEPS = [(0, 1), (1, 2), (2, 1), (3, 0), (25, 1), (29, 0), (49, 1), (50, 0), (73, 1)]
_FAILED = [(f"failed {n}", "echo", "iss|1") for n in range(105, 5, -1)]

EXPECTED: dict[tuple[str, str], tuple[tuple[str, ...], list[tuple[Any, ...]]]] = {
    ("processing-status", "10 km cells by state"): (("apply-model",), _CELLS),
    ("processing-status", "Progress of the cells"): (("apply-model",), [(50,)]),
    ("processing-status", "Requests"): (("apply-model",), [(5,)]),
    ("processing-status", "Mean duration"): (("apply-model",), [(10_800,)]),
    ("processing-status", "Requests by user"): (("apply-model",), [("ann@x", 3), ("iss|bob", 2)]),
    ("processing-status", "Jobs"): (("apply-model",), _JOBS),
    ("system-status", "Units by service"): (EVERY, [
        ("apply-model", "cell", 8, 4, 1, 1), ("apply-model", "unit", 1, 0, 0, 0),
        ("sample-extraction", "unit", 1, 1, 0, 0)]),
    ("system-status", "Mean duration by service"): (EVERY, [("apply-model", 10_800), ("sample-extraction", 3600)]),
    ("system-status", "Units by state"): (EVERY, [
        ("apply-model", "U1", 1, 2, _WORK), ("sample-extraction", "U2", 3, 4, "success")]),
    ("usage", "Requests by user"): (EVERY, [("iss|bob", 4), ("ann@x", 3), ("cid@x", 2)]),
    ("usage", "Requests by service"): (EVERY, [("apply-model", 6), ("extract-product", 2), ("sample-extraction", 1)]),
    ("usage", "Requests by state"): (EVERY, [
        ("successful", 4), ("accepted", 2), ("dismissed", 1), ("failed", 1), ("running", 1)]),
    ("usage", "Open, ordered in the last 10 days"): (("echo",), [(2,)]),
    ("usage", "Closed"): (EVERY, [(7,)]),
    ("usage", "Mean duration"): (EVERY, [(11_700,)]),
    ("usage", "Time to finish"): (("apply-model",), [(21_600,)]),
    ("usage", "Parallel executions"): (("apply-model",), [(after(h), n) for h, n in _STEPS]),
    ("usage", "The last 100 failed"): (("echo",), _FAILED),
}  # fmt: skip
"""The services that are chosen, and the rows: computed by hand; of some columns, in their order, see KEPT."""

KEPT = {
    "10 km cells by state": (0, 1, 3), "Units by state": (0, 1, 2, 3, 4), "The last 100 failed": (0, 1, 2),
}  # fmt: skip


@pytest.fixture(scope="module")
def monitor(postgres: Postgres) -> Iterator[str]:
    """Return a database with made-up weeks, as Grafana's user sees it."""
    made = postgres.migrated()
    statement = _MADE
    for name in ("created", "started", "finished"):
        statement = statement.replace(f"at({name})", _AT.format(name))
    postgres.run(made, statement)
    name = "test_grafana"
    postgres.run(postgres.url, f"drop role if exists {name}")
    postgres.run(postgres.url, f"create role {name} login password 'x' in role landcast_monitor")
    parts = urlsplit(made)
    yield urlunsplit(parts._replace(netloc=f"{name}:x@{parts.hostname}:{parts.port}"))
    postgres.run(postgres.url, f"drop role {name}")
    postgres.give_back(made)


def filled(query: str, services: tuple[str, ...], tasks: tuple[str, ...]) -> str:
    """Return a query as Grafana sends it."""
    for name, values in (("service", services), ("task", tasks)):
        query = query.replace(f"${{{name}:sqlstring}}", ",".join(f"'{value}'" for value in values))
    query = query.replace("${__from}", str(ms(0))).replace("${__to}", str(ms(24 * 14)))
    assert "$" not in query
    return query


def test_the_committed_dashboards_and_their_table_are_the_made_ones() -> None:
    made = dict(dashboards())
    assert {path.name: path.read_text() for path in DASHBOARDS.glob("*")} == made, "run `make dashboards`"
    assert page_of(PAGE.read_text()) == PAGE.read_text(), "run `make dashboards`"


def test_every_figure_has_its_panel() -> None:
    found = {board.title: {figure.asked for figure in board.figures} for board in BOARDS}
    assert found == {title: set(asked) for title, asked in ASKED.items()}
    documents = {each["title"]: each for each in (json.loads(text) for _, text in dashboards())}
    for board, figure in figures():
        panels = [each for each in documents[board.title]["panels"] if each["title"] == figure.title]
        sent = [each.get("rawSql") or each.get("expr") for each in panels[0]["targets"]]
        assert (len(panels), sent) == (1, [query.text for query in figure.queries])
        assert panels[0]["datasource"]["uid"] == board.source


def test_maps_have_no_layer_from_outside() -> None:
    maps = [panel for _, text in dashboards() for panel in json.loads(text)["panels"] if panel["type"] == "geomap"]
    assert len(maps) == 2
    for each in maps:
        assert each["options"]["basemap"] == {
            "type": "geojson", "name": "countries", "config": {"src": "public/maps/countries.geojson"},
        }  # fmt: skip
        assert [layer["type"] for layer in each["options"]["layers"]] == ["markers"]
    assert not [name for name, text in dashboards() if "://" in text]


def test_limits_are_those_that_were_asked_for() -> None:
    documents = {name: json.loads(text) for name, text in dashboards()}
    steps = {
        panel["title"]: [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        for panel in documents["containers.json"]["panels"]
        if panel["title"] in {"Disk", "Memory"}
    }
    assert steps == {"Disk": [None, 75, 90], "Memory": [None, 70, 90]}


def test_the_choices_are_the_services_and_tasks_that_there_are(postgres: Postgres, monitor: str) -> None:
    assert [row[0] for row in postgres.run(monitor, SERVICE.query)] == [
        *("apply-model", "echo", "extract-product", "sample-extraction")
    ]
    assert postgres.run(monitor, filled(TASK.query, ("apply-model",), ())) == [("-",), ("2024",)]


@pytest.mark.parametrize(
    ("board", "figure"),
    [pytest.param(board.id, figure, id=figure.title) for board, figure in figures() if board.source == "postgres"],
)
def test_a_figure_of_orders_has_the_value_of_the_made_up_weeks(
    postgres: Postgres, monitor: str, board: str, figure: Figure
) -> None:
    services, expected = EXPECTED[board, figure.title]
    tasks = ("2024",) if board == "processing-status" else ()
    rows = postgres.run(monitor, filled(figure.queries[0].text, services, tasks))
    columns = KEPT.get(figure.title)
    assert [tuple(row[each] for each in columns) if columns else row for row in rows] == expected
