"""A request to a production service: JSON in both directions, limited in size and time."""

import json
import logging
import re
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import SplitResult, urlencode

from orchestration.errors import ReferenceRefused, ServiceFailed, ServiceNotSetUp, ServiceRefused
from orchestration.net.addresses import any_address
from orchestration.net.connection import Pinned, connect, parse_address, target_of, why

MAX_ANSWER = 10_000_000
"""Bytes of an answer that is taken; it goes through Airflow's database and is stored with the order."""
_CHUNK = 65_536
_EXCERPT = 300
_REFUSALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND})
_SPACE = re.compile(r"\s+")
_log = logging.getLogger(__name__)

Query = Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class Service:
    """Where a service is, and how long it may take: `seconds` from the first byte to the last.

    The address is the operator's own, so it may be anywhere. No redirect is followed, no proxy used, and nothing
    compressed taken.
    """

    name: str
    url: str = field(repr=False)
    seconds: float
    login: str = field(default="", repr=False)
    """`user:password`, or empty."""

    def post(self, path: str, query: Query, content: Any) -> Any:
        """Send a JSON value; return the answer of the service.

        Truth values go into the query as the words `True` and `False`. Raises ServiceRefused at 400 and 404,
        ServiceNotSetUp where its address is none, else ServiceFailed.
        """
        deadline = time.monotonic() + self.seconds
        parts = self._address(path)
        try:
            connection = connect(parts, deadline, allowed=any_address)
            try:
                target = f"{target_of(parts)}?{urlencode({name: str(value) for name, value in query.items()})}"
                return self._read(self._ask(connection, target, content))
            finally:
                connection.hang_up()
        except TimeoutError as error:
            raise ServiceFailed(f"{self.name} did not answer within {_duration(self.seconds)}") from error
        except ReferenceRefused as error:
            raise ServiceFailed(f"{self.name} cannot be reached") from error
        except (OSError, HTTPException) as error:
            _log.warning("%s: %s", self.url, why(error))
            raise ServiceFailed(f"{self.name} cannot be reached, or broke the connection off") from error

    def _address(self, path: str) -> SplitResult:
        try:
            return parse_address(self.url.rstrip("/") + path)
        except ReferenceRefused as error:
            raise ServiceNotSetUp(
                f"{self.name} is not set up: its connection has no address that can be asked"
            ) from error

    def _ask(self, connection: Pinned, target: str, content: Any) -> HTTPResponse:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "landcast"}
        if self.login:
            headers["Authorization"] = f"Basic {b64encode(self.login.encode()).decode()}"
        connection.request("POST", target, json.dumps(content, allow_nan=False).encode(), headers)
        return connection.getresponse()

    def _read(self, answer: HTTPResponse) -> Any:
        body = self._body(answer)
        if answer.status in _REFUSALS:
            raise ServiceRefused(f"{self.name} refused it with status {answer.status}{_said(body)}")
        if answer.status not in range(HTTPStatus.OK, HTTPStatus.MULTIPLE_CHOICES):
            _log.warning("%s answered with status %s%s", self.name, answer.status, _said(body))
            raise ServiceFailed(f"{self.name} failed with status {answer.status}")
        try:
            return _parse(body)
        except (ValueError, RecursionError) as error:
            raise self.nonsense("its answer is no JSON") from error

    def _body(self, answer: HTTPResponse) -> bytes:
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise self.nonsense("its answer is compressed")
        body = bytearray()
        while chunk := answer.read(_CHUNK):
            body += chunk
            if len(body) > MAX_ANSWER:
                raise self.nonsense(f"its answer is larger than {MAX_ANSWER} bytes")
        if answer.length:
            raise self.nonsense("its answer was cut off half-way")
        return bytes(body)

    def nonsense(self, what: str) -> ServiceFailed:
        """Return the error of an invalid answer."""
        return ServiceFailed(f"{self.name} answered nonsense: {what}")


def _parse(body: bytes) -> Any:
    """Return the JSON value. Raises ValueError, also for NUL and lone surrogates, which Airflow's database refuses."""
    value = json.loads(body.decode())
    if "\\u0000" in json.dumps(value, allow_nan=False):
        raise ValueError("a text with NUL")
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _said(body: bytes) -> str:
    """Return the text of a refusal, in one line and abbreviated, for the caller."""
    text = _SPACE.sub(" ", body[: 4 * _EXCERPT].decode(errors="replace")).strip()
    shown = "".join(sign if sign.isprintable() else "�" for sign in text[:_EXCERPT])
    return f": {shown}{'…' if len(text) > _EXCERPT else ''}" if shown else ""


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds:g} s"  # noqa: PLR2004  an hour
