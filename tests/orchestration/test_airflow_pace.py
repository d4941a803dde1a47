"""The time of an order on Airflow, the rate of accepted orders, and the memory of all idle processes.

`python -m bench airflow` measures longer, with a PostgreSQL that writes to the disk and the CPU shares of the units of
deploy/airflow, and prints the figures; the limits here are for a busy machine.
"""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx2
import psutil
import pytest

from tests.airflow import COMPONENTS, Airflow
from tests.cores import weighed
from tests.maintenance import Program
from tests.orchestration.test_faults_orders import answers, rows, wait

pytestmark = pytest.mark.full
MEASURED = bool(os.environ.get("TEST_PACE_ORDERS"))
ORDERS = int(os.environ.get("TEST_PACE_ORDERS") or 3)
SECONDS = 10 if MEASURED else 1
PER_SECOND = 200
ECHO = "/processes/echo/execution"
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def server(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LANDCAST_")}
    environment = {**clean, **airflow.server_environment(), "LANDCAST_AUTH_OPEN": "yes"}
    log = tmp_path_factory.mktemp("pace") / "server.log"
    program = Program([sys.executable, "-m", "server.cli", "serve"], environment, log)
    program.start()
    try:
        wait(lambda: answers(url_of(airflow)))
        with ExitStack() as weights:
            for name in COMPONENTS if MEASURED else ():
                weights.enter_context(weighed(name, airflow.pid(name)))
            yield program
    finally:
        program.kill()


def url_of(airflow: Airflow) -> str:
    return f"http://{airflow.server_bind}"


def shown(name: str, seconds: list[float], unit: str = "s") -> None:
    ordered = sorted(seconds)
    high = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"{name}: median {statistics.median(ordered):.3f} {unit}, p99 {high:.3f} {unit}, {len(ordered)}")  # noqa: T201


@pytest.mark.usefixtures("server")
def test_an_order_is_executed_within_seconds(airflow: Airflow) -> None:
    with httpx2.Client(base_url=url_of(airflow), timeout=60, trust_env=False) as http:
        took = [done(http, number) for number in range(ORDERS)]
    shown("POST to successful of echo through Airflow", took)
    assert statistics.median(took) < 20


def done(http: httpx2.Client, number: int) -> float:
    begin = time.monotonic()
    job = http.post(ECHO, json={"inputs": {"stringInput": str(number)}}, headers=ASYNC).json()["jobID"]
    while http.get(f"/jobs/{job}", params={"f": "json"}).json()["status"] != "successful":
        assert time.monotonic() - begin < 120
        time.sleep(0.02)
    return time.monotonic() - begin


def test_memory_of_the_idle_processes(airflow: Airflow, server: Program) -> None:
    assert server.process is not None
    leaders = {name: airflow.pid(name) for name in COMPONENTS} | {"landcast serve": server.process.pid}
    sizes = {name: sizes_of(psutil.Process(pid)) for name, pid in leaders.items()}
    for name, several in sizes.items():
        print(f"PSS of {name}: {sum(several):.0f} MB in {len(several)} processes, the largest {max(several):.0f}")  # noqa: T201
    assert max(sizes["landcast serve"]) < 200


def sizes_of(leader: psutil.Process) -> list[float]:
    """Return the proportional set size of a process and its descendants in MB; a process that has ended counts 0."""
    sizes = []
    for each in (leader, *leader.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            sizes.append(each.memory_full_info().pss / 1e6)
    return sizes


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "paused", [True, False] if MEASURED else [True], ids=lambda paused: "waiting" if paused else "running"
)
def test_many_orders_per_second_are_accepted(airflow: Airflow, *, paused: bool) -> None:
    """They wait for a paused DAG; or Airflow runs them on the same cores, and the rest is dismissed afterwards."""
    last = int(str(rows(airflow, "select coalesce(max(number), 0) from jobs")[0][0]))
    airflow.ask("PATCH", "/dags/echo", {"is_paused": paused})
    try:
        took = asyncio.run(ordered(url_of(airflow)))
        assert rows(airflow, "select count(*) from jobs where number > %s", last) == [(SECONDS * PER_SECOND,)]
    finally:
        dismiss(airflow, last)
        airflow.ask("PATCH", "/dags/echo", {"is_paused": False})
    shown(
        f"POST, {PER_SECOND} a second, {'waiting' if paused else 'Airflow at work'}",
        [1000 * each for each in took],
        "ms",
    )


async def ordered(url: str) -> list[float]:
    """Send orders at a constant rate, independent of the answers; return the duration of each."""
    took: list[float] = []
    limits = httpx2.Limits(max_connections=64)

    async def order(http: httpx2.AsyncClient, number: int) -> None:
        begin = time.perf_counter()
        answer = await http.post(ECHO, json={"inputs": {"stringInput": str(number)}}, headers=ASYNC)
        assert answer.status_code == httpx2.codes.CREATED, answer.text
        took.append(time.perf_counter() - begin)

    async with (
        httpx2.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False) as http,
        asyncio.TaskGroup() as all_,
    ):
        begin = time.perf_counter()
        for number in range(SECONDS * PER_SECOND):
            all_.create_task(order(http, number))
            await asyncio.sleep(max(0, begin + (number + 1) / PER_SECOND - time.perf_counter()))
    return took


def dismiss(airflow: Airflow, last: int) -> None:
    """Dismiss the orders like their callers; repeat it if the worker locked the same rows."""
    ended = "update jobs set status = 'dismissed', finished = updated where number > %s and finished is null"
    wait(lambda: not rows(airflow, ended, last))
