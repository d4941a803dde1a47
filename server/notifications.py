"""Build the notifier and the results folder from the settings."""

from ipaddress import ip_address

from orchestration.files.results import Results, results_key
from orchestration.net.addresses import any_address, is_public
from orchestration.net.post import Poster
from orchestration.notifications.broker import JobMessage, JobMessages
from orchestration.notifications.callback import Callback
from orchestration.notifications.courier import Retry
from orchestration.notifications.mail import Mail
from orchestration.notifications.mailbox import mail_server
from orchestration.notifications.notifier import Notifier
from orchestration.notifications.signature import callbacks_key, key_of
from server.settings import Settings


def make_results(settings: Settings) -> Results:
    """Return the results folder, which signs links to its files."""
    folder = settings.state.dir
    key = settings.results.key.get_secret_value().encode() if settings.results.key else results_key(folder)
    url = settings.server.public_url
    return Results(folder / "results", key=key, url=url, link_days=settings.results.link_days)


def make_notifier(settings: Settings, message: JobMessage | JobMessages | None = None) -> Notifier:
    """Return the notifier; without a configured mail server it has no mail, without `message` it publishes none."""
    results, url = make_results(settings), settings.server.public_url
    allowed = any_address if settings.jobs.fetch_private else is_public
    poster = Poster(settings.callbacks.timeout, allowed)
    callback = Callback(poster, results, url, _key(settings))
    retry = Retry(settings.callbacks.tries, settings.callbacks.pause)
    one, many = (None, message) if isinstance(message, JobMessages) else (message, None)
    if settings.mail.url is None:
        return Notifier(callback, retry=retry, message=one, messages=many)
    server = mail_server(settings.mail.url.get_secret_value())
    mail = Mail(server, _sender(settings), results, url, settings.mail.timeout)
    return Notifier(callback, mail, retry, Retry(settings.mail.tries, settings.callbacks.pause), one, many)


def _key(settings: Settings) -> bytes:
    if settings.callbacks.key:
        return key_of(settings.callbacks.key.get_secret_value())
    return callbacks_key(settings.state.dir)


def _sender(settings: Settings) -> str:
    if settings.mail.sender:
        return settings.mail.sender
    host = settings.server.url.host if settings.server.url else settings.server.bind.rpartition(":")[0]
    return f"landcast@{_domain(str(host).strip('[]'))}"


def _domain(host: str) -> str:
    """Return the host as the domain of a mail address, an IP address as a literal (RFC 5321)."""
    try:
        ip = ip_address(host)
    except ValueError:
        return host
    return f"[IPv6:{ip}]" if ip.version == 6 else f"[{ip}]"  # noqa: PLR2004  the version is its own name
