"""The HTTP client for callbacks to callers; bounded like `orchestration.net.fetch`."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException

from orchestration.errors import Unreachable
from orchestration.net.addresses import Allowed, Resolve, is_public, resolve
from orchestration.net.connection import connect, parse_address, target_of, why

_DIGITS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of a response, and its `Retry-After` in seconds, 0 without one."""

    status: int
    retry_after: float = 0


@dataclass(frozen=True, slots=True)
class Poster:
    """Posts to allowed addresses, within `seconds` each; redirects are not followed, bodies are not read."""

    seconds: float = 10
    allowed: Allowed = is_public
    resolve: Resolve = resolve

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return the response. Raises ReferenceRefused, and Unreachable without a response."""
        deadline = time.monotonic() + self.seconds
        parts = parse_address(url)
        try:
            connection = connect(parts, deadline, allowed=self.allowed, resolve=self.resolve)
            try:
                connection.request("POST", target_of(parts), body, {"User-Agent": "landcast", **headers})
                answer = connection.getresponse()
                return Answer(answer.status, _seconds(answer.headers.get("Retry-After", "")))
            finally:
                connection.hang_up()
        except TimeoutError as error:
            raise Unreachable(f"not answered in {self.seconds:g} s") from error
        except (OSError, HTTPException) as error:
            raise Unreachable(why(error)) from error


def _seconds(retry_after: str) -> float:
    """Return the seconds of a `Retry-After` (RFC 9110, 10.2.3): a number or a date; 0 for anything else."""
    if _DIGITS.fullmatch(retry_after.strip()):
        return float(retry_after)
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


@dataclass(frozen=True, slots=True)
class AmqpMessage:
    """A persistent message; `identity` is the same whenever it is published again."""

    exchange: str
    routing_key: str
    body: bytes = field(repr=False)
    content_type: str
    identity: str | None = None
