"""My orders: recognizable names, statuses in words, filters, repetition, and dismissal of several orders."""

import json
import re
import subprocess
import sys
from html import unescape
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import shapely

from orchestration.job import JobQuery, Order, Output
from orchestration.store.jobs import StoredJobs
from products.catalogue import Catalogue
from routes.pages.translator import Translator
from routes.processes.job_page import name_of
from tests.databases import BOTH, DatabaseOf
from tests.routes.conftest import OrderSite
from tests.routes.people import PAGE, Browser

URL = "https://maps.example.org/land"
_ASYNC = {"Prefer": "respond-async", "Content-Type": "application/json"}
BOX = {"bbox": [19.8, 50.2, 19.82, 50.22]}


def page_of(site: OrderSite, path: str) -> str:
    """Return the text of a page, with single spaces and without tags."""
    answer = site.client.get(path, headers=PAGE)
    assert answer.status_code == 200, answer.text
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def ordered(site: OrderSite, process: str, inputs: dict[str, Any]) -> str:
    """Store an order without checks."""
    job, _ = site.resources.store.add(Order(process, inputs, "local"))
    return job.id


@pytest.mark.parametrize(
    ("process", "inputs", "name"),
    [
        (
            "extract-product",
            {"product": "Raster", "series": "clcplus", "year": 2023, "aoi": BOX},
            "CLC+ Backbone 2023, raster: 3.2 km² in Poland (50.21° N, 19.81° E)",
        ),
        (
            "extract-product",
            {"product": "Vector", "series": "clcplus", "year": 1850, "aoi": "POLYGON((-30 0, -29 0, -29 1, -30 0))"},
            "clcplus 1850, vector: 6,154 km² at 0.50° N, 29.50° W",
        ),
        (
            "national-product",
            {"product": "Raster", "series": "clcplus", "year": 2023, "nation": "czech REPUBLIC", "test": True},
            "Test: CLC+ Backbone 2023, raster: Czech Republic",
        ),
        ("area-statistics", {"park": "Ojcowski National Park"}, "Statistics of areas: Ojcowski National Park"),
        ("echo", {"stringInput": "x", "aoi": "no area", "product": 7, "series": ["?"]}, "Echo"),
        ("gone", {}, "gone"),
    ],
)
def test_an_order_is_named_by_product_and_place(
    site: OrderSite, process: str, inputs: dict[str, Any], name: str
) -> None:
    job_id = ordered(site, process, inputs)
    title = site.resources.processes.processors.get(process)
    name = name.replace("Statistics of areas", str(title.metadata["title"]) if title else "")
    assert name in page_of(site, "/jobs")
    assert name in page_of(site, f"/jobs/{job_id}")


def test_statuses_are_shown_in_plain_words(site: OrderSite) -> None:
    waiting, running, failed, cancelled, ready, value = (site.order() for _ in range(6))
    site.resources.store.begin(running)
    site.resources.store.report(running, 1, 40, "cutting")
    site.fail(failed, "the source <b>is</b> broken")
    site.resources.store.dismiss(cancelled)
    site.serve(ready, site.file(ready, b"x" * 167_000))
    site.serve(value, Output("stringOutput", "x"))
    text = page_of(site, "/jobs")
    assert re.search(r"Ready to download, 167 kB, until \d+ \w+", text)
    assert re.search(r"167 kB (29|30) Repeat", text), "size, and days left"
    assert "In progress, 40 %: cutting" in text
    assert "Failed: the source &lt;b&gt;is&lt;/b&gt; broken" in text
    assert text.count("Cancelled") == 1
    assert "Waiting" in page_of(site, f"/jobs/{waiting}")
    assert "Ready to download, 167 kB" in page_of(site, f"/jobs/{ready}")
    assert "Delete" in page_of(site, f"/jobs/{ready}")
    assert "Cancel" in page_of(site, f"/jobs/{running}")
    site.resources.store.files_removed(ready)
    assert "Finished; the files have been deleted" in page_of(site, "/jobs?status=successful")


def test_the_page_shows_the_history_of_a_job(site: OrderSite) -> None:
    job_id = site.order()
    site.resources.store.begin(job_id)
    site.resources.store.hand_back(job_id, 1, counted=True)
    site.fail(job_id, "the source is broken")
    time = r"\d+ \w+ \d{4}, \d\d:\d\d:\d\d UTC"
    steps = (
        "Ordered",
        "Started",
        "Interrupted : waits to be run again",
        "Started again, attempt 2",
        "Failed : the source",
    )
    assert re.search(" ".join(f"{time} {step}" for step in steps), page_of(site, f"/jobs/{job_id}"))


def test_the_history_of_a_job_that_was_ready_at_once_has_its_times(site: OrderSite) -> None:
    job, _ = site.resources.store.add(Order("echo", {}, "local"), (Output("stringOutput", "x"),))
    assert re.search(r"UTC Ordered .+? UTC Started .+? UTC Ready", page_of(site, f"/jobs/{job.id}"))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (167_234, "167 kB"),
        (1_234_567, "1.2 MB"),
        (345_678_901, "346 MB"),
        (2e9, "2.0 GB"),
    ],
)
def test_bytes_are_formatted_for_people(count: int, expected: str) -> None:
    assert Translator("en-GB").size(count) == expected


def test_every_choice_of_the_filters_works_and_is_kept(site: OrderSite) -> None:
    site.fail(site.order(), "broken")
    site.order()
    page = site.client.get("/jobs", headers=PAGE).text
    names = re.findall(r'<select id="\w+" name="(\w+)">(.*?)</select>', page, re.DOTALL)
    assert [name for name, _ in names] == ["status", "processID", "datetime"]
    for name, options in names:
        for value in re.findall(r'<option value="([^"]+)"', options):
            answer = site.client.get("/jobs", params={name: value, "f": "html"})
            assert answer.status_code == 200, answer.text
            assert f'<option value="{value}" selected>' in answer.text
    assert "1 order," in page_of(site, "/jobs?status=failed")
    assert "2 orders," in page_of(site, "/jobs?status=accepted,running,successful,failed,dismissed")


@pytest.mark.parametrize("database_of", BOTH, indirect=True)
def test_a_detailed_list_omits_large_inputs(database_of: DatabaseOf) -> None:
    store = StoredJobs(database_of())
    small, _ = store.add(Order("echo", {"a": "é" * 100}, "ann"), (Output("out", 1),))
    large, _ = store.add(Order("echo", {"a": "x" * 60_000}, "ann"), (Output("out", "y" * 60_000),))
    found = {job.id: job for job in store.find(JobQuery(detailed=True)).jobs}
    assert (found[small.id].order.inputs, found[small.id].manifest) == ({"a": "é" * 100}, (Output("out", 1),))
    assert (found[large.id].order.inputs, found[large.id].manifest) == ({}, ())
    assert all(not job.order.inputs and not job.manifest for job in store.find(JobQuery()).jobs)
    store.close()


def test_a_repeated_order_has_the_same_inputs(site: OrderSite) -> None:
    body = {"inputs": {"product": "Vector", "aoi": BOX, "project": "a \"b\" & 'c'"}, "response": "document"}
    first = site.client.post("/processes/extract-product/execution", json=body).json()["jobID"]
    again = site.client.get(f"/jobs/{first}/order").json()
    assert again["inputs"].items() >= body["inputs"].items()  # type: ignore[attr-defined] # a dict
    assert again["response"] == "document"
    second = site.client.post("/processes/extract-product/execution", json=again).json()["jobID"]
    stored = [site.resources.store.get(job_id) for job_id in (first, second)]
    assert stored[0] is not None
    assert stored[1] is not None
    assert stored[0].order.inputs == stored[1].order.inputs


def test_the_form_is_filled_in_with_the_order(site: OrderSite) -> None:
    inputs = {"product": "Vector", "aoi": BOX, "project": 'a "b"', "test": True}
    job_id = site.client.post("/processes/extract-product/execution", json={"inputs": inputs}).json()["jobID"]
    page = site.client.get(f"/jobs/{job_id}/order", headers=PAGE).text
    assert '<option value="Vector" selected>Vector</option>' in page
    assert '<option value="true" selected>yes</option>' in page
    assert 'value="a &#34;b&#34;"' in page
    assert "{&#34;bbox&#34;: [19.8, 50.2, 19.82, 50.22]}</textarea>" in page
    added = ordered(site, "extract-product", {**inputs, "repaired": "a ring", "visible": "0103"})
    assert site.client.get(f"/jobs/{added}/order").json()["inputs"] == inputs
    gone = ordered(site, "gone", {"a": 1})
    assert site.client.get(f"/jobs/{gone}/order").json() == {"inputs": {"a": 1}, "response": "raw"}
    assert site.client.get(f"/jobs/{gone}/order", headers=PAGE).status_code == 404
    assert "/order" not in site.client.get(f"/jobs/{gone}", headers=PAGE).text


def commands(site: OrderSite, job_id: str) -> list[str]:
    page = site.client.get(f"/jobs/{job_id}", headers=PAGE).text
    found = re.findall(r"<code>(curl .*?|import .*?)</code></pre>", page, re.DOTALL)
    unescaped = [text.replace("&#39;", "'").replace("&#34;", '"').replace("&gt;", ">") for text in found]
    return [text.replace("&lt;", "<").replace("&amp;", "&") for text in unescaped]


@pytest.mark.parametrize("size", [10, 9_000])
def test_the_program_orders_the_same_again(site: OrderSite, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'it\'s <b> & "é" $HOME `x` \\n' + "x" * size
    job_id = site.order({"stringInput": text})
    _, program = commands(site, job_id)
    client = site.client

    def post(address: str, **members: Any) -> Any:
        answer = client.post(address.removeprefix(URL), **members)
        site.serve(answer.json()["jobID"], Output("stringOutput", "x"))
        return answer

    def get(address: str, **members: Any) -> Any:
        return client.get(address.removeprefix(URL), **members)

    session = SimpleNamespace(headers={}, get=get, post=post)
    monkeypatch.setitem(sys.modules, "requests", SimpleNamespace(Session=lambda: session))
    exec(program, {})  # noqa: S102 - what the page says that works
    newest = site.client.get("/jobs?limit=1").json()["jobs"][0]["jobID"]
    stored = site.resources.store.get(newest)
    assert newest != job_id
    assert stored is not None
    assert stored.order.inputs["stringInput"] == text


def test_the_command_is_quoted_for_a_shell(site: OrderSite) -> None:
    text = 'it\'s <b> & "é" $HOME `x` \\n'
    curl, _ = commands(site, site.order({"stringInput": text}))
    script = f"curl() {{ printf '%s\\n' \"$@\"; }}; {curl}"
    echoed = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    sent = next(line for line in echoed.stdout.decode().splitlines() if line.startswith("{"))
    answer = site.client.post("/processes/echo/execution", content=sent, headers=_ASYNC)
    stored = site.resources.store.get(answer.json()["jobID"])
    assert stored is not None
    assert stored.order.inputs["stringInput"] == text


def test_several_orders_are_dismissed_by_one_form(site: OrderSite) -> None:
    waiting, done, stays = (site.order() for _ in range(3))
    site.serve(done, Output("stringOutput", "x"))
    answer = site.client.post("/jobs/dismissals", data={waiting: "on", done: "on"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{URL}/jobs?f=html")
    left = {job["jobID"]: job["status"] for job in site.client.get("/jobs").json()["jobs"]}
    assert left == {waiting: "dismissed", stays: "accepted"}
    one = site.client.post("/jobs/dismissals", data={stays: "on"})
    assert one.headers["location"] == f"{URL}/jobs/{stays}?f=html", "cancelled, and still there"
    gone = site.client.post("/jobs/dismissals", data={stays: "on"})
    assert gone.headers["location"] == f"{URL}/jobs?f=html"


def test_all_orders_of_a_form_are_dismissed_or_none(site: OrderSite) -> None:
    job_id = site.order()
    for other in ("nothing", "%00", "../../x"):
        assert site.client.post("/jobs/dismissals", data={job_id: "on", other: "on"}).status_code == 404
    many = {f"{number}": "on" for number in range(500)}
    assert site.client.post("/jobs/dismissals", data={job_id: "on", **many}).status_code == 400
    assert site.client.post("/jobs/dismissals", data={}).status_code in {303, 415}
    other_site = {"sec-fetch-site": "cross-site"}
    assert site.client.post("/jobs/dismissals", data={job_id: "on"}, headers=other_site).status_code == 403
    assert site.client.get(f"/jobs/{job_id}").json()["status"] == "accepted"


def test_dismissing_needs_ownership_and_the_token_of_the_page(browser: Browser) -> None:
    browser.sign_in()
    store = browser.http.app.state.resources.store  # type: ignore[attr-defined] # of Starlette
    owner = browser.http.get("/land/auth/account").json()["who"]["owner"]
    mine, _ = store.add(Order("echo", {}, owner))
    other, _ = store.add(Order("echo", {}, "somebody|else"))
    csrf = browser.csrf()
    assert browser.post("/jobs/dismissals", None, **{mine.id: "on"}).status_code == 403
    assert browser.post("/jobs/dismissals", None, **{mine.id: "on", other.id: "on", "csrf": csrf}).status_code == 404
    assert store.get(mine.id).status == "accepted"
    page = browser.http.get("/land/jobs", headers=PAGE).text
    assert f'name="csrf" value="{csrf}"' in page
    assert other.id not in page
    assert browser.post("/jobs/dismissals", None, **{mine.id: "on", "csrf": csrf}).status_code == 303
    assert store.get(mine.id).status == "dismissed"


def test_a_hidden_product_has_no_title(site: OrderSite) -> None:
    order = Order("national-product", {"product": "Raster", "series": "clcplus", "year": 2023, "nation": "Poland"}, "x")
    assert name_of(order, site.resources, Catalogue(()), Translator("en")) == "clcplus 2023, raster: Poland"


def outline_on(page: str) -> tuple[shapely.Geometry, list[str]]:
    """Return the outline on the map of a page, and the collections below it."""
    element = re.search(r'<div class="land-map"[^>]*>', page)
    assert element
    of = {name: unescape(value) for name, value in re.findall(r'data-(\w+)="([^"]*)"', element[0])}
    return shapely.from_geojson(of["outline"]), json.loads(of["collections"])


def test_the_page_of_a_job_has_its_outline_on_the_map_of_its_product(site: OrderSite) -> None:
    product = {"product": "Raster", "series": "clcplus", "year": 2023}
    triangle = ordered(site, "extract-product", {**product, "aoi": "POLYGON((19 50, 20 50, 20 51, 19 50))"})
    outline, collections = outline_on(site.client.get(f"/jobs/{triangle}", headers=PAGE).text)
    assert outline.equals(shapely.Polygon([(19, 50), (20, 50), (20, 51)]))
    assert collections == ["clcplus-raster"]
    nation = ordered(site, "national-product", {**product, "year": 1850, "nation": "Malta"})
    outline, collections = outline_on(site.client.get(f"/jobs/{nation}", headers=PAGE).text)
    assert outline.contains(shapely.Point(14.44, 35.89))
    assert collections == []
    for inputs in ({}, {"aoi": "no area"}, {"nation": "Atlantis"}):
        page = site.client.get(f"/jobs/{ordered(site, 'extract-product', inputs)}", headers=PAGE)
        assert page.status_code == 200
        assert "land-map" not in page.text


def test_an_outline_on_a_page_is_short(site: OrderSite) -> None:
    angles = np.linspace(0, 2 * np.pi, 60_000, endpoint=False)
    rough = 1 + 0.002 * np.random.default_rng(1).random(60_000)
    star = shapely.Polygon(np.column_stack([19 + rough * np.cos(angles), 50 + rough * np.sin(angles)]))
    job = ordered(site, "extract-product", {"aoi": json.loads(shapely.to_geojson(star))})
    outline, _ = outline_on(site.client.get(f"/jobs/{job}", headers=PAGE).text)
    assert 50 < shapely.get_num_coordinates(outline) <= 2_000
    assert outline.symmetric_difference(star).area < 0.01 * star.area
