"""Orders over HTTP while every involved process is killed: each is executed and published once.

`make faults` runs it with 200 orders and prints the results.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx2
import psycopg2
import pytest

from tests.airflow import COMPONENTS, Airflow
from tests.maintenance import Program, Restarter, Unit, restarting
from tests.orchestration.receivers import Receiver

pytestmark = pytest.mark.long
ORDERS = int(os.environ.get("TEST_FAULTS_ORDERS", "20"))
KILLED = ("web", "worker", "reconciler", "scheduler", "api-server", "PostgreSQL")
AREA = "POLYGON((23.80 52.68, 23.90 52.68, 23.90 52.75, 23.80 52.75, 23.80 52.68))"
PAUSE = max(3.0, ORDERS / 20)
"""Seconds between one's death and the next one's."""
_END = 300 + 3 * ORDERS
"""Seconds until all must be done, on a machine that does much else."""
_WEB = """
from pathlib import Path
from server.environment import read_settings
from server.logs import start_logging
from server.supervise import listen
from server.web import serve_web
start_logging(level="INFO", form="json")
settings = read_settings()
socket = listen(settings.server.bind)
serve_web(settings, Path("pygeoapi-config.yml"), socket=socket.fileno())
"""
# Each change of an order to `successful`, as the database itself saw it committed.
_AUDIT = """
create table audit (id text not null, attempt integer not null);
create function note() returns trigger language plpgsql as
    $$ begin insert into audit values (new.id, new.attempt); return null; end $$;
create trigger audit after update on jobs for each row
    when (new.status = 'successful' and old.status <> 'successful') execute function note();
"""
_NO_AUDIT = "drop trigger audit on jobs; drop function note; drop table audit;"


class Component:
    """A process of Airflow that is restarted when it ends."""

    def __init__(self, airflow: Airflow, name: str) -> None:
        self._airflow, self._name = airflow, name

    def start(self) -> None:
        self._airflow.start(self._name)

    def kill(self) -> None:
        self._airflow.kill(self._name)

    def lives(self) -> bool:
        return self._airflow.lives(self._name)


class Orders:
    """Sends orders of echo and products from several clients, each repeated until it is accepted."""

    def __init__(self, url: str, receiver: str) -> None:
        self._http = httpx2.Client(base_url=url, timeout=20, trust_env=False)
        self._receiver = receiver
        self._begin = time.monotonic()
        self.taken: dict[str, int] = {}
        self.refused: Counter[str] = Counter()

    def order(self, number: int) -> None:
        """Send each order at its time, while one component after the other is killed."""
        time.sleep(max(0.0, self._begin + number * len(KILLED) * PAUSE / ORDERS - time.monotonic()))
        process, inputs = self._wanted(number)
        body = {"inputs": inputs, "subscriber": {"successUri": f"{self._receiver}/{number}"}}
        until = time.monotonic() + _END
        while time.monotonic() < until:
            try:
                answer = self._http.post(
                    f"/processes/{process}/execution", json=body, headers={"Prefer": "respond-async"}
                )
            except httpx2.TransportError as error:
                self.refused[type(error).__name__] += 1
            else:
                if answer.status_code == httpx2.codes.CREATED:
                    self.taken[answer.json()["jobID"]] = number
                    return
                assert answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE, answer.text
                self.refused["503"] += 1
            time.sleep(0.3)

    def _wanted(self, number: int) -> tuple[str, dict[str, object]]:
        if number % 10 == 0:
            return "extract-product", {"product": "Raster", "aoi": AREA}
        return "echo", {"stringInput": f"order {number}", "pause": number % 3 / 2}

    def result(self, job: str) -> httpx2.Response:
        return self._http.get(f"/jobs/{job}/results")

    def close(self) -> None:
        self._http.close()


def rows(airflow: Airflow, statement: str, *parameters: int) -> list[tuple[object, ...]]:
    """Query the database, once it is available."""
    with closing(psycopg2.connect(airflow.database_url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("set landcast.owner = '*'")
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def audited(airflow: Airflow) -> Iterator[int]:
    """Make the database record every publication; yield the number of the last order before."""
    rows(airflow, _AUDIT)
    try:
        yield int(str(rows(airflow, "select coalesce(max(number), 0) from jobs")[0][0]))
    finally:
        wait(lambda: not rows(airflow, _NO_AUDIT))


@contextmanager
def running(airflow: Airflow, folder: Path) -> Iterator[Restarter]:
    """Run server and worker beside Airflow; each process is restarted when it ends."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LANDCAST_")}
    more = {"LANDCAST_AUTH_OPEN": "yes", "LANDCAST_SERVER_WORKERS": "1", "LANDCAST_CALLBACKS_PAUSE": "1"}
    environment = {**clean, **airflow.server_environment(), **more}
    web = Program([sys.executable, "-c", _WEB], environment, folder / "web.log")
    worker = Program([sys.executable, "-m", "server.cli", "work"], environment, folder / "worker.log")
    components: dict[str, Unit] = {name: Component(airflow, name) for name in COMPONENTS}
    units: dict[str, Unit] = {"web": web, "worker": worker, "PostgreSQL": airflow.cluster, **components}
    for program in (web, worker):
        program.start()
    try:
        with restarting(units) as restarter:
            yield restarter
    finally:
        for program in (web, worker):
            program.kill()


def kill_each(restarter: Restarter) -> None:
    """Kill the components one after the other."""
    for name in KILLED:
        time.sleep(PAUSE)
        if name == "reconciler":
            worker = restarter.units["worker"]
            assert isinstance(worker, Program)
            worker.kill_alone()
        else:
            restarter.units[name].kill()


def wait(holds: Callable[[], bool], seconds: float = _END) -> None:
    until = time.monotonic() + seconds
    while True:
        with suppress(psycopg2.OperationalError):
            if holds():
                return
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.3)


@pytest.mark.full
def test_every_order_is_published_once_although_processes_are_killed(airflow: Airflow, tmp_path: Path) -> None:
    begin = time.monotonic()
    receiver = Receiver(lambda _: 204)
    with audited(airflow) as last, running(airflow, tmp_path) as restarter:
        wait(lambda: answers(f"http://{airflow.server_bind}"))
        orders = Orders(f"http://{airflow.server_bind}", receiver.url)
        with ThreadPoolExecutor(9) as pool:
            killing = pool.submit(kill_each, restarter)
            list(pool.map(orders.order, range(ORDERS)))
            killing.result()
        wait(lambda: not rows(airflow, "select 1 from jobs where number > %s and finished is null", last))
        took = time.monotonic() - begin
        ended = Counter(str(row[0]) for row in rows(airflow, "select status from jobs where number > %s", last))
        assert set(ended) == {"successful"}, ended
        assert ended["successful"] >= ORDERS == len(orders.taken)
        published = Counter(str(row[0]) for row in rows(airflow, "select id from audit"))
        assert set(published.values()) == {1}
        assert published.keys() >= orders.taken.keys()
        for job, number in orders.taken.items():
            check_result(orders.result(job), number)
        attempts = Counter(
            int(str(row[0])) for row in rows(airflow, "select attempt from jobs where number > %s", last)
        )
        wait(lambda: callback_ids(receiver).keys() >= set(range(ORDERS)), 120)
        wait(airflow_is_well(airflow))
    check_callbacks(receiver, published)
    lines = [line for line in (tmp_path / "worker.log").read_text().splitlines() if '"result published"' in line]
    assert Counter(json.loads(line)["job"] for line in lines).keys() <= published.keys()
    assert len(lines) == len({json.loads(line)["job"] for line in lines})
    assert all(count >= 1 for name, count in restarter.ended.items() if name != "dag-processor"), restarter.ended
    orders.close()
    receiver.close()
    print(  # noqa: T201
        f"{ORDERS} orders in {took:.0f} s; ended {restarter.ended}; attempts {dict(attempts)}; orders refused at first "
        f"{dict(orders.refused)}; orders accepted without an answer {ended['successful'] - ORDERS}; "
        f"callbacks {len(receiver.taken)}"
    )


def answers(url: str) -> bool:
    try:
        checks = httpx2.get(f"{url}/health/ready", timeout=20, trust_env=False).json()["checks"]
    except httpx2.TransportError:
        return False
    return bool(checks["worker"]["status"] == checks["airflow"]["status"] == "ok")


def airflow_is_well(airflow: Airflow) -> Callable[[], bool]:
    return lambda: not airflow._missing()


def check_result(answer: httpx2.Response, number: int) -> None:
    assert answer.status_code == httpx2.codes.OK
    if number % 10:
        assert answer.json() == f"order {number}"
    else:
        assert answer.content[:2] == b"PK"


def callback_ids(receiver: Receiver) -> dict[int, set[str]]:
    """Return the ids of the callbacks that each order's receiver got."""
    found: dict[int, set[str]] = {}
    for path, headers, _ in list(receiver.taken):
        found.setdefault(int(path.strip("/")), set()).add(headers["webhook-id"])
    return found


def check_callbacks(receiver: Receiver, published: Counter[str]) -> None:
    """Each order has one callback: one repeated after a crash has the same id, by which a receiver recognizes it."""
    ids = [message for messages in callback_ids(receiver).values() for message in messages]
    assert len(ids) == len(set(ids))
    assert {message.split("_")[2] for message in ids} <= published.keys()
    assert len(ids) <= len(published)
