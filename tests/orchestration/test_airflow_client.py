"""The client of Airflow's API with a stand-in, for rare answers."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from orchestration.errors import WorkflowRefused, WorkflowUnavailable
from orchestration.runners.airflow.client import Airflow, RunSeen, TaskSeen
from orchestration.runners.airflow.condition import AWAY, IDLE, SHUT, examine
from orchestration.services import LACKING, LACKS
from tests.orchestration.played_airflow import PlayedAirflow, playing_airflow, task
from tests.ports import free_port

RUN = "6f2b4c1e-0000-4000-8000-000000000000.1"


@pytest.fixture
def played() -> Iterator[PlayedAirflow]:
    with playing_airflow() as made:
        yield made


@pytest.fixture
def client(played: PlayedAirflow) -> Iterator[Airflow]:
    with closing(Airflow(played.access(timeout=0.5))) as made:
        yield made


def test_a_run_is_started_read_and_ended(played: PlayedAirflow, client: Airflow) -> None:
    assert client.submit(dag="echo", run=RUN, conf={"a": 1})
    assert played.confs == [{"a": 1}]
    assert client.run(dag="echo", run=RUN) == RunSeen("queued")
    assert client.active(["echo"]) == {RUN: RunSeen("queued")}
    client.fail(dag="echo", run=RUN)
    assert client.run(dag="echo", run=RUN) == RunSeen("failed")
    assert client.active(["echo"]) == {}
    assert client.run(dag="echo", run="another") is None


def test_an_existing_run_is_not_started_again(played: PlayedAirflow, client: Airflow) -> None:
    client.submit(dag="echo", run=RUN, conf={})
    assert not client.submit(dag="echo", run=RUN, conf={})
    assert len(played.confs) == 1


def test_tasks_have_their_state(played: PlayedAirflow, client: Airflow) -> None:
    played.tasks = [task("a", "success"), task("b", None, tries=0), task("c", "up_for_retry", number=2)]
    tasks = client.tasks(dag="echo", run=RUN)
    assert tasks == (
        TaskSeen("a", -1, "success", 1),
        TaskSeen("b", -1, "none", 0),
        TaskSeen("c", 2, "up_for_retry", 1),
    )
    assert [each.is_over for each in tasks] == [True, False, False]


def test_one_token_serves_many_requests_and_is_renewed_before_its_end(played: PlayedAirflow, client: Airflow) -> None:
    for _ in range(3):
        client.is_scheduling()
    assert played.logins == 1
    played.life = 1.2
    client._token.refuse(client._token())
    client.is_scheduling()
    time.sleep(0.4)
    client.is_scheduling()
    assert played.logins == 3
    assert [status for status in played.asked if "/auth/token" in status] == ["POST /auth/token"] * 3


@pytest.mark.parametrize(
    "refusal", [(401, {"detail": "Token Expired"}), (403, {"detail": "Invalid JWT token"}), (401, b"")]
)
def test_a_refused_token_is_renewed_once(played: PlayedAirflow, client: Airflow, refusal: tuple[int, object]) -> None:
    client.is_scheduling()
    played.mood = [refusal]
    assert client.is_scheduling()
    assert played.logins == 2
    played.mood = [refusal, refusal]
    with pytest.raises(WorkflowRefused):
        client.is_scheduling()
    assert played.logins == 3


def test_other_refusals_do_not_renew_the_token(played: PlayedAirflow, client: Airflow) -> None:
    played.mood = [(403, {"detail": "Forbidden"})]
    with pytest.raises(WorkflowRefused, match="403 Forbidden"):
        client.is_scheduling()
    assert played.logins == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        (200, b"<html>a proxy's own words</html>"),
        (200, {"detail": "something else"}),
        (200, []),
        (404, b"<html>no such page</html>"),
        (502, b"bad gateway"),
        (500, {"detail": "x"}),
        (429, {}),
    ],
)
def test_an_invalid_answer_does_not_mean_a_missing_run(
    played: PlayedAirflow, client: Airflow, nonsense: tuple[int, object]
) -> None:
    """A page of a proxy must not be read as Airflow's answer that a run does not exist."""
    played.runs["echo", RUN] = "running"
    played.mood = [nonsense]
    with pytest.raises(WorkflowUnavailable) as error:
        client.run(dag="echo", run=RUN)
    assert error.value.reached
    assert client.run(dag="echo", run=RUN) == RunSeen("running")


def test_a_timeout_may_have_reached_airflow(played: PlayedAirflow, client: Airflow) -> None:
    client.is_scheduling()
    played.mood = [1.5]
    with pytest.raises(WorkflowUnavailable) as error:
        client.submit(dag="echo", run=RUN, conf={})
    assert error.value.reached
    assert not error.value.answered


def test_a_failed_connection_has_not_reached_airflow() -> None:
    played = PlayedAirflow(url=f"http://127.0.0.1:{free_port()}")
    with closing(Airflow(played.access())) as client, pytest.raises(WorkflowUnavailable) as error:
        client.submit(dag="echo", run=RUN, conf={})
    assert not error.value.reached


def test_a_truncated_answer_is_not_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        played = PlayedAirflow(url=f"http://127.0.0.1:{listening.getsockname()[1]}")

        def cut() -> None:
            connection, _ = listening.accept()
            connection.recv(4096)
            connection.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{"access_')
            connection.close()

        thread = threading.Thread(target=cut)
        thread.start()
        with closing(Airflow(played.access())) as client, pytest.raises(WorkflowUnavailable):
            client.is_scheduling()
        thread.join()


def test_neither_password_nor_token_is_logged(
    played: PlayedAirflow, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    reports: list[str] = []
    for mood in ([(500, b"x")], [(200, b"x")], [(403, {"detail": "Forbidden"})], [3.0]):
        played.mood = list(mood)
        with closing(Airflow(played.access(timeout=0.2))) as client:
            try:
                client.submit(dag="echo", run=RUN, conf={})
            except (WorkflowRefused, WorkflowUnavailable) as error:
                reports += [str(error), repr(client._access), repr(client._token)]
    assert len(reports) == 12
    written = " ".join([*reports, caplog.text, *capfd.readouterr()])
    assert "pass" not in written.replace("password", "")
    assert "eyJ" not in written


@pytest.mark.parametrize(
    ("spoil", "trouble", "detail"),
    [
        (lambda _played: None, "", ""),
        (lambda played: setattr(played, "scheduler", "unhealthy"), IDLE, "sends no heartbeat"),
        (lambda played: setattr(played, "mood", [(403, {"detail": "Forbidden"})]), SHUT, "refuses a request: 403"),
        (lambda played: setattr(played, "mood", [(502, b"x")]), AWAY, "answers a request with 502"),
    ],
)
def test_its_condition_has_messages_for_caller_and_operator(
    played: PlayedAirflow, client: Airflow, spoil: Callable[[PlayedAirflow], None], trouble: str, detail: str
) -> None:
    spoil(played)
    condition = examine(client, frozenset({"echo"}))
    assert condition.why_wait("echo") == trouble
    assert detail in " ".join(condition.problems(frozenset({"echo"})))


def test_paused_and_missing_dags_are_reported(played: PlayedAirflow, client: Airflow) -> None:
    played.dags = {"echo": True, "apply-model": False, "other": True}
    wanted = frozenset({"echo", "apply-model", "european-product"})
    condition = examine(client, wanted)
    assert condition.why_wait("echo") == "Waits: the DAG echo is paused in Airflow."
    assert condition.why_wait("european-product") == "Waits: Airflow has no DAG european-product."
    assert condition.why_wait("apply-model") == ""
    assert condition.problems(wanted) == [
        "Airflow has no DAG european-product: see its DAG folder and import errors",
        "the DAG echo is paused in Airflow",
    ]


def test_missing_connections_are_reported_and_do_not_delay_orders(played: PlayedAirflow, client: Airflow) -> None:
    played.tags = {
        "apply-model": ["prod", LACKING, f"{LACKS}clc_prod_b_service", f"{LACKS}clc_prod_a_service"],
        "echo": [],
    }
    condition = examine(client, frozenset({"echo", "apply-model"}))
    assert condition.why_wait("apply-model") == ""
    assert condition.problems(frozenset({"echo", "apply-model"})) == []
    assert condition.lacks({"echo"}) == []
    assert condition.lacks({"echo", "apply-model"}) == [
        "Airflow has no connection clc_prod_a_service, which apply-model needs",
        "Airflow has no connection clc_prod_b_service, which apply-model needs",
    ]
