"""Prefer is read as RFC 7240 defines it."""

import pytest
from starlette.requests import Request

from routes.query.parameters import Preferences, read_preferences


@pytest.mark.parametrize(
    ("headers", "preferences"),
    [
        ([], Preferences()),
        (["respond-async"], Preferences(respond_async=True)),
        (["Respond-Async"], Preferences(respond_async=True)),
        (["respond-async, wait=10"], Preferences(respond_async=True, wait=10)),
        (["respond-async,wait = 10"], Preferences(respond_async=True, wait=10)),
        (['wait="10"'], Preferences(wait=10)),
        (["respond-async; foo=bar"], Preferences(respond_async=True)),
        (["handling=lenient", "respond-async", "wait=5"], Preferences(respond_async=True, wait=5)),
        (["wait=5, wait=50"], Preferences(wait=5)),
        (['foo="a, respond-async, b"'], Preferences()),
        (["return=minimal"], Preferences()),
        (["wait=soon"], Preferences()),
        (["wait=-1"], Preferences()),
        (["wait=1.5"], Preferences()),
        (["wait=9999999999"], Preferences()),
        (["wait=\u00b2"], Preferences()),
        (["wait"], Preferences()),
        ([',,;;="'], Preferences()),
        (["respond-async=no"], Preferences()),
        (["respond-asynchronously"], Preferences()),
    ],
)
def test_preferences_are_parsed(headers: list[str], preferences: Preferences) -> None:
    raw = [(b"prefer", header.encode("latin-1")) for header in headers]
    assert read_preferences(Request({"type": "http", "headers": raw})) == preferences
