"""Notifications by `landcast work`: a real worker, which is killed, stopped and restarted, and real receivers."""

import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest

from orchestration.job import Notice, Order, Status
from orchestration.notifications.signature import key_of
from orchestration.store.jobs import StoredJobs
from orchestration.store.outbox import Outbox, State
from tests.orchestration.receivers import Postman, Receiver
from tests.ports import free_port

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
MakeStore = Callable[..., StoredJobs]
Until = Callable[..., None]
Work = Callable[..., "subprocess.Popen[bytes]"]
MAIL = Notice("mail", Status.SUCCESSFUL, "her@example.org")


@pytest.fixture
def work(state_dir: Path) -> Iterator[Work]:
    """Start `landcast work` with these settings."""
    workers: list[subprocess.Popen[bytes]] = []

    def start(**settings: str) -> "subprocess.Popen[bytes]":
        chosen = {
            "LANDCAST_STATE_DIR": str(state_dir),
            "LANDCAST_SERVER_URL": "https://maps.example.org/land",
            "LANDCAST_CALLBACKS_PAUSE": "0.1",
            **settings,
        }
        with (state_dir / "work.log").open("ab") as log:
            command = [sys.executable, "-m", "server.cli", "work"]
            workers.append(subprocess.Popen(command, cwd=ROOT, env={**os.environ, **chosen}, stdout=log, stderr=log))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


@pytest.fixture
def outbox(state_dir: Path, make_store: MakeStore) -> Iterator[Outbox]:
    make_store()
    with closing(Outbox(state_dir / "orders.sqlite")) as made:
        yield made


def ordered(store: StoredJobs, *notices: Notice) -> str:
    return store.add(Order("echo", {"stringInput": "é"}, "local", notices=notices))[0].id


def states(outbox: Outbox, job: str) -> list[State]:
    return [entry.state for entry in outbox.notifications(job)]


def status(store: StoredJobs, job: str) -> Status:
    found = store.get(job)
    assert found is not None
    return found.status


def test_an_order_has_notifications_from_its_start_to_its_mail(
    work: Work, make_store: MakeStore, outbox: Outbox, until: Until, state_dir: Path
) -> None:
    store = make_store()
    with closing(Receiver(lambda number: 500 if number == 1 else 200)) as receiver, closing(Postman()) as postman:
        on = Notice("callback", Status.RUNNING, f"{receiver.url}/on")
        done = Notice("callback", Status.SUCCESSFUL, f"{receiver.url}/done")
        job = ordered(store, on, done, MAIL)
        work(LANDCAST_JOBS_FETCH_PRIVATE="yes", LANDCAST_MAIL_URL=f"smtp://127.0.0.1:{postman.port}")
        until(lambda: states(outbox, job) == [State.DELIVERED] * 3)
        assert {path for path, _, _ in receiver.taken} == {"/on", "/done"}
        _, headers, body = next(taken for taken in receiver.taken if taken[0] == "/done")
        assert json.loads(body) == {"stringOutput": "é"}
        key = key_of((state_dir / "callbacks.key").read_text().strip())
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{signature}"
        assert postman.taken[0].mail_from == "landcast@maps.example.org"


def test_private_addresses_get_no_callbacks(work: Work, make_store: MakeStore, outbox: Outbox, until: Until) -> None:
    store = make_store()
    with closing(Receiver(lambda _: 200)) as receiver:
        job = ordered(store, Notice("callback", Status.SUCCESSFUL, receiver.url))
        work()
        until(lambda: states(outbox, job) == [State.FAILED])
        assert receiver.taken == []
    assert status(store, job) is Status.SUCCESSFUL


def test_a_mail_is_unknown_after_a_kill_between_claim_and_sending(
    work: Work, make_store: MakeStore, outbox: Outbox, until: Until, state_dir: Path
) -> None:
    """The worker dies after it has claimed the mail, before the mail server's greeting."""
    store, port = make_store(), free_port()
    settings = {"LANDCAST_MAIL_URL": f"smtp://me:pass%20word@127.0.0.1:{port}"}
    job = ordered(store, MAIL)
    with socket.create_server(("127.0.0.1", port)):
        worker = work(**settings)
        until(lambda: states(outbox, job) == [State.SENDING])
        worker.kill()
        worker.wait()
    assert states(outbox, job) == [State.SENDING]
    with closing(Postman(port=port)) as postman:
        later = ordered(store, MAIL)
        work(LANDCAST_MAIL_URL=f"smtp://127.0.0.1:{port}")
        until(lambda: states(outbox, later) == [State.DELIVERED])
        assert states(outbox, job) == [State.UNKNOWN]
        assert [later in str(envelope.content) for envelope in postman.taken] == [True]
    assert status(store, job) is Status.SUCCESSFUL
    assert "pass" not in (state_dir / "work.log").read_text()


def test_a_stop_waits_two_seconds_and_a_callback_is_sent_again(
    work: Work, make_store: MakeStore, outbox: Outbox, until: Until
) -> None:
    store = make_store()

    over = Event()

    def stuck(number: int) -> int:
        if number == 1:
            over.wait(60)
        return 200

    with closing(Receiver(stuck)) as receiver:
        job = ordered(store, Notice("callback", Status.SUCCESSFUL, receiver.url))
        worker = work(LANDCAST_JOBS_FETCH_PRIVATE="yes")
        until(lambda: receiver.taken)
        begin = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
        assert time.monotonic() - begin < 30, "it does not wait for the minute that the receiver takes"
        work(LANDCAST_JOBS_FETCH_PRIVATE="yes")
        until(lambda: states(outbox, job) == [State.DELIVERED])
        assert len({headers["webhook-id"] for _, headers, _ in receiver.taken}) == 1
        over.set()


def test_a_mail_waits_without_a_mail_server(work: Work, make_store: MakeStore, outbox: Outbox, until: Until) -> None:
    store = make_store()
    job = ordered(store, MAIL)
    worker = work()
    until(lambda: status(store, job) is Status.SUCCESSFUL)
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)
    assert states(outbox, job) == [State.DUE]
    with closing(Postman()) as postman:
        work(LANDCAST_MAIL_URL=f"smtp://127.0.0.1:{postman.port}")
        until(lambda: states(outbox, job) == [State.DELIVERED])
