"""Jobs as 18-062r2 defines them: list, status and dismissal."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orchestration.job import Order, Output
from tests.databases import BOTH, DatabaseOf
from tests.routes.conftest import OrderSite

URL = "https://maps.example.org/land"
NO_SUCH_JOB = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-job"
RESULTS = "http://www.opengis.net/def/rel/ogc/1.0/results"


def ids(site: OrderSite, query: str = "") -> list[str]:
    answer = site.client.get(f"/jobs?{query}")
    assert answer.status_code == 200, answer.text
    return [job["jobID"] for job in answer.json()["jobs"]]


def rels(job: dict[str, Any]) -> set[str]:
    return {link["rel"] for link in job["links"]}


def test_a_job_is_described_from_order_to_result(site: OrderSite) -> None:
    job_id = site.order()
    path = f"/jobs/{job_id}"
    accepted = site.client.get(path)
    site.resources.store.begin(job_id)
    site.resources.store.report(job_id, 1, 40, "cutting")
    running = site.client.get(path)
    site.resources.store.publish(job_id, 1, (Output("stringOutput", "x"),))
    done = site.client.get(path)
    assert [answer.json()["status"] for answer in (accepted, running, done)] == ["accepted", "running", "successful"]
    assert [answer.json()["progress"] for answer in (accepted, running, done)] == [0, 40, 100]
    assert running.json()["message"] == "cutting"
    assert all(answer.json()["message"] for answer in (accepted, done))
    assert ["retry-after" in answer.headers for answer in (accepted, running, done)] == [True, True, False]
    assert ["monitor" in rels(answer.json()) for answer in (accepted, running, done)] == [True, True, False]
    assert [RESULTS in rels(answer.json()) for answer in (accepted, running, done)] == [False, False, True]
    assert {"created", "started", "finished", "updated"} <= done.json().keys()
    assert "started" not in accepted.json()


def test_a_failed_job_has_its_reason_and_no_results(site: OrderSite) -> None:
    job_id = site.order()
    site.fail(job_id, "the source is broken")
    job = site.client.get(f"/jobs/{job_id}").json()
    assert (job["status"], job["message"]) == ("failed", "the source is broken")
    assert RESULTS not in rels(job)


@pytest.mark.parametrize("job_id", ["nothing", "00000000-0000-4000-8000-000000000000", "%00", "%27%20or%201=1"])
def test_an_unknown_job_is_404_for_every_method(site: OrderSite, job_id: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/results"), ("GET", "/results/x"), ("HEAD", "")):
        answer = site.client.request(method, f"/jobs/{job_id}{path}")
        assert answer.status_code == 404
        if method != "HEAD":
            assert answer.json()["type"] == NO_SUCH_JOB


def test_an_unfinished_job_is_dismissed_and_stays_listed(site: OrderSite) -> None:
    job_id = site.order()
    site.resources.store.begin(job_id)
    site.resources.store.report(job_id, 1, 40, "cutting")
    first = site.client.delete(f"/jobs/{job_id}")
    assert (first.status_code, first.json()["status"]) == (200, "dismissed")
    assert first.json()["message"] == "Cancelled."
    assert ids(site) == [job_id]
    assert site.client.get(f"/jobs/{job_id}/results").status_code == 410
    second = site.client.delete(f"/jobs/{job_id}")
    assert (second.status_code, second.json()["status"]) == (200, "dismissed")
    assert site.client.get(f"/jobs/{job_id}").status_code == 404
    assert site.client.delete(f"/jobs/{job_id}").status_code == 404
    assert ids(site) == []


def test_a_finished_job_is_deleted(site: OrderSite) -> None:
    job_id = site.order()
    site.serve(job_id, Output("stringOutput", "x"))
    answer = site.client.delete(f"/jobs/{job_id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "dismissed")
    assert RESULTS not in rels(answer.json())
    for path in ("", "/results", "/results/stringOutput"):
        assert site.client.get(f"/jobs/{job_id}{path}").status_code == 404


def test_the_list_is_newest_first_and_has_pages(site: OrderSite) -> None:
    made = [site.order() for _ in range(5)][::-1]
    listed: list[str] = []
    path: str | None = "/jobs?limit=2&processID=echo"
    pages = []
    while path:
        page = site.client.get(path).json()
        pages.append(page)
        listed += [job["jobID"] for job in page["jobs"]]
        path = next((link["href"].removeprefix(URL) for link in page["links"] if link["rel"] == "next"), None)
    assert listed == made
    assert [page["numberMatched"] for page in pages] == [5, 5, 5]
    [back] = [link["href"].removeprefix(URL) for link in pages[-1]["links"] if link["rel"] == "prev"]
    assert site.client.get(back).json()["jobs"] == pages[1]["jobs"]


@pytest.fixture
def stored_site(make_app: Callable[..., Starlette], database_of: DatabaseOf) -> Iterator[OrderSite]:
    """Return a site whose orders are in the database of the test."""
    url = database_of.text if "://" in database_of.text else None
    app = make_app(database={"url": url}) if url else make_app()
    with TestClient(app, base_url="http://inside.invalid", follow_redirects=False) as client:
        yield OrderSite(client, app.state.resources)


def walk(site: OrderSite, path: str, rel: str, between: Callable[[int], object]) -> Iterator[list[str]]:
    """Yield the pages from a path on, by their links; `between` is called after each, with its number."""
    number, following = 0, path
    while following:
        page = site.client.get(following).json()
        yield [job["jobID"] for job in page["jobs"]]
        between(number)
        number += 1
        links = [link["href"].removeprefix(URL) for link in page["links"] if link["rel"] == rel]
        following = links[0] if links else ""


@pytest.mark.parametrize("database_of", BOTH, indirect=True)
@pytest.mark.parametrize("query", ["", "status=accepted,running,successful&processID=echo&offset=0"])
def test_paging_shows_each_remaining_job_once(stored_site: OrderSite, query: str) -> None:
    made = [stored_site.order() for _ in range(18)][::-1]
    gone: set[str] = set()

    def change(number: int) -> None:
        """Add orders, remove one already listed, one at the page's end and a later one, and start and end others."""
        for _ in range(number + 1):
            stored_site.order()
        for job_id in {*made[5 * number : 5 * number + 8 : 4], *made[5 * number + 7 : 5 * number + 8]} - gone:
            stored_site.client.delete(f"/jobs/{job_id}")
            stored_site.client.delete(f"/jobs/{job_id}")
            gone.add(job_id)
        store = stored_site.resources.store
        for job_id in filter(store.begin, (made[(number * 5 + 3) % len(made)], made[-1 - number])):
            store.publish(job_id, 1, (Output("stringOutput", "x"),))

    pages = list(walk(stored_site, f"/jobs?limit=5&{query}", "next", change))
    seen = list(chain(*pages))
    assert len(pages) > 3
    assert len(seen) == len(set(seen))
    stayed = [job_id for job_id in made if job_id not in gone]
    assert [job_id for job_id in seen if job_id not in gone] == stayed
    back = list(walk(stored_site, f"/jobs?limit=5&offset={len(made) - 3}", "prev", lambda _: stored_site.order()))
    seen = list(chain(*map(reversed, back)))
    assert len(seen) == len(set(seen))
    assert set(stayed[:-3]) <= set(seen)


def test_next_and_prev_continue_from_the_jobs_of_a_page(site: OrderSite) -> None:
    made = [site.order() for _ in range(3)][::-1]
    page = site.client.get("/jobs?limit=1&offset=1&processID=echo").json()
    links = {link["rel"]: link["href"].removeprefix(URL) for link in page["links"]}
    assert all("limit=1" in link and "processID=echo" in link for link in links.values())
    assert "offset" not in links["next"] + links["prev"]
    assert "offset=1" in links["self"]
    assert [ids(site, links[rel].partition("?")[2]) for rel in ("prev", "next")] == [[made[0]], [made[2]]]
    last = site.client.get(links["next"]).json()
    assert {link["rel"] for link in last["links"]} == {"self", "alternate", "prev"}
    for job_id in made[2:]:
        site.client.delete(f"/jobs/{job_id}")
        site.client.delete(f"/jobs/{job_id}")
    empty = site.client.get(links["next"]).json()
    [start] = [link["href"] for link in empty["links"] if link["rel"] == "prev"]
    assert (empty["jobs"], ids(site, start.partition("?")[2])) == ([], [made[0]])


def test_ten_jobs_are_listed_by_default(site: OrderSite) -> None:
    for _ in range(11):
        site.order()
    assert len(ids(site)) == 10
    assert len(ids(site, "limit=10001")) == 11


def test_a_time_without_a_zone_is_utc_in_any_zone_of_the_server(
    site: OrderSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        job_id = site.order()
        soon = datetime.now(UTC) + timedelta(minutes=1)
        assert ids(site, f"datetime={soon:%Y-%m-%dT%H:%M:%S}/..") == []
        assert ids(site, f"datetime=../{soon:%Y-%m-%dT%H:%M:%S}") == [job_id]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_filters_select_jobs(site: OrderSite) -> None:
    waiting, failed = site.order(), site.order()
    site.fail(failed, "no")
    other, _ = site.resources.store.add(Order("extract-product", {}, "local"))
    everything = [other.id, failed, waiting]
    now = datetime.now(UTC)
    before, after = (f"{now + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}" for minutes in (-1, 1))
    created = site.client.get(f"/jobs/{waiting}").json()["created"]
    expected = {
        "type=process": everything,
        "processID=echo": [failed, waiting],
        "processID=echo,extract-product": everything,
        "processID=echo&processID=extract-product": everything,
        "processID=nothing": [],
        "status=failed": [failed],
        "status=accepted,failed": everything,
        "status=accepted&processID=echo": [waiting],
        f"datetime={before}/{after}": everything,
        f"datetime={before}/..": everything,
        f"datetime=../{before}": [],
        f"datetime=/{after}": everything,
        f"datetime={after}/": [],
        f"datetime={before}": [],
        f"datetime={before.replace('Z', '%2B00:00')}/..": everything,
        "datetime=0001-01-01T00:00:00%2B23:00": [],
        f"datetime={now:%Y-%m-%d}": everything,
        f"datetime={now + timedelta(days=1):%Y-%m-%d}/..": [],
        "minDuration=0": [failed],
        "minDuration=60": [],
        "maxDuration=60": [failed],
    }
    assert {query: ids(site, query) for query in expected} == expected
    assert waiting in ids(site, f"datetime={created}")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=ten", "limit=1&limit=2", "offset=-1", "offset=100001", "cursor=", "cursor=x", "cursor=%FF",
        "cursor=bjEueA&cursor=bjEueA", "cursor=MTIzNDU2", f"cursor={'A' * 9000}", "cursor=%D9%A3",
        "offset=5&cursor=bjEueA", "type=job", "status=done", "status=", "datetime=",
        "datetime=yesterday", "datetime=../..", "datetime=/", "datetime=2026-11-23T00:00:00Z/2026-11-22T00:00:00Z",
        "datetime=2026-11-23T00:00:00Z/x", "minDuration=-1", "minDuration=x",
        "maxDuration=1e9", "maxDuration=nan", "process=echo", "f=xml",
    ],
)  # fmt: skip
def test_an_invalid_filter_is_400_by_name(site: OrderSite, query: str) -> None:
    answer = site.client.get(f"/jobs?{query}")
    assert answer.status_code == 400
    assert answer.json()["parameter"] == query.partition("=")[0]


def test_the_page_of_an_unfinished_job_refreshes_itself(site: OrderSite) -> None:
    job_id = site.order({"stringInput": "<script>alert(1)</script>"})
    page = site.client.get(f"/jobs/{job_id}?f=html").text
    assert '<noscript><meta http-equiv="refresh"' in page
    assert "<progress" in page
    assert "<script>" not in page
    site.serve(job_id, site.file(job_id, b"x" * 2000))
    done = site.client.get(f"/jobs/{job_id}?f=html").text
    assert "refresh" not in done
    assert "Raster.zip</a>, 2 kB" in done
    assert f"{URL}/jobs/{job_id}/results/result" in done


def test_the_list_is_a_table(site: OrderSite) -> None:
    assert "You have no orders here" in site.client.get("/jobs?f=html").text
    job_id = site.order()
    page = site.client.get("/jobs?f=html&limit=1").text
    assert f'href="{URL}/jobs/{job_id}?f=html"' in page
    assert "<table" in page
