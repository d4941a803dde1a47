"""Who is notified of an order: the `subscriber` of an execution (18-062r2, subscriber.yaml), and its mail."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from auth.identity import ANONYMOUS
from orchestration.errors import ReferenceRefused
from orchestration.job import Notice, Order, Status
from orchestration.net.connection import parse_address
from orchestration.notifications.broker import Broker
from orchestration.notifications.mailbox import is_mailbox
from processes.messages import shown
from routes.http.problem import INVALID_PARAMETER, Problem, bad_member

_EVENTS: Mapping[str, Status] = {
    "inProgressUri": Status.RUNNING,
    "successUri": Status.SUCCESSFUL,
    "failedUri": Status.FAILED,
}
_REQUIRED = "successUri"
SEND_MAIL = "send_mail"


@dataclass(frozen=True, slots=True)
class Mailing:
    """Whether mail can be sent, and who gets it where the owner of an order has no address."""

    possible: bool
    to: str | None = field(default=None, repr=False)

    def add_to(self, order: Order) -> Order:
        """Return the order with the mail that it asks for. Raises the 400 Problem where there can be none."""
        if order.inputs.get(SEND_MAIL) is not True:
            return order
        if refusal := self.refusal_of(order):
            raise Problem(HTTPStatus.BAD_REQUEST, refusal, type_=INVALID_PARAMETER, input=SEND_MAIL)
        mails = tuple(Notice("mail", event, self._address(order)) for event in (Status.SUCCESSFUL, Status.FAILED))
        return replace(order, notices=order.notices + mails)

    def refusal_of(self, order: Order) -> str | None:
        """Return why there can be no mail, None where there can or the order asks for none."""
        if order.inputs.get(SEND_MAIL) is not True or (why := self._why_none(order)) is None:
            return None
        return f"input {SEND_MAIL!r}: true; {why}; allowed: false"

    def recipient(self, order: Order) -> str:
        """Return whom a back end may have mailed of an order. Raises the 400 Problem where there can be no mail."""
        if (why := self._why_none(order)) is not None:
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                f"{SEND_MAIL}: true; {why}; allowed: false",
                type_=INVALID_PARAMETER,
                parameter=SEND_MAIL,
            )
        return self._address(order)

    def _address(self, order: Order) -> str:
        return order.email or self.to or ""

    def _why_none(self, order: Order) -> str | None:
        if not self.possible:
            return "this server sends no mail (LANDCAST_MAIL_URL is not set)"
        if not self._address(order):
            return "there is no address to send it to: the caller has none and LANDCAST_MAIL_TO is not set"
        if not is_mailbox(self._address(order)):
            return "the caller's address is none that mail can be sent to"
        return None


def with_messages(order: Order, broker: Broker | None, announced: Container[str]) -> Order:
    """Return the order with its messages to the broker, if its process is announced.

    There are none about the job of an unknown caller, as whoever knows its id may read it.
    """
    if broker is None or order.process not in announced or order.owner == ANONYMOUS.owner:
        return order
    channel = broker.channel_of("processes", order.process)
    return replace(order, notices=order.notices + tuple(Notice("message", status, channel) for status in Status))


def callbacks_of(document: Mapping[str, Any]) -> tuple[Notice, ...]:
    """Return the callbacks that an execution asks for. Raises the 400 Problem."""
    subscriber = document["subscriber"]
    if not isinstance(subscriber, dict):
        raise bad_member("subscriber", subscriber, f"an object with {', '.join(_EVENTS)}")
    unknown = next((name for name in subscriber if name not in _EVENTS), None)
    if unknown is not None:
        raise bad_member(f"subscriber.{shown(unknown)}", subscriber[unknown], f"the members {', '.join(_EVENTS)}")
    if _REQUIRED not in subscriber:
        raise bad_member("subscriber", subscriber, f"an object that has {_REQUIRED}")
    return tuple(
        Notice("callback", event, _address(f"subscriber.{name}", subscriber[name]))
        for name, event in _EVENTS.items()
        if name in subscriber
    )


def _address(name: str, value: Any) -> str:
    allowed = (
        "an address that begins with http:// or https://, without user name or password, of at most 2000 characters"
    )
    if not isinstance(value, str):
        raise bad_member(name, value, allowed)
    try:
        parse_address(value)
    except ReferenceRefused as error:
        raise bad_member(name, value, allowed) from error
    return value
