"""The address of the mail server, and valid mail addresses."""

import pytest

from orchestration.notifications.mailbox import MailServer, is_mailbox, mail_server


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.org", MailServer("mail.example.org", 25)),
        ("smtp://mail.example.org/", MailServer("mail.example.org", 25)),
        ("smtp://[::1]:2525", MailServer("::1", 2525)),
        ("smtp://mail.example.org?starttls=yes", MailServer("mail.example.org", 587, "starttls")),
        ("smtp://a:b@mail.example.org:26?starttls=no", MailServer("mail.example.org", 26, "none", "a", "b")),
        ("smtps://a%40b:c%3A%2Fd@mail.example.org", MailServer("mail.example.org", 465, "tls", "a@b", "c:/d")),
    ],
)
def test_a_server_is_read_from_its_address(url: str, server: MailServer) -> None:
    assert mail_server(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example.org",
        "http://secret@mail.example.org",
        "smtp://",
        "smtp://secret:secret@",
        "smtp://secret@mail.example.org:99999",
        "smtp://secret@mail.example.org/path",
        "smtp://secret@mail.example.org?starttls=perhaps",
        "smtp://secret@mail.example.org?tls=yes",
        "smtp://secret%0d%0aRSET@mail.example.org",
        "smtp://a:secret%C3%A9@mail.example.org",
        "smtp://secret@mäil.example.org",
        "smtp://[secret",
    ],
)
def test_an_invalid_mail_server_is_refused_without_the_secret(url: str) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        mail_server(url)
    assert "secret" not in str(caught.value)


def test_a_password_is_in_no_repr() -> None:
    assert "hidden" not in repr(mail_server("smtp://hidden:hidden@mail.example.org"))


@pytest.mark.parametrize("text", ["a@example.org", "a.b+c@example.org", "a@localhost", "x" * 64 + "@example.org"])
def test_valid_mail_addresses_are_accepted(text: str) -> None:
    assert is_mailbox(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "@example.org", "a@", "a b@example.org", "a@example.org\n", "a@x,b@y", "<a@x>", "é@example.org"),
        *("a@-x-", "a@example.org\r\nBcc: b@example.org", "x" * 65 + "@example.org", "a@" + "x" * 300),
    ],
)
def test_invalid_mail_addresses_are_refused(text: str) -> None:
    assert not is_mailbox(text)
