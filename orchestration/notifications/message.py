"""Compose the mail about an order, as text and HTML."""

import json
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlsplit

from orchestration.files.document import Delivery
from orchestration.job import Job, Status, instant
from orchestration.notifications.mailbox import is_mailbox

_POLICY = SMTP.clone(cte_type="7bit")
_LONGEST = 300
"""Maximum characters shown of an input."""

Line = tuple[str, str]
"""A label and a text; a text that begins with http is a link."""


def compose(job: Job, outputs: list[Delivery], *, url: str, sender: str, to: str) -> EmailMessage:
    """Return the mail about a finished job. Raises ValueError if `to` is not an address."""
    if not is_mailbox(to):
        raise ValueError("not a mail address")
    done = job.status is Status.SUCCESSFUL
    opening = "Your order is done." if done else f"Your order failed: {job.message or 'the log says why'}"
    message = EmailMessage(_POLICY)
    message["Subject"] = f"{job.order.process}: {'done' if done else 'failed'} ({job.id})"
    message["From"] = Address(addr_spec=sender)
    message["To"] = Address(addr_spec=to)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{job.id}.{job.status}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    lines = [*_results(outputs), ("Job", f"{url}/jobs/{job.id}?f=html"), *_ordered(job)]
    message.set_content(_text(opening, lines))
    message.add_alternative(_html(opening, lines), subtype="html")
    return message


def _results(outputs: list[Delivery]) -> list[Line]:
    return [line for delivery in outputs for line in _result(delivery)]


def _result(delivery: Delivery) -> list[Line]:
    ends = parse_qs(urlsplit(delivery.href).query).get("exp") if delivery.output.file else None
    name = delivery.output.file.name if delivery.output.file else delivery.output.id
    until = [("The link ends", instant(datetime.fromtimestamp(int(ends[0]), UTC)))] if ends else []
    return [(name, delivery.href), *until]


def _ordered(job: Job) -> list[Line]:
    order = job.order
    inputs = [(name, _shown(value)) for name, value in order.inputs.items()]
    return [("Job id", job.id), ("Process", order.process), ("Ordered", instant(job.created)), *inputs]


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _text(opening: str, lines: list[Line]) -> str:
    return "\n".join([opening, "", *(f"{label}: {text}" for label, text in lines), ""])


def _html(opening: str, lines: list[Line]) -> str:
    rows = "".join(f"<dt>{escape(label)}</dt><dd>{_linked(text)}</dd>" for label, text in lines)
    return f"<!doctype html><html><body><p>{escape(opening)}</p><dl>{rows}</dl></body></html>"


def _linked(text: str) -> str:
    safe = escape(text)
    return f'<a href="{safe}">{safe}</a>' if text.startswith(("http://", "https://")) else safe
