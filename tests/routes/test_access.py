"""Answers to callers without rights: real tokens of an issuer over HTTP, the example policy, the real sample."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import shapely
import yaml
from starlette.applications import Starlette
from starlette.testclient import TestClient

from auth.keys.key import WantedKey
from auth.policy_problems import InvalidPolicy
from orchestration.job import Order
from tests.auth.issuers import FakeIssuer
from tests.conftest import MakeApp

AOI = "POLYGON((23.80 52.68, 23.90 52.68, 23.90 52.75, 23.80 52.75, 23.80 52.68))"
PRODUCT = {"inputs": {"product": "Raster", "aoi": AOI}}
MAP = "/collections/clcplus-raster/map"
EXECUTE = "/processes/extract-product/execution"
Answer = httpx2.Response


@dataclass(frozen=True, slots=True)
class GuardedSite:
    """A guarded server and the issuer of its callers."""

    client: TestClient
    issuer: FakeIssuer
    app: Starlette

    def token(self, role: str, **claims: Any) -> str:
        return self.issuer.token(
            **{"sub": role, "realm_access": {"roles": [role]}, "resource_access": None, "scope": "openid", **claims}
        )

    def ask(self, path: str, role: str | None = None, method: str = "GET", **asked: Any) -> Answer:
        headers = {
            **({} if role is None else {"Authorization": f"Bearer {self.token(role)}"}),
            **asked.pop("headers", {}),
        }
        return self.client.request(method, path, headers=headers, **asked)

    def order(self, role: str, body: dict[str, Any] | None = None, process: str = "echo", **asked: Any) -> Answer:
        asked["headers"] = {"Prefer": "respond-async", **asked.get("headers", {})}
        return self.ask(f"/processes/{process}/execution", role, "POST", json=body or {}, **asked)

    def owner(self, role: str) -> str:
        return f"{self.issuer.url}|{role}"


@pytest.fixture
def open_site(make_app: MakeApp, tmp_path: Path, issuer: FakeIssuer) -> Iterator[Callable[..., GuardedSite]]:
    clients: list[TestClient] = []

    def start(grants: dict[str, Any] | None = None, **settings: Any) -> GuardedSite:
        path = tmp_path / "policy.yml"
        path.write_text(yaml.safe_dump({"grants": grants}) if grants else Path("deploy/policy.yml").read_text())
        app = make_app(auth={"open": False, "issuer": issuer.url, "policy": path}, jobs={"wait": 1}, **settings)
        client = TestClient(app, base_url="http://inside.invalid", follow_redirects=False)
        client.__enter__()
        clients.append(client)
        return GuardedSite(client, issuer, app)

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def site(open_site: Callable[..., GuardedSite]) -> GuardedSite:
    return open_site()


def same(one: Answer, other: Answer, *asked: str) -> bool:
    """Return whether two answers are equal except for the request's id and the requested id."""

    def comparable(answer: Answer) -> tuple[int, dict[str, str], str]:
        headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
        request_id = answer.headers["x-request-id"]
        text = answer.text.replace(request_id, "-")
        for word in asked:
            text = text.replace(word, "?")
        headers.pop("content-length", None)
        return answer.status_code, headers, text

    return comparable(one) == comparable(other)


@pytest.mark.parametrize(
    "path", ["/", "/collections", "/collections/parks", "/health/live", "/static/landcast.css", "/x"]
)
def test_a_bad_token_is_401_on_public_paths_too(site: GuardedSite, path: str) -> None:
    """A client that sends credentials must learn that they are invalid."""
    answer = site.client.get(path, headers={"Authorization": f"Bearer {site.token('user', aud='another')}"})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert "audience mapper" in answer.headers["www-authenticate"]
    assert "audience mapper" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer a.b"},
        {"Authorization": "Digest x"},
        {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="},
        {"Authorization": "Basic !"},
        {"X-Api-Key": "x"},
        {"X-Api-Key": "x", "Authorization": "Bearer y"},
    ],
)
def test_invalid_credentials_are_401_and_not_anonymous(site: GuardedSite, headers: dict[str, str]) -> None:
    answer = site.client.get("/collections", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_anonymous_callers_are_challenged_if_credentials_could_help(site: GuardedSite) -> None:
    answer = site.ask("/collections/clcplus-raster/files/clcplus_2023_parks.tif")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="landcast", Basic realm="landcast", charset="UTF-8"'
    assert answer.json()["detail"] == "download of clcplus-raster needs a login"
    assert site.ask(EXECUTE, None, "POST", json=PRODUCT).status_code == 401
    assert site.ask("/jobs").status_code == 401


def test_a_browser_is_not_asked_for_a_password(site: GuardedSite) -> None:
    answer = site.ask("/jobs", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="landcast"')
    assert answer.headers["content-type"].startswith("text/html")


def test_an_authenticated_caller_gets_the_missing_right(site: GuardedSite) -> None:
    answer = site.ask(EXECUTE, "nobody", "POST", json=PRODUCT)
    assert answer.status_code == 403
    assert answer.json()["detail"] == "execute of extract-product needs role admin or role user"


@pytest.mark.parametrize("role", [None, "user"])
@pytest.mark.parametrize(
    ("hidden", "unknown"),
    [
        ("/collections/{}", ("nations", "nothing")),
        ("/collections/{}/items", ("nations", "nothing")),
        ("/collections/{}/items?no=1", ("nations", "nothing")),
        ("/collections/{}/items/PL_2180", ("nations", "nothing")),
        ("/collections/{}/schema", ("nations", "nothing")),
        ("/collections/{}/queryables?f=html", ("nations", "nothing")),
        ("/collections/{}/coverage", ("nations", "nothing")),
        ("/collections/{}/map?f=x", ("nations", "nothing")),
        ("/collections/{}/files/a.tif", ("nations", "nothing")),
        ("/processes/{}", ("national-product", "nothing")),
        ("/processes/{}/execution", ("national-product", "nothing")),
    ],
)
def test_a_hidden_resource_is_answered_like_a_missing_one(
    open_site: Callable[..., GuardedSite], role: str | None, hidden: str, unknown: tuple[str, str]
) -> None:
    """Attack: learn from the difference of two answers what exists."""
    shown = {"who": "public", "may": "read-items", "collections": "parks"}
    site = open_site({"shown": shown, "echo": {"who": "public", "may": "discover", "processes": "echo"}})
    methods = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
    for method in methods:
        there, nowhere = (site.ask(hidden.format(name), role, method) for name in unknown)
        assert same(there, nowhere, *unknown), (method, there.text, nowhere.text)
    assert site.ask(hidden.format(unknown[0]), role, "POST" if "execution" in hidden else "GET").status_code == 404


def test_a_hidden_resource_is_in_no_list_count_link_page_or_openapi(open_site: Callable[..., GuardedSite]) -> None:
    site = open_site(
        {
            "shown": {"who": "public", "may": "read-items", "collections": "parks"},
            "echo": {"who": "public", "may": "discover", "processes": "echo"},
        }
    )
    hidden = ("nations", "clcplus", "Backbone 2023, ", "national-product", "extract-product", "european", "Nation")
    for path in ("/", "/collections", "/processes", "/openapi", "/conformance", "/health/ready", "/collections/parks"):
        for form in ("json", "html"):
            answer = site.ask(path, headers={"Accept": "text/html" if form == "html" else "application/json"})
            assert answer.status_code in (200, 503)
            text = answer.text.replace("conf/", "").replace("National parks", "").replace("national parks", "")
            assert not [word for word in hidden if word in text.replace("Nationally", "")], path
    assert [each["id"] for each in site.ask("/collections").json()["collections"]] == ["parks"]
    definition = site.ask("/openapi").json()
    assert {tag["name"] for tag in definition["tags"]} == {"server", "parks", "stac", "processes", "jobs", "people"}


def test_a_product_whose_collection_is_hidden_cannot_be_ordered(open_site: Callable[..., GuardedSite]) -> None:
    """Attack: order a product whose collection is hidden from the caller."""
    execute = {"who": {"role": "user"}, "may": "execute", "processes": "extract-product"}
    site = open_site({"execute": execute})
    answer = site.order("user", PRODUCT, "extract-product")
    assert answer.status_code == 400
    assert "there is no product" in answer.json()["detail"]
    shown = {"who": "public", "may": "discover", "collections": "clcplus-raster"}
    site = open_site({"execute": execute, "shown": shown})
    assert site.order("user", PRODUCT, "extract-product").status_code == 201
    vector = {"inputs": {**PRODUCT["inputs"], "product": "Vector"}}
    answer = site.order("user", vector, "extract-product")
    assert (answer.status_code, "has no Vector" in answer.json()["detail"]) == (400, True)


def test_the_year_of_a_hidden_product_is_in_no_description(open_site: Callable[..., GuardedSite]) -> None:
    """Attack: learn from a description, a page or the OpenAPI document which products exist."""
    execute = {"who": {"role": "user"}, "may": "execute", "processes": "extract-product"}
    hidden = open_site({"execute": execute})
    shown = open_site({"execute": execute, "all": {"who": "public", "may": "discover", "collections": "clcplus-*"}})
    for path in ("/processes/extract-product", "/processes/extract-product?f=html"):
        assert "2023" not in hidden.ask(path, "user").text
    paths = hidden.ask("/openapi", "user").json()["paths"]
    assert "2023" not in str(paths["/processes/extract-product/execution"])
    described = shown.ask("/processes/extract-product", "user").json()["inputs"]
    assert described["year"]["schema"]["enum"] == [2023]


def test_an_order_belongs_to_its_caller(site: GuardedSite) -> None:
    job = site.order("user").json()["jobID"]
    stored = site.app.state.resources.store.get(job)
    assert (stored.order.owner, stored.order.email) == (site.owner("user"), "ada@example.org")
    assert site.ask(f"/jobs/{job}", "user").status_code == 200
    assert [each["jobID"] for each in site.ask("/jobs", "user").json()["jobs"]] == [job]


@pytest.mark.parametrize("role", [None, "nobody", "gaf", "geoville"])
def test_the_order_of_another_is_404(site: GuardedSite, role: str | None) -> None:
    """Attack: read, dismiss or download the order of another by its id."""
    job, nothing = site.order("user").json()["jobID"], "00000000-0000-4000-8000-000000000000"
    for path in ("/jobs/{}", "/jobs/{}/results", "/jobs/{}/results/x", "/jobs/{}?x=1"):
        for method in ("GET", "DELETE", "HEAD"):
            there, nowhere = (site.ask(path.format(each), role, method) for each in (job, nothing))
            assert same(there, nowhere, job, nothing)
    assert site.ask(f"/jobs/{job}", role).status_code == 404
    if role:
        assert site.ask("/jobs", role).json()["numberMatched"] == 0
    assert site.ask(f"/jobs/{job}", "user").json()["status"] == "accepted"


UPDATE = {"status": "SUCCESS", "result": "https://files.example.org/x"}


@pytest.mark.parametrize("role", [None, "nobody", "gaf", "geoville", "user"])
def test_only_an_administrator_updates_an_order(site: GuardedSite, role: str | None) -> None:
    """Attack: end an order, also one's own, with the attacker's link as the result."""
    job, nothing = (
        site.order("user", PRODUCT, "extract-product").json()["jobID"],
        "00000000-0000-4000-8000-000000000000",
    )
    there, nowhere = (site.ask(f"/orders/{each}", role, "PUT", json=UPDATE) for each in (job, nothing))
    if role == "user":
        assert (there.status_code, there.json()["detail"]) == (403, "administer needs role admin")
    else:
        assert there.status_code == 404
        assert same(there, nowhere, job, nothing)
    assert site.app.state.resources.store.get(job).status == "accepted"


def test_no_api_key_updates_an_order(site: GuardedSite) -> None:
    """Attack: end orders by a stolen key, with the attacker's links as results."""
    store = site.app.state.resources.store
    job, _ = store.add(Order("extract-product", {}, site.owner("admin")))
    authenticator: Any = site.app.state.authenticator
    portal: Any = site.client.portal
    identity = portal.call(authenticator.tokens.identify, site.token("admin"))
    _, key = authenticator.keys.create(identity, WantedKey("found", "order"))
    answer = site.ask(f"/orders/{job.id}", None, "PUT", json=UPDATE, headers={"X-Api-Key": key})
    assert (answer.status_code, answer.json()["detail"]) == (
        403,
        "administer is not allowed with an API key of the scope order",
    )
    assert store.get(job.id).status == "accepted"


def test_updates_by_an_administrator_are_applied_and_audited(
    site: GuardedSite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "landcast.audit")
    job = site.order("user", PRODUCT, "extract-product").json()["jobID"]
    caplog.clear()
    answer = site.ask(f"/orders/{job}", "admin", "PUT", json=UPDATE)
    assert (answer.status_code, answer.json()["status"]) == (200, "successful")
    lines = [vars(record) for record in caplog.records if record.name == "landcast.audit"]
    assert [(line["who"], line["action"], line["job"]) for line in lines] == [
        (site.owner("admin"), "administer", job),
        (site.owner("admin"), "update-order", job),
    ]
    assert (lines[1]["resource"], lines[1]["status"]) == ("extract-product", "successful")
    assert site.ask(f"/jobs/{job}/results", "user").headers["link"].startswith("<https://files.example.org/x>")


def test_an_administrator_sees_all_orders_with_their_owners(site: GuardedSite) -> None:
    mine, theirs = site.order("admin").json()["jobID"], site.order("user").json()["jobID"]
    listed = site.ask("/jobs", "admin").json()["jobs"]
    assert [(each["jobID"], each.get("owner")) for each in listed] == [(theirs, site.owner("user")), (mine, None)]
    found = site.ask("/jobs", "admin", params={"owner": site.owner("user")}).json()["jobs"]
    assert [each["jobID"] for each in found] == [theirs]
    assert site.ask(f"/jobs/{theirs}", "admin").json()["owner"] == site.owner("user")
    assert site.ask(f"/jobs/{theirs}", "admin", "DELETE").json()["status"] == "dismissed"
    refused = site.ask("/jobs", "user", params={"owner": site.owner("admin")})
    assert refused.status_code == 400


def test_read_all_jobs_shows_only_jobs_of_its_process(site: GuardedSite) -> None:
    store = site.app.state.resources.store
    service, _ = store.add(Order("apply-model", {}, site.owner("gaf")))
    other, _ = store.add(Order("echo", {}, site.owner("gaf")))
    assert site.ask(f"/jobs/{service.id}", "geoville").json()["owner"] == site.owner("gaf")
    assert site.ask(f"/jobs/{other.id}", "geoville").status_code == 404
    assert site.ask(f"/jobs/{service.id}", "geoville", "DELETE").json()["status"] == "dismissed"


def test_dismissing_a_job_with_only_read_rights_is_403(open_site: Callable[..., GuardedSite]) -> None:
    grant = {"who": {"role": "user"}, "may": ["execute", "read-own-jobs"], "processes": "echo"}
    site = open_site({"g": grant})
    job = site.order("user").json()["jobID"]
    answer = site.ask(f"/jobs/{job}", "user", "DELETE")
    assert (answer.status_code, answer.json()["detail"]) == (
        403,
        "dismiss-own-jobs of echo is not granted to you",
    )


def test_orders_beyond_the_limits_name_the_limits(open_site: Callable[..., GuardedSite]) -> None:
    grants = {
        "see": {"who": "public", "may": "discover", "collections": "*"},
        "order": {
            "who": {"role": "user"},
            "may": ["execute", "read-own-jobs"],
            "processes": ["extract-product", "european-product", "national-product", "echo"],
            "limits": {"largest-order-km2": 100, "open-orders": 2, "order-area": {"nation": "Poland"}},
        },
    }
    site = open_site(grants)
    small = {"inputs": {"product": "Raster", "aoi": {"bbox": [23.80, 52.70, 23.81, 52.71]}}}
    beyond = {"inputs": {"product": "Raster", "aoi": {"bbox": [23.90, 52.70, 24.00, 52.71]}}}
    large = {"inputs": {"product": "Raster", "aoi": {"bbox": [23.6, 52.6, 23.9, 52.8]}}}
    answer = site.order("user", large, "extract-product")
    assert (answer.status_code, "largest-order-km2" in answer.json()["detail"]) == (403, True)
    answer = site.order("user", beyond, "extract-product")
    assert (answer.status_code, "order-area" in answer.json()["detail"]) == (403, True)
    everything = {"inputs": {"product": "Raster"}}
    assert site.order("user", everything, "european-product").status_code == 403
    nation = {"inputs": {"product": "Raster", "nation": "Poland"}}
    assert site.order("user", nation, "national-product").status_code == 403
    assert site.order("user", small, "extract-product").status_code == 201
    first = site.order("user", headers={"Idempotency-Key": "same"})
    answer = site.order("user")
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True)
    assert "open-orders" in answer.json()["detail"]
    again = site.order("user", headers={"Idempotency-Key": "same"})
    assert again.json()["jobID"] == first.json()["jobID"]


def test_a_day_s_quota_is_429_until_midnight_and_shown_by_the_estimate(open_site: Callable[..., GuardedSite]) -> None:
    user = {"who": {"role": "user"}, "may": ["execute", "read-own-jobs", "dismiss-own-jobs"]}
    see = {"who": "public", "may": "discover", "collections": "*"}
    orders = {**user, "processes": ["extract-product", "estimate-product"], "limits": {"km2-a-day": 2}}
    site = open_site({"see": see, "orders": orders})
    small = {"inputs": {"product": "Raster", "aoi": {"bbox": [23.80, 52.70, 23.81, 52.71]}}}  # 0.75 km2
    large = {"inputs": {"product": "Raster", "aoi": {"bbox": [23.80, 52.70, 23.85, 52.71]}}}
    answer = site.order("user", large, "extract-product")
    assert (answer.status_code, "at most 2 km2 a day (km2-a-day)" in answer.json()["detail"]) == (403, True)
    first, second = (site.order("user", small, "extract-product") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    answer = site.order("user", small, "extract-product")
    assert (answer.status_code, 0 < int(answer.headers["retry-after"]) <= 86_400) == (429, True)
    assert "you have ordered 1.5" in answer.json()["detail"]
    assert site.order("user", small, "estimate-product").status_code == 504, "an estimate counts for no day"
    store = site.app.state.resources.store
    estimate = next(job for job in store.unfinished() if job.order.process == "estimate-product")
    inputs = store.get(estimate.id).order.inputs
    assert "(km2-a-day)" in inputs["refused"]
    (left,) = inputs["quotas"]
    assert left["km2-a-day"]["allowed"] == 2
    assert left["km2-a-day"]["used"] == pytest.approx(1.5, abs=0.03)
    assert left["km2-a-day"]["remaining"] == pytest.approx(0.5, abs=0.03)
    assert site.order("somebody", small, "extract-product").status_code in {403, 404}
    assert site.ask(f"/jobs/{first.json()['jobID']}", "user", "DELETE").status_code == 200
    assert site.order("user", small, "extract-product").status_code == 201, "a dismissed order does not count"


def test_the_bytes_that_are_expected_of_an_order_are_reserved_until_it_is_done(
    open_site: Callable[..., GuardedSite],
) -> None:
    user = {"who": {"role": "user"}, "may": ["execute", "read-own-jobs", "dismiss-own-jobs"]}
    see = {"who": "public", "may": "discover", "collections": "*"}
    orders = {**user, "processes": ["extract-product"], "limits": {"bytes-a-day": 20_000}}
    site = open_site({"see": see, "orders": orders})
    small = {"inputs": {"product": "Raster", "aoi": {"bbox": [23.80, 52.70, 23.81, 52.71]}}}  # some 7,500 pixels
    large = {"inputs": {"product": "Raster", "aoi": {"bbox": [23.80, 52.70, 23.90, 52.75]}}}
    answer = site.order("user", large, "extract-product")
    assert answer.status_code == 403
    assert "expected to have 6" in answer.json()["detail"]
    assert "you may order at most 19.53 KiB a day (bytes-a-day)" in answer.json()["detail"]
    first, second = (site.order("user", small, "extract-product") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    answer = site.order("user", small, "extract-product")
    assert (answer.status_code, 0 < int(answer.headers["retry-after"]) <= 86_400) == (429, True)
    assert "the result is expected to have 7." in answer.json()["detail"]
    assert "are expected to have 14." in answer.json()["detail"]
    assert site.ask(f"/jobs/{first.json()['jobID']}", "user", "DELETE").status_code == 200
    assert site.order("user", small, "extract-product").status_code == 201


STATISTICS = {"who": {"role": "user"}, "may": ["execute", "read-own-jobs"], "processes": "area-statistics"}
RASTER = {"who": "public", "may": "discover", "collections": "clcplus-raster"}
IN_PARKS: tuple[dict[str, Any], ...] = (
    {"park": "Ojcowski National Park"},
    {"park": {"value": "Ojcowski National Park"}},
    {"park": "No Such Park"},
    {"collection": "parks", "bbox": {"bbox": [19, 49, 24, 54]}},
    {"collection": {"value": "parks"}, "bbox": {"bbox": [19, 49, 24, 54]}},
)


@pytest.mark.parametrize("inputs", IN_PARKS)
def test_statistics_read_only_features_that_the_caller_may_read(
    open_site: Callable[..., GuardedSite], inputs: dict[str, Any]
) -> None:
    """Attack: learn names and outlines of a collection from statistics."""
    hidden = open_site({"statistics": STATISTICS, "raster": RASTER})
    answer = hidden.order("user", {"inputs": inputs}, "area-statistics")
    assert answer.status_code == 400
    assert "there is no collection of features 'parks'" in answer.json()["detail"]
    parks = {"who": "public", "may": "discover", "collections": "parks"}
    shown = open_site({"statistics": STATISTICS, "raster": RASTER, "parks": parks})
    answer = shown.order("user", {"inputs": inputs}, "area-statistics")
    assert (answer.status_code, answer.json()["detail"]) == (403, "read-items of parks is not granted to you")
    some = {**parks, "may": "read-items", "rows": "iucn = 'II'"}
    restricted = open_site({"statistics": STATISTICS, "raster": RASTER, "parks": some})
    answer = restricted.order("user", {"inputs": inputs}, "area-statistics")
    assert (answer.status_code, "only a part of this collection" in answer.text) == (403, True)


def test_statistics_keep_the_limits_of_their_caller(open_site: Callable[..., GuardedSite]) -> None:
    parks = {"who": "public", "may": "read-items", "collections": "parks"}
    limited = {**STATISTICS, "limits": {"largest-order-km2": 50}}
    site = open_site({"statistics": limited, "raster": RASTER, "parks": parks})
    answer = site.order("user", {"inputs": {"park": "Ojcowski National Park"}}, "area-statistics")
    assert answer.status_code == 201
    answer = site.order("user", {"inputs": IN_PARKS[3]}, "area-statistics")
    assert (answer.status_code, "largest-order-km2" in answer.json()["detail"]) == (403, True)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"may": "execute", "limits": {"largest-order-km2": 1}}, "largest-order-km2"),
        ({"may": "execute"}, None),
        ({"may": "discover"}, "execute of extract-product is not granted to you"),
        ({"may": "execute", "who": {"role": "admin"}}, "there is no process that you could order this with"),
    ],
)
def test_an_estimate_reports_the_limits_of_the_order(
    open_site: Callable[..., GuardedSite], order: dict[str, Any], reason: str | None
) -> None:
    estimate = {"who": {"role": "user"}, "may": ["execute", "read-own-jobs"], "processes": "estimate-product"}
    ordering = {"who": {"role": "user"}, "processes": "extract-product", **order}
    site = open_site({"estimate": estimate, "order": ordering, "raster": RASTER})
    answer = site.order("user", PRODUCT, "estimate-product", headers={"Prefer": "wait=0"})
    (job,) = site.app.state.resources.store.unfinished()
    refused = site.app.state.resources.store.get(job.id).order.inputs.get("refused")
    assert answer.status_code == 504
    assert (reason in refused) if reason else refused is None


def test_anonymous_callers_do_not_share_an_order(open_site: Callable[..., GuardedSite]) -> None:
    """Attack: guess the idempotency key of another anonymous caller to get their job; list the orders of others."""
    site = open_site({"g": {"who": "public", "may": ["execute", "read-own-jobs"], "processes": "echo"}})
    asked = {"Prefer": "respond-async", "Idempotency-Key": "1"}
    answer = site.ask("/processes/echo/execution", None, "POST", json={}, headers=asked)
    assert (answer.status_code, "without a login" in answer.json()["detail"]) == (400, True)
    answer = site.ask("/processes/echo/execution", None, "POST", json={}, headers={"Prefer": "respond-async"})
    job = answer.json()["jobID"]
    assert site.ask(f"/jobs/{job}").status_code == 200
    assert site.ask("/jobs").status_code == 401
    assert site.ask(f"/jobs/{job}", "user").status_code == 404


def test_an_unsupported_restriction_is_refused(open_site: Callable[..., GuardedSite]) -> None:
    box = {"polygon": "POLYGON((20 50, 21 50, 21 51, 20 51, 20 50))"}
    site = open_site(
        {
            "rows": {"who": "public", "may": "read-items", "collections": "parks", "rows": "iucn = 'II'"},
            "area": {
                "who": "public",
                "may": ["read-map", "read-coverage", "download"],
                "collections": "clcplus-raster",
                "area": box,
            },
        }
    )
    for path in (
        "/collections/parks/items",
        "/collections/parks/items/1",
        "/collections/clcplus-raster/files/clcplus_2023_parks.tif",
    ):
        answer = site.ask(path)
        assert (answer.status_code, "only a part of this collection" in answer.text) == (403, True), path
    assert site.ask("/collections/parks").status_code == 200


BOX = shapely.box(19, 49, 20.5, 51)


@pytest.mark.parametrize(
    ("grant", "seen"),
    [
        ({"rows": "name < 'K'"}, lambda each, _: each["name"] < "K"),
        ({"rows": "name LIKE 'B%' OR name LIKE 'T%'"}, lambda each, _: each["name"][0] in "BT"),
        ({"rows": "FALSE"}, lambda *_: False),
        ({"area": {"polygon": "POLYGON((19 49, 20.5 49, 20.5 51, 19 51, 19 49))"}}, lambda _, shape: BOX.covers(shape)),
    ],
    ids=["rows", "alternatives", "nothing", "area"],
)
def test_a_restricted_caller_sees_only_their_part(
    open_site: Callable[..., GuardedSite], grant: dict[str, Any], seen: Callable[[Any, Any], bool]
) -> None:
    """Lists, single items and numbers agree for all other parameters."""
    reading = {"who": "public", "may": "read-items", "collections": "parks"}
    whole = open_site({"g": reading}).ask("/collections/parks/items?limit=100").json()["features"]
    expected = [each["id"] for each in whole if seen(each["properties"], shapely.geometry.shape(each["geometry"]))]
    assert len(expected) < len(whole)
    site = open_site({"g": {**reading, **grant}})
    for asked in ("", "&filter=TRUE", "&filter=TRUE OR name IS NULL", "&bbox=-180,-90,180,90", "&sortby=name"):
        page = site.ask(f"/collections/parks/items?limit=100{asked}").json()
        assert sorted(each["id"] for each in page["features"]) == sorted(expected), asked
        assert page["numberMatched"] == len(expected)
        hits = site.ask(f"/collections/parks/items?resulttype=hits{asked}").json()
        assert hits["numberMatched"] == len(expected)
    rows = site.ask("/collections/parks/items?limit=100&f=csv").text.splitlines()
    assert len([row for row in rows[1:] if row]) == len(expected)
    for each in whole:
        status = site.ask(f"/collections/parks/items/{each['id']}").status_code
        assert status == (200 if each["id"] in expected else 404)


def test_a_key_reads_like_its_owner(site: GuardedSite) -> None:
    keys = site.app.state.authenticator.keys
    identity = site.client.portal.call(site.app.state.authenticator.tokens.identify, site.token("user"))  # type: ignore[union-attr]
    key, text = keys.create(identity, WantedKey("map", "read"))
    for asked in ({"X-Api-Key": text}, {"Authorization": f"Bearer {text}"}):
        assert site.client.get("/collections/nations/items", headers=asked).status_code == 200
    secret = text.removeprefix(f"lc_{key.id}_")
    for auth in ((key.id, secret), ("anything", text)):
        assert site.client.get("/collections/nations/items", auth=auth).status_code == 200
    answer = site.client.post("/processes/echo/execution", json={}, headers={"X-Api-Key": text})
    assert (answer.status_code, answer.json()["detail"]) == (
        403,
        "execute is not allowed with an API key of the scope read",
    )
    keys.revoke(key.id)
    answer = site.client.get("/collections/nations/items", headers={"X-Api-Key": text})
    assert (answer.status_code, "revoked" in answer.headers["www-authenticate"]) == (401, True)


def test_guessing_keys_is_slowed(site: GuardedSite) -> None:
    statuses = {site.client.get("/", headers={"X-Api-Key": "x"}).status_code for _ in range(40)}
    assert statuses == {401, 429}
    answer = site.client.get("/", headers={"X-Api-Key": "x"})
    assert int(answer.headers["retry-after"]) > 0
    assert site.client.get("/").status_code == 200


def test_vary_names_what_answers_depend_on(site: GuardedSite) -> None:
    for path in (
        "/",
        "/collections",
        "/collections/parks/items",
        "/collections/clcplus-raster/map?width=8",
        "/nothing",
    ):
        anonymous, known = site.ask(path), site.ask(path, "user")
        for answer in (anonymous, known):
            vary = {word.strip() for word in answer.headers["vary"].split(",")}
            assert {"Authorization", "Cookie", "X-Api-Key"} <= vary, path
        assert "public" not in known.headers["cache-control"]
        assert {"private", "no-store"} & set(known.headers["cache-control"].split(", ")), path
    assert site.ask(f"{MAP}?width=8").headers["cache-control"] == "public, max-age=3600"


def test_every_refusal_has_cors_headers(site: GuardedSite) -> None:
    refused = {
        401: site.ask("/jobs"),
        403: site.ask(EXECUTE, "nobody", "POST", json=PRODUCT),
        404: site.ask("/collections/nations"),
    }
    refused[4010] = site.client.get("/", headers={"Authorization": "Bearer x"})
    for status, answer in refused.items():
        assert answer.status_code == int(str(status)[:3])
        assert answer.headers["access-control-allow-origin"] == "*"
    assert "WWW-Authenticate" in site.ask("/jobs").headers["access-control-expose-headers"]


def test_openapi_declares_which_operations_need_credentials(site: GuardedSite) -> None:
    definition = site.ask("/openapi", "user").json()
    schemes = definition["components"]["securitySchemes"]
    assert schemes["oidc"]["openIdConnectUrl"] == f"{site.issuer.url}/.well-known/openid-configuration"
    paths = definition["paths"]
    required: list[dict[str, list[str]]] = [{"oidc": []}, {"bearer": []}, {"basic": []}, {"key": []}]
    assert paths["/collections/parks/items"]["get"]["security"] == [{}, *required]
    assert paths["/collections/nations/items"]["get"]["security"] == required
    assert paths["/processes/extract-product/execution"]["post"]["security"] == required
    assert paths["/jobs"]["get"]["security"] == required
    assert "/processes/extract-product/execution" in site.ask("/openapi").json()["paths"]
    assert "/collections/nations/items" not in site.ask("/openapi").json()["paths"]


@pytest.mark.parametrize(
    "path",
    [
        "/collections/nations%2Fitems",
        "/collections/%6Eations/items",
        "/collections//nations/items",
        "//collections/nations/items",
        "/collections/parks/../nations/items",
        "/collections/parks%2F..%2Fnations/items",
        "/collections/nations/items/",
        "/collections/Nations/items",
        "/COLLECTIONS/nations/items",
        "/collections/nations;x=1/items",
        "/collections/nations\x00/items",
        "/collections/nations/items?collection_id=parks",
        "/collections/parks/items?collection_id=nations&collection_id=parks",
        "/land/collections/nations/items",
        "/land/land/collections/nations/items",
        "/static/../collections/nations/items",
    ],
)
def test_no_spelling_of_a_path_bypasses_the_guard(site: GuardedSite, path: str) -> None:
    """Attack: write the path so that the guard and the router read it differently."""
    for headers in (
        {},
        {"Host": "parks.example.org"},
        {"X-HTTP-Method-Override": "GET"},
        {"X-Original-URL": "/collections/parks/items", "X-Rewrite-URL": "/collections/parks/items"},
        {"X-Forwarded-Prefix": "/collections/nations"},
    ):
        for method in ("GET", "POST", "HEAD"):
            answer = site.ask(path.replace("\x00", "%00"), None, method, headers=headers)
            assert answer.status_code in (308, 400, 401, 404, 405, 415), (path, answer.status_code)
            assert "PL_2180" not in answer.text


def test_a_closed_server_without_an_issuer_serves_nobody(make_app: MakeApp) -> None:
    """Mistake: without `landcast serve`, which refuses this, every caller would have the rights of an open server."""
    app = make_app(auth={"open": False, "policy": Path("deploy/policy.yml")})
    with pytest.raises(InvalidPolicy, match="LANDCAST_AUTH_ISSUER"), TestClient(app):
        pass


def test_an_unavailable_issuer_is_503_only_for_tokens(site: GuardedSite, open_site: Callable[..., GuardedSite]) -> None:
    site.issuer.answers["/certs"] = (500, b"")
    site.issuer.answers["/.well-known/openid-configuration"] = (500, b"")
    other = open_site()
    answer = other.ask("/collections", "user")
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
    assert other.ask("/collections").status_code == 200


def test_an_estimate_keeps_the_limits_of_its_own_grant(open_site: Callable[..., GuardedSite]) -> None:
    """Attack: make the server count the pixels of a continent, if only orders had limits."""
    user = {"role": "user"}
    see = {"who": "public", "may": "discover", "collections": "*"}
    asking = {"who": user, "may": "execute", "processes": "estimate-product"}
    site = open_site({"see": see, "ask": {**asking, "limits": {"largest-order-km2": 1, "open-orders": 1}}})
    answer = site.order("user", PRODUCT, "estimate-product")
    assert (answer.status_code, "largest-order-km2" in answer.json()["detail"]) == (403, True)
    site = open_site({"see": see, "ask": {**asking, "limits": {"open-orders": 1}}})
    statuses = [site.order("user", PRODUCT, "estimate-product").status_code for _ in range(2)]
    assert statuses == [504, 429]


def test_an_estimate_reports_limits_that_the_order_shares(open_site: Callable[..., GuardedSite]) -> None:
    both = ["estimate-product", "extract-product"]
    see = {"who": "public", "may": "discover", "collections": "*"}
    limits = {"largest-order-km2": 1, "open-orders": 1}
    order = {"who": {"role": "user"}, "may": ["execute", "read-own-jobs"], "processes": both, "limits": limits}
    site = open_site({"see": see, "order": order})
    answers = [site.order("user", PRODUCT, "estimate-product") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [504, 504]


def test_orders_beyond_the_limits_are_in_the_audit(
    open_site: Callable[..., GuardedSite], caplog: pytest.LogCaptureFixture
) -> None:
    execute = {"who": {"role": "user"}, "may": "execute", "processes": ["extract-product", "echo"]}
    see = {"who": "public", "may": "discover", "collections": "*"}
    site = open_site({"see": see, "order": {**execute, "limits": {"largest-order-km2": 1, "open-orders": 1}}})
    caplog.set_level("INFO", "landcast.audit")
    for body, process, status, reason in (
        (PRODUCT, "extract-product", 403, "largest-order-km2"),
        ({}, "echo", 201, ""),
        ({}, "echo", 429, "open-orders"),
    ):
        caplog.clear()
        assert site.order("user", body, process).status_code == status
        found = [vars(record) for record in caplog.records if record.name == "landcast.audit"]
        lines = [(line["action"], line["resource"], line["decision"], line["rule"]) for line in found]
        refused = [("execute", process, "refused", "order")] if reason else []
        assert lines == [("execute", process, "allowed", "order"), *refused]
        assert reason in found[-1].get("reason", "")


def test_an_order_reads_only_what_its_caller_may_read(
    open_site: Callable[..., GuardedSite], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: make an order read all of a collection that is granted in part."""
    monkeypatch.setattr("processes.echo.Echo.reads", lambda *_: ("parks",))
    user = {"role": "user"}
    grants = {
        "order": {"who": user, "may": "execute", "processes": "echo"},
        "see": {"who": "public", "may": "discover", "collections": "parks"},
    }
    assert open_site(grants).order("user").status_code == 403
    part = {"who": user, "may": "read-items", "collections": "parks", "rows": "iucn = 'II'"}
    answer = open_site({**grants, "part": part}).order("user")
    assert (answer.status_code, "only a part of this collection" in answer.text) == (403, True)
    whole = {"who": user, "may": "read-items", "collections": "parks"}
    assert open_site({**grants, "whole": whole}).order("user").status_code == 201


def test_production_services_are_for_gaf_and_admin_and_managed_by_geoville(
    open_site: Callable[..., GuardedSite],
) -> None:
    site = open_site(airflow={"url": "http://127.0.0.1:9"})
    scene = {"acquisition_date": "2023-05-01", "tile_id": "33UXP", "bands": ["B02"]}
    order = {"inputs": {"s2_parameter_list": [scene]}}
    for process in ("sample-extraction", "sample-extraction-testing"):
        seen = {
            role: site.ask(f"/processes/{process}", role).status_code for role in (None, "user", "other", "geoville")
        }
        assert seen == {None: 404, "user": 404, "other": 404, "geoville": 200}
        answers = {role: site.order(role, order, process) for role in ("user", "other", "geoville", "gaf", "admin")}
        statuses = {role: answer.status_code for role, answer in answers.items()}
        assert statuses == {"user": 404, "other": 404, "geoville": 403, "gaf": 201, "admin": 201}
        assert site.ask(f"/processes/{process}/execution", None, "POST", json=order).status_code == 404
        job = answers["gaf"].json()["jobID"]
        for role in ("user", "other"):
            assert site.ask(f"/jobs/{job}", role).status_code == 404
            assert site.ask(f"/jobs/{job}", role, "DELETE").status_code == 404
        assert site.ask(f"/jobs/{job}", "geoville").json()["owner"] == site.owner("gaf")
        assert site.ask(f"/jobs/{job}", "geoville", "DELETE").json()["status"] == "dismissed"
        assert site.ask(f"/jobs/{answers['admin'].json()['jobID']}", "gaf").status_code == 404
    listed = site.ask("/processes?limit=100", "geoville").json()["processes"]
    assert {"apply-model", "prepare-samples-testing"} <= {process["id"] for process in listed}
    assert not [path for path in site.ask("/openapi?f=json", "user").json()["paths"] if "sample-extraction" in path]


def test_a_rate_is_counted_by_person_by_key_and_by_address(open_site: Callable[..., GuardedSite]) -> None:
    grants = {
        "look": {"who": "public", "may": ["read-items"], "collections": "*", "rate": "2/hour"},
        "order": {
            "who": "authenticated",
            "may": ["execute", "read-own-jobs"],
            "processes": "*",
            "rate": "3/day",
        },
    }
    site = open_site(grants, server={"url": "https://maps.example.org", "proxies": ["10.9.8.7"]})
    items = "/collections/parks/items?limit=1&f=json"

    transport: Any = site.client._transport
    transport.client = ("10.9.8.7", 1)

    def from_address(address: str) -> Answer:
        return site.ask(items, headers={"X-Forwarded-For": address})

    assert [site.ask(items, "ann").status_code for _ in range(3)] == [200, 200, 429]
    refused = site.ask(items, "ann")
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1700 <= int(refused.headers["retry-after"]) <= 1800
    assert refused.json()["detail"].startswith("at most 2 requests an hour; try again in ")
    assert site.ask(items, "bob").status_code == 200
    assert site.ask("/collections/parks?f=json", "ann").status_code == 200
    identity = site.client.portal.call(site.app.state.authenticator.tokens.identify, site.token("ann"))  # type: ignore[union-attr]
    _, text = site.app.state.authenticator.keys.create(identity, WantedKey("map", "read"))
    assert [site.ask(items, headers={"X-Api-Key": text}).status_code for _ in range(3)] == [200, 200, 429]
    assert [from_address("192.0.2.1").status_code for _ in range(3)] == [200, 200, 429]
    assert from_address("192.0.2.2").status_code == 200
    assert [from_address(f"2001:db8::{n}").status_code for n in range(1, 4)] == [200, 200, 429]
    job = site.order("ann").json()["jobID"]
    assert [site.ask(f"/jobs/{job}", "ann").status_code for _ in range(3)] == [200, 200, 429]
    assert site.ask(f"/jobs/{job}", "bob").status_code == 404
