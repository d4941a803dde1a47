"""The couriers of the worker according to the settings."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from orchestration.job import Job, Order, Status
from orchestration.net.addresses import any_address, is_public
from orchestration.notifications.callback import Callback
from orchestration.notifications.mail import Mail
from orchestration.notifications.message import compose
from server.environment import read_settings
from server.notifications import make_notifier


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(tmp_path))


@pytest.mark.parametrize(
    ("variable", "value", "sender"),
    [
        ("LANDCAST_SERVER_URL", "https://maps.example.org/land", "landcast@maps.example.org"),
        ("LANDCAST_SERVER_BIND", "127.0.0.1:5000", "landcast@[127.0.0.1]"),
        ("LANDCAST_SERVER_BIND", "[::1]:5000", "landcast@[IPv6:::1]"),
        ("LANDCAST_SERVER_BIND", "localhost:5000", "landcast@localhost"),
        ("LANDCAST_MAIL_SENDER", "maps@example.org", "maps@example.org"),
    ],
)
def test_a_sender_must_be_a_valid_mail_address(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sender: str, job: Any
) -> None:
    monkeypatch.setenv("LANDCAST_MAIL_URL", "smtp://mail.example.org")
    monkeypatch.setenv(variable, value)
    mail = make_notifier(read_settings()).mail
    assert isinstance(mail, Mail)
    assert mail.sender == sender
    message = compose(job, [], url="https://example.org", sender=sender, to="a@example.org")
    assert message["From"] == sender
    assert message.as_bytes().count(b"\r\nFrom: ") == 1


@pytest.fixture
def job() -> Any:
    now = datetime.now(UTC)
    return Job("id", Order("echo", {}, "local"), Status.FAILED, now, now)


def test_callbacks_go_only_to_allowed_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    callback = make_notifier(read_settings()).callback
    assert isinstance(callback, Callback)
    assert callback.post.allowed is is_public
    monkeypatch.setenv("LANDCAST_JOBS_FETCH_PRIVATE", "yes")
    monkeypatch.setenv("LANDCAST_CALLBACKS_TIMEOUT", "3")
    callback = make_notifier(read_settings()).callback
    assert isinstance(callback, Callback)
    assert (callback.post.allowed, callback.post.seconds) == (any_address, 3)


def test_no_secret_is_in_a_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = SecretStr("hidden-" * 6)
    monkeypatch.setenv("LANDCAST_MAIL_URL", "smtp://hidden:hidden@mail.example.org")
    monkeypatch.setenv("LANDCAST_CALLBACKS_KEY", secret.get_secret_value())
    notifier = make_notifier(read_settings())
    assert isinstance(notifier.callback, Callback)
    assert notifier.callback.key == secret.get_secret_value().encode()
    assert "hidden" not in repr(notifier)
    assert "hidden" not in repr(read_settings())


def test_without_a_mail_server_there_is_no_mail() -> None:
    assert make_notifier(read_settings()).mail is None


def test_mail_has_its_own_number_of_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCAST_MAIL_URL", "smtp://mail.example.org")
    monkeypatch.setenv("LANDCAST_MAIL_TRIES", "3")
    monkeypatch.setenv("LANDCAST_CALLBACKS_TRIES", "5")
    notifier = make_notifier(read_settings())
    assert (notifier.retry.tries, notifier.mail_retry.tries) == (5, 3)
