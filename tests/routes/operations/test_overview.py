"""The operator's page: right numbers, for administrators alone."""

import re
from typing import Any

from orchestration.job import Job, Order
from orchestration.store.jobs import StoredJobs
from tests.routes.pages.test_pages import Page
from tests.routes.people import PAGE, ROOT, Browser, another

ADMIN: dict[str, Any] = {"realm_access": {"roles": ["admin"]}}


def store_of(browser: Browser) -> StoredJobs:
    app: Any = browser.http.app
    store: StoredJobs = app.state.resources.store
    return store


def some_orders(store: StoredJobs) -> tuple[Job, Job]:
    """Store 24 waiting orders and a failed one; return the first and the failed one."""
    failed = store.add(Order("echo", {"stringInput": "x"}, "bob"))[0]
    store.begin(failed.id)
    store.fail(failed.id, 1, "the park <b>Ojców</b> is unknown")
    waiting = [store.add(Order("echo", {"stringInput": str(number)}, "eve"))[0] for number in range(24)]
    return waiting[0], failed


def test_an_administrator_sees_what_waits_and_what_has_failed(browser: Browser) -> None:
    browser.sign_in(access=ADMIN)
    first, failed = some_orders(store_of(browser))
    found = browser.http.get("/land/operations")
    assert found.headers["cache-control"] == "no-store"
    document = found.json()
    assert document["orders"]["accepted"]["number"] == 24
    assert document["orders"]["failed"]["number"] == 1
    assert document["owners"][0] == {"owner": "eve", "orders": 24, "unfinished": 24, "failed": 0}
    assert document["unfinished"][0]["jobID"] == first.id
    assert len(document["unfinished"]) == 20
    assert [(each["jobID"], each["owner"]) for each in document["failed"]] == [(failed.id, "bob")]
    assert document["checks"]["worker"]["detail"] == "no worker has been seen"
    page = browser.http.get("/land/operations", headers=PAGE).text
    assert "no worker has been seen" in page
    assert "the park &lt;b&gt;Ojców&lt;/b&gt; is unknown" in page
    assert f'href="{ROOT}/jobs/{failed.id}/order?f=html"' in page
    assert Page(page).tags.count("h1") == 1
    assert f'href="{ROOT}/operations?f=html"' in browser.page()


def test_an_order_is_cancelled_by_the_form_of_the_page(browser: Browser) -> None:
    browser.sign_in(access=ADMIN)
    first, _ = some_orders(store_of(browser))
    page = browser.http.get("/land/operations", headers=PAGE).text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)
    assert csrf
    assert f'name="{first.id}"' in page
    assert browser.post("/jobs/dismissals", None, **{first.id: "on", "csrf": "x"}).status_code == 403
    assert browser.post("/jobs/dismissals", None, **{first.id: "on", "csrf": csrf[1]}).status_code == 303
    assert str(browser.http.get(f"/land/jobs/{first.id}").json()["status"]) == "dismissed"


def test_an_order_that_is_finished_meanwhile_is_not_deleted_by_the_form(browser: Browser) -> None:
    browser.sign_in(access=ADMIN)
    first, failed = some_orders(store_of(browser))
    page = browser.http.get("/land/operations", headers=PAGE).text
    form = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', page))
    assert browser.post("/jobs/dismissals", None, **form, **{first.id: "on", failed.id: "on"}).status_code == 303
    assert browser.http.get(f"/land/jobs/{first.id}").json()["status"] == "dismissed"
    assert browser.http.get(f"/land/jobs/{failed.id}").json()["status"] == "failed"


def test_others_are_refused(browser: Browser) -> None:
    asked = browser.http.get("/land/operations", headers=PAGE)
    assert asked.status_code == 401
    assert "/auth/login" in asked.text
    assert browser.http.get("/land/operations").status_code == 401
    user = another(browser)
    user.sign_in(access={"realm_access": {"roles": ["user"]}})
    assert user.http.get("/land/operations").status_code == 403
    assert "/operations" not in user.page()


def test_without_orders_the_page_says_so(browser: Browser) -> None:
    browser.sign_in(access=ADMIN)
    assert "Nobody has ordered anything." in browser.http.get("/land/operations", headers=PAGE).text


def test_an_unknown_parameter_is_refused(browser: Browser) -> None:
    browser.sign_in(access=ADMIN)
    assert browser.http.get("/land/operations?owner=bob").status_code == 400
