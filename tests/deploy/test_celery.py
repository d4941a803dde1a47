"""Airflow with Celery as deploy/airflow/celery.env sets it up: real RabbitMQ, PostgreSQL and workers."""

import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, suppress

import psutil
import pytest

from tests.airflow import Airflow, start_airflow
from tests.orchestration.played_services import PlayedServices, Reply
from tests.rabbitmq import RabbitMQ
from tests.server.test_airflow_orders import Counter, counting, wait

pytestmark = [pytest.mark.full, pytest.mark.xdist_group("airflow")]
ECHOES = "echoes_of_the_test"
SERVICE = "clc_prod_sample_extraction_service"


@pytest.fixture(scope="module")
def celery(rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    folder = tmp_path_factory.mktemp("celery")
    with start_airflow(folder, rabbitmq.url, LANDCAST_AIRFLOW_QUEUE_PROD_ECHO=ECHOES) as running:
        yield running


@pytest.fixture(scope="module")
def counter(celery: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    more = {
        "LANDCAST_AIRFLOW_OPERATOR": "operator",
        "LANDCAST_AIRFLOW_OPERATOR_PASSWORD": celery.operator_password,
    }
    with counting(celery, tmp_path_factory.mktemp("counter") / "log", **more) as made:
        yield made


def worker(airflow: Airflow, name: str, *queues: str) -> None:
    """Start a worker for these queues; it is ready when its first task has finished."""
    options = ("--skip-serve-logs", "--celery-hostname", f"{name}@localhost", "--queues", ",".join(queues))
    airflow.start(name, "celery", "worker", *options)


def test_new_dags_are_reported_as_paused_until_they_are_unpaused(celery: Airflow, counter: Counter) -> None:
    assert counter.check("dags") == "paused"
    refused = counter.run("airflow", "check")
    assert refused.returncode == 1
    assert "the DAG echo is paused in Airflow" in refused.stderr
    waiting = counter.order(stringInput="waits")
    wait(lambda: counter.job(waiting)["message"] == "Waits: the DAG echo is paused in Airflow.")
    counter.http.delete(f"/jobs/{waiting}")
    done = counter.run("airflow", "unpause")
    assert done.returncode == 0, done.stderr
    assert {"echo: runs", "extract-product-testing: runs", "apply-model: runs"} <= set(done.stdout.splitlines())
    assert celery.ask("GET", "/dags/echo")["is_paused"] is False
    wait(lambda: "dags" not in counter.http.get("/health/ready").json()["checks"])
    assert counter.run("airflow", "pause", "count-words").stdout == "count-words: paused\n"
    absent = counter.run("airflow", "unpause", "count-words", "nothing")
    assert (absent.returncode, absent.stdout) == (1, "count-words: runs\n")
    assert "Airflow has no DAG nothing" in absent.stderr


def test_an_order_waits_for_a_worker_of_its_queue_and_a_service_s_connection_comes_from_a_secret(
    celery: Airflow, counter: Counter
) -> None:
    with closing(PlayedServices(lambda asked: Reply({"login": asked.headers["Authorization"]}))) as played:
        address = played.url.replace("://", "://user:p%40ss@")
        counter.environment["LANDCAST_AIRFLOW_CONNECTIONS"] = f"{SERVICE}={address}\n"
        assert counter.run("airflow", "connections").stdout == f"{SERVICE}: made\n"
        assert counter.run("airflow", "connections").stdout == f"{SERVICE}: replaced\n"
        job_id = counter.extract(["33UXP"])
        worker(celery, "echoes", ECHOES)
        counter.comes_to(counter.order(stringInput="x"), "successful")
        assert counter.job(job_id)["status"] in ("accepted", "running"), "its worker does not listen to that queue"
        worker(celery, "services", "clc_prod_sample_extract_queue")
        counter.comes_to(job_id, "successful")
        celery.kill("services")
        celery.kill("echoes")
    login = b64encode(b"user:p@ss").decode()
    assert counter.http.get(f"/jobs/{job_id}/results").json() == [{"login": f"Basic {login}"}]


@pytest.fixture
def two_workers(celery: Airflow) -> Iterator[tuple[str, str]]:
    names = ("first", "second")
    for name in names:
        worker(celery, name, ECHOES)
    yield names
    for name in names:
        if celery.lives(name):
            celery.kill(name)


def test_all_orders_are_done_within_minutes_though_a_worker_is_killed_among_them(
    celery: Airflow, counter: Counter, two_workers: tuple[str, str]
) -> None:
    begin = time.monotonic()
    texts = {counter.order(stringInput=str(number), pause=0.5): str(number) for number in range(50)}
    left = set(texts)

    def done() -> int:
        for job_id in sorted(left):
            if (status := counter.job(job_id)["status"]) not in ("accepted", "running"):
                assert status == "successful", counter.job(job_id)
                left.remove(job_id)
        return 50 - len(left)

    wait(lambda: done() >= 5, 240)
    victim, _ = two_workers
    wait(lambda: _steps_of(celery, victim))
    celery.kill(victim)
    assert len(left) > 10, "it is killed among them"
    wait(lambda: done() == 50, 300 - (time.monotonic() - begin))
    assert {job_id: counter.http.get(f"/jobs/{job_id}/results").json() for job_id in texts} == texts


def _steps_of(airflow: Airflow, name: str) -> list[psutil.Process]:
    """Return the processes of our own Python that a worker's tasks have started."""
    found = []
    for process in psutil.Process(airflow.pid(name)).children(recursive=True):
        with suppress(psutil.Error):
            found += [process] if process.cmdline()[:1] == [sys.executable] else []
    return found
