"""Send a mail to a mail server, once."""

import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage

from orchestration.errors import ResultMissing
from orchestration.files.document import deliveries
from orchestration.files.results import Results
from orchestration.job import Job, Status
from orchestration.notifications.mailbox import MailServer
from orchestration.notifications.message import compose
from orchestration.notifications.outcome import Outcome
from orchestration.store.outbox import Entry, State

_OK, _TEMPORARY, _PERMANENT = 200, 400, 500


@dataclass(frozen=True, slots=True)
class Mail:
    """Sends the mail of a finished job from `sender`; the server has `seconds` for each reply.

    A failure before the message is transmitted may be retried. If no reply comes after that, the outcome is unknown,
    and the mail is never sent again.
    """

    server: MailServer
    sender: str
    results: Results = field(repr=False)
    url: str
    seconds: float = 30

    def __call__(self, entry: Entry, job: Job) -> Outcome:
        """Send it once, and return the outcome."""
        try:
            outputs = deliveries(job, self.results, self.url) if job.status is Status.SUCCESSFUL else []
            message = compose(job, outputs, url=self.url, sender=self.sender, to=entry.address)
        except ResultMissing:
            return Outcome(State.FAILED, "the result files no longer exist")
        except ValueError:
            return Outcome(State.FAILED, "the address is not valid")
        try:
            smtp = self._connect()
        except (smtplib.SMTPException, OSError) as error:
            return _not_sent(error)
        try:
            return self._send(smtp, message, entry.address)
        finally:
            smtp.close()

    def _connect(self) -> smtplib.SMTP:
        """Return a connection with TLS and login as configured."""
        server, name = self.server, self.sender.rpartition("@")[2]
        context = ssl.create_default_context()
        if server.tls == "tls":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, name, timeout=self.seconds, context=context)
        else:
            smtp = smtplib.SMTP(server.host, server.port, name, timeout=self.seconds)
        try:
            if server.tls == "starttls":
                smtp.starttls(context=context)
            if server.user is not None:
                smtp.login(server.user, server.password)
        except (smtplib.SMTPException, OSError):
            smtp.close()
            raise
        return smtp

    def _send(self, smtp: smtplib.SMTP, message: EmailMessage, to: str) -> Outcome:
        try:
            smtp.ehlo_or_helo_if_needed()
            for code, _ in (smtp.mail(self.sender), smtp.rcpt(to)):
                if code >= _TEMPORARY:
                    return _answered(code)
        except (smtplib.SMTPException, OSError) as error:
            return _not_sent(error)
        try:
            return _answered(smtp.data(message.as_bytes())[0])
        except smtplib.SMTPDataError as error:
            return _answered(error.smtp_code)
        except (smtplib.SMTPException, OSError) as error:
            return Outcome(State.UNKNOWN, f"no answer to the message: {type(error).__name__}")


def _answered(code: int) -> Outcome:
    why = f"the mail server answered {code}"
    if _OK <= code < _TEMPORARY:
        return Outcome(State.DELIVERED, why)
    return Outcome(State.FAILED if code >= _PERMANENT else State.DUE, why)


def _not_sent(error: Exception) -> Outcome:
    """Return the outcome of a failure before the transmission, without the error's text, which may contain secrets."""
    return Outcome(State.DUE, f"the mail server was not reached: {type(error).__name__}")
