"""When `datetime` intersects a time (17-069r4 /req/core/fc-time-response): in UTC, with the ends of an interval."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from routes.http.problem import Problem
from routes.query.parameters import DATETIME, meets_time
from tests.routes.common.test_collections import app_of, configured

YEAR = {"begin": datetime(2023, 1, 1, tzinfo=UTC), "end": datetime(2023, 12, 31, 23, 59, 59, tzinfo=UTC)}
DAYS = {"begin": date(2023, 1, 1), "end": date(2023, 12, 31)}
TEXT = {"begin": "2023-01-01T01:00:00+01:00", "end": "2023-12-31"}
FROM, UNTIL = {"begin": date(2023, 1, 1), "end": None}, {"begin": None, "end": date(2023, 12, 31)}
SAME = (YEAR, DAYS, TEXT)
INSIDE = (
    "2023-01-01T00:00:00Z", "2023-12-31T23:59:59Z", "2023-01-01T01:00:00+01:00", "2022-12-31T23:00:00-01:00",
    "2023-06-01",
    "2023-01-01T00:00:00.000000001Z", "2023-01-01t00:00:00z", "2023-12-31", "2023-01-01/..", "../2023-01-01",
    "/2023-01-01",
    "2023-12-31/", "2022-01-01/2023-01-01T00:00:00Z", "2023-12-31T23:59:59Z/2024-02-01", "2020-01-01/2030-01-01",
    "2024-01-01T00:30:00+01:00", "2023-12-31T23:59:59Z/2023-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00/..",
)  # fmt: skip
OUTSIDE = (
    "2023-01-01T00:30:00+01:00", "2022-12-31", "2022-12-31T23:59:59.999Z", "2024-01-01", "2024-01-01T00:00:00Z",
    "../2022-12-31",
    "2024-01-01/..", "2023-12-31T23:30:00-01:00", "../2022-12-31T23:59:59Z", "2016-12-31T23:59:60Z", "1999-01-01",
)  # fmt: skip
WRONG = (
    "", "..", "../..", "/", "2023", "2023-06", "20230601", "2023-W01-1", "2023-06-01x12:00:00Z", "2023-06-01+12:00:00",
    "2023-06-01 12:00:00", "2023-13-01", "2023-02-29", "2023-06-01T25:00:00Z", "2023-06-01T12Z", "2023-06-01T12:00:61Z",
    "2023-06-01T12:00:00,5Z", "2023-06-01/2023-05-01", "2023-06-01/x", "a/2023-06-01",
    "2023-01-01/2023-02-01/2023-03-01",
    "\u0662023-06-01", "2023-06-01T12:00:00+99:00", "-2023-06-01", "now",
)  # fmt: skip


def asking(text: str) -> Request:
    return Request({"type": "http", "query_string": f"datetime={quote(text)}".encode(), "headers": []})


@pytest.mark.parametrize("temporal", SAME, ids=["moments", "days", "text"])
def test_intervals_within_an_extent_match(temporal: Mapping[str, Any]) -> None:
    collection = {"extents": {"temporal": temporal}}
    assert [text for text in INSIDE if not meets_time(asking(text), collection)] == []
    assert [text for text in OUTSIDE if meets_time(asking(text), collection)] == []


def test_open_intervals_and_missing_times_match() -> None:
    later, earlier = "2999-01-01", "1000-01-01/1001-01-01"
    for temporal, met in ((FROM, [later]), (UNTIL, [earlier]), (None, [later, earlier]), ({}, [later, earlier])):
        collection = {"extents": {"temporal": temporal}}
        assert [text for text in (later, earlier) if meets_time(asking(text), collection)] == met


@pytest.mark.parametrize("text", WRONG)
def test_invalid_times_are_refused(text: str) -> None:
    with pytest.raises(Problem) as raised:
        DATETIME.of(asking(text))
    assert "datetime" in raised.value.detail


def test_a_day_alone_lasts_to_its_end() -> None:
    last = datetime(2023, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert DATETIME.of(asking("2023-01-01/2023-12-31")) == (YEAR["begin"], last)
    assert DATETIME.of(asking("2023-12-31")) == (last.replace(hour=0, minute=0, second=0, microsecond=0), last)


def test_a_space_in_place_of_a_plus_is_an_offset() -> None:
    assert DATETIME.of(asking("2023-01-01T01:00:00 01:00")) == (YEAR["begin"], YEAR["begin"])


def test_a_coverage_and_a_map_answer_by_their_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = configured(tmp_path, monkeypatch)
    raster = configuration["resources"]["clcplus-raster"]
    timeless = {**raster, "extents": {"spatial": raster["extents"]["spatial"]}}
    configuration["resources"]["timeless"] = timeless
    asked = {
        "2024-01-01T00:30:00+01:00": 200, "2023-01-01T00:30:00+01:00": 204, "../2022-12-31T23:59:59Z": 204,
        "2023-12-31T23:59:59Z/..": 200, "2023-06": 400,
    }  # fmt: skip
    with TestClient(app_of(configuration, tmp_path, auth={"open": True})) as client:
        for path in ("coverage", "map"):
            for text, status in asked.items():
                query = {"datetime": text, "bbox": "19.5,49.57,19.56,49.6", "width": "8", "height": "8"}
                address = f"/collections/clcplus-raster/{path}"
                assert client.get(address, params=query).status_code == status, (path, text)
                found = client.get(f"/collections/timeless/{path}", params=query)
                assert found.status_code == (400 if status == 400 else 200)
                assert "content-datetime" not in found.headers
