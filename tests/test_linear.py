"""Every reader of a caller's text takes linear time: for twice the text at most 2.5 times the time.

Each reader gets texts that are slow for its kind: repeated separators, unclosed brackets, blanks, long words, many
short ones. `thread_time` measures this thread alone; garbage collection is off, as it would visit other objects too.
"""

import ctypes
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.requests import Request

from auth.authenticate import session_secret
from auth.client_address import client_address
from auth.credentials import InvalidCredential, credential_of
from auth.keys.text import InvalidKey, read_key
from auth.refusal import InvalidToken
from auth.signed_token import read_token
from orchestration.errors import ReferenceRefused
from orchestration.net.connection import parse_address
from orchestration.notifications.mailbox import is_mailbox
from orchestration.notifications.signature import NotSigned, verify
from plugins.crs import CRS84
from processes.messages import shown
from products.errors import InvalidArea
from products.outline import outline
from routes.coverages.wanted import SUBSET
from routes.features.items import read_query
from routes.http.accept import choose
from routes.http.body import parse_object
from routes.http.file_response import RangeNotSatisfiable, parse_ranges
from routes.http.form import parse_form
from routes.http.preconditions import Validators, check_preconditions, range_applies
from routes.http.problem import Problem
from routes.http.return_to import is_ours
from routes.middleware.compression import coding_of
from routes.middleware.edge import Edge, _check_host, _path_of, choose_request_id, without_secrets
from routes.processes.execution import _checked_key
from routes.query.parameters import DATETIME, NAMES, Parameter, allow_parameters, read_boxes, read_preferences

ENOUGH = 0.02
"""Seconds of a measured input."""
LONGEST = 1 << 20
"""Characters, at most: longer texts leave the processor's caches, and what is linear looks as if it were not."""
QUICK = 0.0005
"""Seconds in which the longest text is read too quickly to be compared."""
MOST, ROUNDS = 2.5, 5
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""What mallopt(3) calls them."""
REFUSALS = (
    Problem, InvalidCredential, InvalidKey, InvalidToken, NotSigned, ReferenceRefused, InvalidArea, RangeNotSatisfiable,
    ValueError,
)  # fmt: skip

Read = Callable[[str], object]
VALIDATORS = Validators('"etag"', 1_700_000_000)
TRUSTED = [ip_network("10.0.0.0/8"), ip_network("127.0.0.1")]
PROVIDER = cast("Any", SimpleNamespace(get_fields=lambda: {"name": {"type": "string"}}, systems=(CRS84,), times=()))
APP = SimpleNamespace(state=SimpleNamespace(resources=SimpleNamespace(languages={})))
LIMITS = {"default_items": 10, "max_items": 100}


def asked(query: str = "", **headers: str) -> Request:
    fields = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": fields}
    return Request(scope | {"app": APP})


def a_body(text: str) -> object:
    return parse_object(text.encode())


def a_form(text: str) -> object:
    return parse_form(text.encode(), None)


def an_area(text: str) -> object:
    return outline(text)


def a_precondition(text: str) -> object:
    return check_preconditions(asked(if_none_match=text), VALIDATORS)


def a_date(text: str) -> object:
    return check_preconditions(asked(if_modified_since=text), VALIDATORS)


def an_if_range(text: str) -> object:
    return range_applies(asked(range="bytes=0-", if_range=text), VALIDATORS)


def a_cookie(text: str) -> object:
    return session_secret([(b"cookie", text.encode())])


def a_credential(text: str) -> object:
    return credential_of([(b"authorization", text.encode())])


def a_key(text: str) -> object:
    return read_key(text)


def a_token(text: str) -> object:
    return read_token(text, ("RS256",))


def a_forwarded_for(text: str) -> object:
    return client_address("127.0.0.1", [text], TRUSTED)


def a_preference(text: str) -> object:
    return read_preferences(asked(prefer=text))


def a_range(text: str) -> object:
    return parse_ranges(text, 1000)


def an_accept(text: str) -> object:
    return choose(text, ("image/png", "text/html"))


def an_accept_encoding(text: str) -> object:
    return coding_of(text)


def a_host(text: str) -> None:
    _check_host({"headers": [(b"host", text.encode())]})


def a_target(text: str) -> object:
    return _path_of({"path": text, "raw_path": text.encode()})


def a_path(text: str) -> object:
    return Edge(_nowhere, url="https://a.example/land")._stripped(text)


async def _nowhere(*_: object) -> None:
    """Answer nothing."""


def a_box(text: str) -> object:
    return read_boxes(asked(f"bbox={text}"), (CRS84,))


def a_time(text: str) -> object:
    return DATETIME.of(asked(f"datetime={text}"))


def an_axis(text: str) -> object:
    return SUBSET.of(asked(f"subset={text}"))


def an_order(text: str) -> object:
    return read_query(asked(f"sortby={text}"), PROVIDER, LIMITS)


def properties(text: str) -> object:
    return read_query(asked(f"properties={text}"), PROVIDER, LIMITS)


def a_filter(text: str) -> object:
    return read_query(asked(f"name={text}"), PROVIDER, LIMITS)


def a_query(text: str) -> None:
    allow_parameters(asked(text), *(Parameter(name, "", NAMES) for name in ("a", "")))


def a_logged_query(text: str) -> object:
    return without_secrets({"path": "/", "query_string": text.encode()})


def an_idempotency_key(text: str) -> object:
    return _checked_key(text, cast("Any", SimpleNamespace(method="token")))


def a_request_id(text: str) -> object:
    return choose_request_id(text)


def a_place_to_return_to(text: str) -> object:
    return is_ours(text, "https://a.example/land")


def a_callback(text: str) -> object:
    return parse_address(text)


def a_mailbox(text: str) -> object:
    return is_mailbox(text)


def a_signature(text: str) -> None:
    verify(b"key", {"webhook-timestamp": "1", "webhook-signature": text}, b"", 1)


def a_refused_value(text: str) -> object:
    return shown({"a": [text] * 3})


# What is read, by what comes before, what is repeated, and what comes after.
CASES: Sequence[tuple[Read, str, str, str]] = [
    (a_body, '{"a": "', '\\"', ""),
    (a_body, '{"a": "', "\\", ""),
    (a_body, '{"a": "', "\\\\", '"}'),
    (a_body, '{"a": "', "\\ud83d", '"}'),
    (a_body, "", "[", ""),
    (a_body, "", '"', ""),
    (a_body, '{"a": [', "[],", "1]}"),
    (a_body, '{"a": [', '"[",', "1]}"),
    (a_body, '{"a": [', '{"b":1},', "1]}"),
    (a_body, '{"a": ', '{"a":', ""),
    (a_body, '{"a": ', "9", "}"),
    (a_body, '{"a": 1.', "9", "}"),
    (a_body, '{"a": 1e', "9", "}"),
    (a_body, "{", " ", "}"),
    (a_body, '{"a": [', "[19.123456,49.123456],", "1]}"),
    (a_form, "a=", "%41", ""),
    (a_form, "", "a=b&", ""),
    (a_form, "", "&", ""),
    (an_area, "", " ", ""),
    (an_area, "POLYGON", " ", "X"),
    (an_area, "SRID=4326;", " ", "X"),
    (an_area, "SRID", " ", "X"),
    (an_area, "POLYGON ", "(", ""),
    (an_area, "POLYGON ((", "1 1, ", "1 1))"),
    (an_area, "POLYGON ((0 0, 1 0, 1 1, 0 0)", ", EMPTY", ")"),
    (an_area, "POLYGON ((", "9", " 1, 2 2, 3 3))"),
    (a_precondition, "", '"a", ', '"a"'),
    (a_precondition, "", "W/", '"a"'),
    (a_precondition, '"', ",", ""),
    (a_date, "", "1 ", ""),
    (a_date, "Mon, ", "9", " Jan 2024 00:00:00 GMT"),
    (a_date, "Mon, 1 Jan 2024 ", "0:", " GMT"),
    (a_date, "", "(", ""),
    (an_if_range, "", "Mon, ", ""),
    (a_cookie, "", "a=b; ", ""),
    (a_cookie, "", ";", ""),
    (a_cookie, "", "__Host-landcast=x;", ""),
    (a_credential, "Bearer ", "a", "!"),
    (a_credential, "Basic ", "QQ", ""),
    (a_credential, "", " ", ""),
    (a_key, "lc_", "a", ""),
    (a_token, "", "e30.", ""),
    (a_token, "", "a", ".e30.e30"),
    (a_forwarded_for, "", "10.1.1.1, ", "10.1.1.1"),
    (a_forwarded_for, "", ",", ""),
    (a_forwarded_for, "", ":", ""),
    (a_forwarded_for, "", "1", ""),
    (a_preference, "", "a=b, ", ""),
    (a_preference, "", '"', ""),
    (a_preference, '"', "\\", ""),
    (a_preference, "wait=", "1", ""),
    (a_range, "bytes=", "0-1,", ""),
    (a_range, "bytes=", "9", "-"),
    (a_range, "bytes=", " ,", ""),
    (an_accept, "", "a/b;q=0.1, ", ""),
    (an_accept, "text/html", ";", ""),
    (an_accept, "text/html;q=0.", "0", ""),
    (an_accept, "", ",", ""),
    (an_accept_encoding, "", "gzip;q=0.5, ", ""),
    (an_accept_encoding, "", "a, ", ""),
    (a_host, "", "a", "/"),
    (a_host, "[", ":", "]"),
    (a_host, "a:", "9", ""),
    (a_host, "", "%41", "%"),
    (a_target, "http://", "a", "/"),
    (a_target, "http://a", "/", ""),
    (a_target, "http://", "%2F", ""),
    (a_path, "/land", "/", ""),
    (a_box, "", "1,", "1"),
    (a_box, "", "9", ",1,1,1"),
    (a_time, "", "2024-01-01", ""),
    (a_time, "", "/", ""),
    (a_time, "2024-01-01T00:00:00.", "9", "Z"),
    (an_axis, "", "Lat(1:2),", "Lon(1:2)"),
    (an_axis, "", ",", ""),
    (an_axis, ",", "a", ""),
    (an_axis, "", "%20", ""),
    (an_axis, "Lat(", "(", ""),
    (an_axis, "Lat(1:", "9", ")"),
    (an_order, "", "name,", "name"),
    (an_order, "", "-", "name"),
    (an_order, "", "%2B", "name"),
    (properties, "", "name,", "name"),
    (properties, "", ",", ""),
    (a_filter, "", "%41", ""),
    (a_query, "", "a=1&", ""),
    (a_query, "", "&", ""),
    (a_query, "", "a", "=%"),
    (a_logged_query, "", "sig=a&", ""),
    (a_logged_query, "", "sig", ""),
    (an_idempotency_key, "", "a", " "),
    (a_request_id, "", "a", " "),
    (a_place_to_return_to, "/land", "/..", ""),
    (a_callback, "http://", "a", " "),
    (a_callback, "http://[", ":", "]"),
    (a_mailbox, "", "a.", "@b"),
    (a_mailbox, "a@", "b.", ""),
    (a_signature, "", "v1,a ", ""),
    (a_refused_value, "", '"', ""),
]


@pytest.fixture(scope="module", autouse=True)
def undisturbed() -> Iterator[None]:
    """Disable garbage collection, and retain freed memory, as glibc returns large blocks and new pages take time."""
    libc = ctypes.CDLL(None)
    gc.disable()
    libc.mallopt(_MMAP_THRESHOLD, 1 << 25)
    libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
    yield
    libc.mallopt(_MMAP_THRESHOLD, 1 << 17)
    libc.mallopt(_TRIM_THRESHOLD, 1 << 17)
    libc.malloc_trim(0)
    gc.enable()


def seconds(read: Read, text: str) -> float:
    began = time.thread_time()
    with suppress(*REFUSALS):
        read(text)
    return time.thread_time() - began


def growth(read: Read, before: str, repeated: str, after: str) -> float:
    """Return the ratio of times for twice the text, the best of up to five each; 0 if the longest text is quick."""

    def made(times: int) -> str:
        return before + repeated * times + after

    times = 64
    while (took := seconds(read, made(times))) < ENOUGH and 8 * times * len(repeated) <= LONGEST:
        times *= 2 if took > ENOUGH / 4 else 4
    if took < QUICK:
        return 0
    once, twice = made(times), made(2 * times)
    measured: list[tuple[float, float]] = []
    while len(measured) < 2 or (len(measured) < ROUNDS and ratio(measured) > MOST):
        measured.append((seconds(read, once), seconds(read, twice)))
    return ratio(measured)


def ratio(measured: Sequence[tuple[float, float]]) -> float:
    """Return the ratio of the best times of twice and once the text."""
    return min(twice for _, twice in measured) / min(once for once, _ in measured)


def named(case: tuple[Read, str, str, str]) -> str:
    read, *texts = case
    return f"{read.__name__}-{'~'.join(texts)}".encode("unicode_escape").decode()


@pytest.mark.parametrize("case", CASES, ids=map(named, CASES))
def test_twice_the_text_takes_at_most_two_and_a_half_times_as_long(case: tuple[Read, str, str, str]) -> None:
    tries = (growth(*case) for _ in range(3))  # a machine that is busy with something else counts no more than that
    assert any(each <= MOST for each in tries)


@pytest.mark.parametrize("step", [1, 100])
def test_a_quadratic_reader_is_found(step: int) -> None:
    def slow(text: str) -> object:
        return sum(len(text[begin:].upper()) for begin in range(0, len(text), step))

    assert any(growth(slow, "", "a", "") > MOST for _ in range(3))
