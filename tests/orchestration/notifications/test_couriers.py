"""Couriers with real receivers on loopback: content, tries, and the effect of each failure."""

import base64
import email
import email.policy
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestration.errors import StoreUnavailable
from orchestration.files.results import Results
from orchestration.job import Job, Notice, Order, Output, Status
from orchestration.net.addresses import any_address, is_public
from orchestration.net.post import Poster
from orchestration.notifications.callback import Callback
from orchestration.notifications.courier import Courier, Retry
from orchestration.notifications.mail import Mail
from orchestration.notifications.mailbox import MailServer
from orchestration.notifications.message import compose
from orchestration.notifications.outcome import Deliver, Outcome
from orchestration.notifications.signature import callbacks_key, key_of, sign
from orchestration.store.jobs import StoredJobs
from orchestration.store.outbox import Entry, Kind, Outbox, State
from tests.orchestration.receivers import Postman, Receiver

if TYPE_CHECKING:
    from orchestration.net.addresses import Allowed

URL = "https://maps.example.org/land"
KEY = b"a key that nobody knows, of some length"
SENDER = "landcast@example.org"

MakeStore = Callable[..., StoredJobs]
MakeOutput = Callable[[str], Output]
Serve = Callable[..., Any]


@pytest.fixture
def results(state_dir: Path) -> Results:
    return Results(state_dir / "results", key=b"k" * 32, url=URL)


@pytest.fixture
def outbox(state_dir: Path, make_store: MakeStore) -> Iterator[Outbox]:
    make_store()
    made = Outbox(state_dir / "orders.sqlite")
    yield made
    made.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[Receiver | Postman] = []

    def start(server: Receiver | Postman) -> Receiver | Postman:
        running.append(server)
        return server

    yield start
    for server in running:
        server.close()


@dataclass(frozen=True, slots=True)
class Couriers:
    """The objects of a courier, and receivers that end with the test."""

    outbox: Outbox
    store: StoredJobs
    results: Results
    serve: Serve

    def deliver(self, kind: Kind, deliver: Deliver, job: str, **retry: Any) -> list[State]:
        """Run a courier until no notification of the job is due; return the state of all."""
        chosen: dict[str, Any] = {"tries": 3, "pause": 0.05}
        courier = Courier(kind, self.outbox, self.store, deliver, retry=Retry(**chosen | retry))
        over = threading.Event()
        thread = threading.Thread(target=courier.run, args=(over.is_set,))
        thread.start()
        end = time.monotonic() + 60
        try:
            while any(entry.state in {State.DUE, State.SENDING} for entry in self.outbox.notifications(job)):
                assert time.monotonic() < end, "it was not settled in time"
                time.sleep(0.02)
        finally:
            over.set()
            thread.join()
        return [entry.state for entry in self.outbox.notifications(job)]


@pytest.fixture
def couriers(outbox: Outbox, make_store: MakeStore, results: Results, serve: Serve) -> Couriers:
    return Couriers(outbox, make_store(), results, serve)


def ordered(store: StoredJobs, *notices: Notice) -> str:
    inputs = {"aoi": "a < b & c", "note": "x" * 1000}
    return store.add(Order("echo", inputs, "local", notices=notices))[0].id


def done(store: StoredJobs, job: str, *outputs: Output) -> None:
    store.begin(job)
    assert store.publish(job, 1, outputs or (Output("stringOutput", "é"), Output("object", {"a": 1})))


def callback(results: Results, *, seconds: float = 5, allowed: "Allowed" = any_address) -> Callback:
    return Callback(Poster(seconds, allowed), results, URL, KEY)


def subscribers(url: str) -> tuple[Notice, ...]:
    return (
        Notice("callback", Status.RUNNING, f"{url}/on?a=b"),
        Notice("callback", Status.SUCCESSFUL, f"{url}/done"),
        Notice("callback", Status.FAILED, f"{url}/failed"),
    )


def is_signed(headers: dict[str, str], body: bytes) -> bool:
    """Check like a receiver, as Standard Webhooks specifies."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, content, hashlib.sha256).digest()).decode()
    fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return fresh and headers["webhook-signature"] == f"v1,{expected}"


def test_a_successful_order_has_a_signed_callback_with_its_results(couriers: Couriers) -> None:
    store, receiver = couriers.store, couriers.serve(Receiver(lambda _: 204))
    job = ordered(store, *subscribers(receiver.url))
    done(store, job)
    states = couriers.deliver("callback", callback(couriers.results), job)
    assert states == [State.DELIVERED, State.DELIVERED]
    (path, on, first), (other, headers, body) = receiver.taken
    assert (path, other) == ("/on?a=b", "/done")
    assert json.loads(first)["jobID"] == job
    assert json.loads(body) == {"stringOutput": "é", "object": {"value": {"a": 1}, "mediaType": "application/json"}}
    assert headers["content-type"] == "application/json"
    assert is_signed(on, first)
    assert is_signed(headers, body)
    assert not is_signed(headers, body + b" ")
    assert on["webhook-id"] != headers["webhook-id"]


def test_a_failed_order_has_a_callback_with_its_reason(couriers: Couriers) -> None:
    store, receiver = couriers.store, couriers.serve(Receiver(lambda _: 200))
    job = ordered(store, *subscribers(receiver.url)[1:])
    store.begin(job)
    store.fail(job, 1, "the moon is not covered")
    assert couriers.deliver("callback", callback(couriers.results), job) == [State.DELIVERED]
    ((path, _, body),) = receiver.taken
    assert path == "/failed"
    failed = json.loads(body)
    assert failed.items() >= {"jobID": job, "type": "process", "status": "failed", "processID": "echo"}.items()
    assert failed["message"] == "the moon is not covered"
    reason = {"type": "about:blank", "title": "The job failed", "detail": "the moon is not covered"}
    assert failed["exception"] == reason


@pytest.mark.parametrize(
    ("answers", "state", "tries"),
    [
        ([500, 200], State.DELIVERED, 2),
        ([503, 429, 202], State.DELIVERED, 3),
        ([408, 302, 500], State.FAILED, 3),
        ([410], State.FAILED, 1),
        ([400], State.FAILED, 1),
    ],
)
def test_each_answer_of_a_receiver_has_its_effect(
    couriers: Couriers, answers: list[int], state: State, tries: int
) -> None:
    store, receiver = couriers.store, couriers.serve(Receiver(lambda number: answers[number - 1]))
    job = ordered(store, subscribers(receiver.url)[1])
    done(store, job)
    assert couriers.deliver("callback", callback(couriers.results), job) == [state]
    assert len(receiver.taken) == tries == couriers.outbox.notifications(job)[0].tries
    assert len({headers["webhook-id"] for _, headers, _ in receiver.taken}) == 1
    found = store.get(job)
    assert found is not None
    assert found.status is Status.SUCCESSFUL


def test_the_pauses_grow_up_to_an_hour() -> None:
    retry = Retry(tries=20, pause=10)
    assert [retry.pause_after(tries) for tries in (1, 2, 3, 9, 20)] == [10, 30, 90, 3600, 3600]


def test_retry_after_of_a_receiver_is_respected(couriers: Couriers) -> None:
    store, receiver = (
        couriers.store,
        couriers.serve(Receiver(lambda number: 503 if number == 1 else 200, retry_after="1")),
    )
    job = ordered(store, subscribers(receiver.url)[1])
    done(store, job)
    begin = time.monotonic()
    assert couriers.deliver("callback", callback(couriers.results), job) == [State.DELIVERED]
    assert 1 <= time.monotonic() - begin < 9, "it waits 10 s by itself"
    assert Retry(pause=10).pause_after(1, asked=10_000) == 3600


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, "120", 120),
        (503, "in ten minutes", 600),
        (503, "Sat, 01 Jan 2000 00:00:00 GMT", 0),
        (503, "-5", 0),
        (503, "soon", 0),
        (503, "Sat, 99 Foo 2000 00:00:00 GMT", 0),
        (500, "120", 0),
    ],
)
def test_a_receiver_chooses_the_time_of_the_next_try(
    couriers: Couriers, status: int, header: str, seconds: float
) -> None:
    if header == "in ten minutes":
        header = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    store, receiver = couriers.store, couriers.serve(Receiver(lambda _: status, retry_after=header))
    job = store.get(ordered(store))
    assert job is not None
    entry = Entry(1, job.id, "callback", Status.RUNNING, receiver.url)
    outcome = callback(couriers.results)(entry, job)
    assert outcome.state is State.DUE
    assert outcome.after == pytest.approx(seconds, abs=30 if seconds == 600 else 0)


def test_a_slow_receiver_times_out_and_is_tried_again(couriers: Couriers) -> None:
    over = threading.Event()

    def slow(number: int) -> int:
        if number == 1:
            over.wait(30)
        return 200

    store, receiver = couriers.store, couriers.serve(Receiver(slow))
    job = ordered(store, subscribers(receiver.url)[1])
    done(store, job)
    begin = time.monotonic()
    assert couriers.deliver("callback", callback(couriers.results, seconds=0.3), job) == [State.DELIVERED]
    assert time.monotonic() - begin < 15
    over.set()
    assert len(receiver.taken) == 2


def test_a_private_address_is_never_called(couriers: Couriers) -> None:
    """Attack: a caller makes the server post into its own network."""
    store, receiver = couriers.store, couriers.serve(Receiver(lambda _: 200))
    job = ordered(store, subscribers(receiver.url)[1])
    done(store, job)
    assert couriers.deliver("callback", callback(couriers.results, allowed=is_public), job) == [State.FAILED]
    assert receiver.taken == []


def test_an_unreachable_receiver_is_tried_again_and_then_given_up(couriers: Couriers) -> None:
    store = couriers.store
    job = ordered(store, subscribers("http://127.0.0.1:1")[1])
    done(store, job)
    assert couriers.deliver("callback", callback(couriers.results), job, tries=2) == [State.FAILED]
    assert couriers.outbox.notifications(job)[0].tries == 2


def test_expired_results_have_no_callback(couriers: Couriers, make_output: MakeOutput) -> None:
    store, receiver = couriers.store, couriers.serve(Receiver(lambda _: 200))
    job = ordered(store, subscribers(receiver.url)[1])
    done(store, job, make_output(f"{job}/1/1/a.zip"))
    assert couriers.deliver("callback", callback(couriers.results), job) == [State.FAILED]
    assert receiver.taken == []


def mail(results: Results, port: int, *, seconds: float = 5, user: str | None = None, password: str = "") -> Mail:
    return Mail(MailServer("127.0.0.1", port, "none", user, password), SENDER, results, URL, seconds)


def mailed(store: StoredJobs, address: str = "her@example.org") -> str:
    return ordered(store, *(Notice("mail", event, address) for event in (Status.SUCCESSFUL, Status.FAILED)))


def read(content: Any) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def body_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def test_a_mail_has_text_html_and_a_link_that_works(couriers: Couriers, make_output: MakeOutput) -> None:
    store, postman = couriers.store, couriers.serve(Postman())
    job = mailed(store)
    output = make_output(f"{job}/1/1/Raster & x.zip")
    path = couriers.results.root / job / "1" / "1" / "Raster & x.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"zip")
    done(store, job, output)
    assert couriers.deliver("mail", mail(couriers.results, postman.port), job) == [State.DELIVERED]
    (envelope,) = postman.taken
    assert (envelope.mail_from, envelope.rcpt_tos) == (SENDER, ["her@example.org"])
    message = read(envelope.content)
    assert (message["To"], message["From"]) == ("her@example.org", SENDER)
    assert message["Subject"] == f"echo: done ({job})"
    assert message["Auto-Submitted"] == "auto-generated"
    text, html = body_of(message, "plain"), body_of(message, "html")
    assert f"{URL}/results/{job}/Raster%20%26%20x.zip?exp=" in text
    assert "The link ends: 20" in text
    assert f"Job id: {job}" in text
    assert "aoi: a < b & c" in text
    assert "x" * 301 not in text
    assert "a &lt; b &amp; c" in html
    assert "&amp;sig=" in html


def test_a_failed_order_is_mailed_with_its_reason(couriers: Couriers) -> None:
    store, postman = couriers.store, couriers.serve(Postman())
    job = mailed(store)
    store.begin(job)
    store.fail(job, 1, "ñ <b>no</b>\r\nBcc: other@example.org")
    assert couriers.deliver("mail", mail(couriers.results, postman.port), job) == [State.DELIVERED]
    message = read(postman.taken[0].content)
    assert "ñ <b>no</b>" in body_of(message, "plain")
    assert "ñ &lt;b&gt;no&lt;/b&gt;" in body_of(message, "html")
    assert message["Bcc"] is None
    assert postman.taken[0].rcpt_tos == ["her@example.org"]


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
@pytest.mark.parametrize(("password", "state"), [("pass word", State.DELIVERED), ("wrong", State.FAILED)])
def test_the_server_authenticates_to_the_mail_server(
    couriers: Couriers, caplog: pytest.LogCaptureFixture, password: str, state: State
) -> None:
    store, postman = couriers.store, couriers.serve(Postman(login=True))
    job = mailed(store)
    done(store, job)
    caplog.set_level("DEBUG")
    sent = mail(couriers.results, postman.port, user="me", password=password)
    assert couriers.deliver("mail", sent, job, tries=2) == [state]
    assert postman.logins[0] == (b"me", password.encode())
    assert password not in repr(sent)
    assert password not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("orch"))


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
def test_no_password_is_sent_over_an_insecure_connection(couriers: Couriers) -> None:
    """Attack: a man in the middle removes STARTTLS from the mail server's extensions, to read the password."""
    store, postman = couriers.store, couriers.serve(Postman(login=True))
    job = mailed(store)
    done(store, job)
    server = MailServer("127.0.0.1", postman.port, "starttls", "me", "pass word")
    assert couriers.deliver("mail", Mail(server, SENDER, couriers.results, URL, 5), job, tries=1) == [State.FAILED]
    assert (postman.logins, postman.taken) == ([], [])


@pytest.mark.parametrize(
    ("answers", "state", "tries"),
    [
        (["451 later"], State.DELIVERED, 2),
        (["550 no"], State.FAILED, 1),
        (["451 a", "451 b", "451 c"], State.FAILED, 3),
    ],
)
def test_each_answer_of_the_mail_server_has_its_effect(
    couriers: Couriers, answers: list[str], state: State, tries: int
) -> None:
    store, postman = couriers.store, couriers.serve(Postman(*answers))
    job = mailed(store)
    done(store, job)
    assert couriers.deliver("mail", mail(couriers.results, postman.port), job) == [state]
    assert couriers.outbox.notifications(job)[0].tries == tries
    assert len(postman.taken) == (state is State.DELIVERED)


def test_a_mail_without_an_answer_is_unknown_and_not_repeated(couriers: Couriers) -> None:
    store, postman = couriers.store, couriers.serve(Postman(silent=True))
    job = mailed(store)
    done(store, job)
    assert couriers.deliver("mail", mail(couriers.results, postman.port, seconds=0.5), job) == [State.UNKNOWN]
    assert len(postman.taken) == 1
    again = couriers.deliver("mail", mail(couriers.results, postman.port), job)
    assert (again, len(postman.taken)) == ([State.UNKNOWN], 1)


def test_an_unavailable_mail_server_never_fails_the_order(couriers: Couriers) -> None:
    store = couriers.store
    job = mailed(store)
    done(store, job)
    assert couriers.deliver("mail", mail(couriers.results, 1), job) == [State.FAILED]
    found = store.get(job)
    assert found is not None
    assert found.status is Status.SUCCESSFUL


@pytest.mark.parametrize("address", ["a@example.org\r\nBcc: b@example.org", "a@example.org, b@example.org", "", "a"])
def test_an_address_cannot_inject_a_header_or_receiver(couriers: Couriers, address: str) -> None:
    store, postman = couriers.store, couriers.serve(Postman())
    job = mailed(store, address)
    done(store, job)
    states = couriers.deliver("mail", mail(couriers.results, postman.port), job)
    assert (states, postman.taken) == ([State.FAILED], [])


def test_an_unavailable_store_after_sending_causes_no_second_mail(
    couriers: Couriers, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, postman = couriers.store, couriers.serve(Postman())
    job = mailed(store)
    done(store, job)
    settle, failures = couriers.outbox.settle, [1]

    def away_once(entry: Entry, state: State) -> None:
        if failures:
            failures.pop()
            raise StoreUnavailable("locked")
        settle(entry, state)

    monkeypatch.setattr(couriers.outbox, "settle", away_once)
    assert couriers.deliver("mail", mail(couriers.results, postman.port), job) == [State.DELIVERED]
    assert len(postman.taken) == 1


def test_an_internal_error_ends_one_entry_and_not_the_courier(couriers: Couriers) -> None:
    store = couriers.store
    jobs = [ordered(store, subscribers("http://127.0.0.1:1")[1]) for _ in range(2)]
    for job in jobs:
        done(store, job)

    def breaks(entry: Entry, job: Job) -> Outcome:
        if entry.job_id == jobs[0]:
            raise ZeroDivisionError
        return Outcome(State.DELIVERED, job.id)

    assert couriers.deliver("callback", breaks, jobs[1]) == [State.DELIVERED]
    assert [entry.state for entry in couriers.outbox.notifications(jobs[0])] == [State.UNKNOWN]


def test_a_subject_has_one_line() -> None:
    now = time.time()
    with pytest.raises(ValueError, match="linefeed"):
        compose(_job("x\r\nBcc: b@example.org", now), [], url=URL, sender=SENDER, to="a@example.org")


def _job(process: str, now: float) -> Job:
    moment = datetime.fromtimestamp(now, UTC)
    return Job("id", Order(process, {}, "local"), Status.FAILED, moment, moment)


def test_the_signature_follows_standard_webhooks() -> None:
    """The example of the specification's own libraries."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    first = callbacks_key(tmp_path)
    assert callbacks_key(tmp_path) == first
    file = tmp_path / "callbacks.key"
    assert file.read_text().startswith("whsec_")
    assert file.stat().st_mode & 0o077 == 0
    assert len(first) == 32


def test_a_silent_mail_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        begin = time.monotonic()
        poster = Poster(0.3, any_address)
        with pytest.raises(Exception, match="not answered"):
            poster(f"http://127.0.0.1:{listening.getsockname()[1]}/", b"{}", {})
        assert time.monotonic() - begin < 15
