"""`/asyncapi` and published messages, without resources that are not publicly discoverable."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from starlette.testclient import TestClient

from orchestration.job import Order, Output, ResultFile
from orchestration.store.outbox import Entry, Outbox
from server.check import find_problems
from server.configuration import examine
from sql.connect import now, time_of
from tests.auth.issuers import FakeIssuer
from tests.conftest import MakeApp

BROKER = {"name": "HTTP", "broker": {"url": "https://me:password@broker.example/x", "channel": "land"}}
SCHEMA = files("pygeoapi").joinpath("resources/schemas/asyncapi/asyncapi-3.0.0.json")


@contextmanager
def _served(make_app: MakeApp, configuration: dict[str, Any], **settings: dict[str, Any]) -> Iterator[TestClient]:
    app = make_app({**configuration, "pubsub": BROKER}, **settings)
    with TestClient(app, base_url="http://inside.invalid", headers={"accept": "*/*"}) as client:
        yield client


def test_asyncapi_is_valid_and_has_the_channels(make_app: MakeApp, configuration: dict[str, Any]) -> None:
    configuration["resources"]["parks"]["visibility"] = "hidden"
    with _served(make_app, configuration) as client:
        answer = client.get("/asyncapi")
        assert answer.headers["content-type"] == "application/asyncapi+json"
        document = answer.json()
        Draft7Validator(json.loads(SCHEMA.read_text())).validate(document)
        addresses = {channel["address"] for channel in document["channels"].values()}
        assert {"land-processes-echo", "land-downloads-echo", "land-collections-nations"} <= addresses
        (message,) = document["channels"]["notify-echo-downloads"]["messages"].values()
        assert message == {"$ref": "#/components/messages/download"}
        assert "land-collections-parks" not in addresses
        assert document["operations"]["consume-echo"]["channel"] == {"$ref": "#/channels/notify-echo"}
        assert document["servers"]["default"]["host"] == "broker.example"
        for text in (answer.text, client.get("/?f=json").text, client.get("/asyncapi?f=html").text):
            assert "password" not in text
        assert "land-processes-echo" in client.get("/asyncapi?f=html").text
        assert all(ref.startswith("#/") for ref in _refs(document))
        assert client.get("/asyncapi?bogus=1").status_code == 400


def _refs(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        yield from ([document["$ref"]] if "$ref" in document else [])
        for member in document.values():
            yield from _refs(member)


def test_asyncapi_is_linked_from_the_landing_page(make_app: MakeApp, configuration: dict[str, Any]) -> None:
    with _served(make_app, configuration) as client:
        links = client.get("/?f=json").json()["links"]
        (hub,) = [each for each in links if each["rel"] == "hub"]
        assert (hub["href"], hub["channel"]) == ("https://broker.example/x", "land")
        assert [each["href"].partition("/asyncapi")[2] for each in links if "/asyncapi" in each["href"]] == [
            *("?f=json", "?f=html")
        ]
        conforms = client.get("/conformance").json()["conformsTo"]
        assert any("ogcapi-pubsub-1/1.0/conf/discovery" in each for each in conforms)
        assert "/asyncapi" in client.get("/openapi").json()["paths"]
    hidden = {**BROKER, "broker": {**BROKER["broker"], "hidden": True}}  # type: ignore[dict-item]  # a mapping
    with TestClient(make_app({**configuration, "pubsub": hidden}), headers={"accept": "*/*"}) as client:
        for path in ("/", "/asyncapi", "/?f=html", "/asyncapi?f=html"):
            assert "broker.example" not in client.get(path).text
    with TestClient(make_app(configuration), headers={"accept": "*/*"}) as client:
        assert client.get("/asyncapi").status_code == 404
        assert "ogcapi-pubsub" not in client.get("/conformance").text


POLICY: dict[str, Any] = {
    "grants": {
        "public": {"who": "public", "may": ["execute", "read-own-jobs"], "processes": ["echo"]},
        "public collections": {"who": "public", "may": "discover", "collections": ["parks"]},
        "users": {
            "who": {"role": "user"},
            "may": ["execute", "read-own-jobs"],
            "processes": ["echo", "quiet"],
        },
        "users' collections": {"who": {"role": "user"}, "may": "read-items", "collections": ["parks", "nations"]},
    }
}


def _messages(tmp_path: Path) -> list[Entry]:
    outbox = Outbox(tmp_path / "state" / "orders.sqlite")
    try:
        found = []
        while (entry := outbox.take("message")) is not None:
            found.append(entry)
        return found
    finally:
        outbox.close()


def test_hidden_resources_are_in_no_channel_and_no_message(
    make_app: MakeApp, configuration: dict[str, Any], issuer: FakeIssuer, tmp_path: Path
) -> None:
    """Attack: learn of hidden processes and of jobs of unknown callers from the messages."""
    configuration["resources"]["quiet"] = configuration["resources"]["echo"]
    policy = tmp_path / "policy.yml"
    policy.write_text(yaml.safe_dump(POLICY))
    auth = {"open": False, "issuer": issuer.url, "policy": policy}
    token = issuer.token(sub="r", realm_access={"roles": ["user"]}, resource_access=None, scope="openid")
    known = {"authorization": f"Bearer {token}"}
    with _served(make_app, configuration, auth=auth) as client:
        for headers in ({}, known):
            document = client.get("/asyncapi", headers=headers).json()
            assert set(document["channels"]) == {
                *("notify-echo", "notify-echo-downloads", "notify-parks", "notify-parks-downloads")
            }
        asked = {"prefer": "respond-async"}
        assert client.post("/processes/quiet/execution", json={}, headers=asked | known).is_success
        assert client.post("/processes/echo/execution", json={}, headers=asked).is_success
        assert _messages(tmp_path) == []
        job = client.post("/processes/echo/execution", json={}, headers=asked | known).json()
        (entry,) = _messages(tmp_path)
        assert (entry.job_id, entry.event, entry.address) == (job["jobID"], "accepted", "land-processes-echo")
        shown = client.get(f"/jobs/{job['jobID']}", headers=known).json()
        assert "notifications" not in shown or shown["notifications"] == []


def test_each_download_of_a_result_is_one_message(
    make_app: MakeApp, configuration: dict[str, Any], issuer: FakeIssuer, tmp_path: Path
) -> None:
    configuration["resources"]["quiet"] = configuration["resources"]["echo"]
    policy = tmp_path / "policy.yml"
    policy.write_text(yaml.safe_dump(POLICY))
    token = issuer.token(sub="r", realm_access={"roles": ["user"]}, resource_access=None, scope="openid")
    known = {"authorization": f"Bearer {token}"}
    auth = {"open": False, "issuer": issuer.url, "policy": policy}
    with _served(make_app, configuration, auth=auth) as client:
        store, results = client.app.state.resources.store, client.app.state.resources.results  # type: ignore[attr-defined]
        jobs = {process: store.add(Order(process, {}, f"{issuer.url}|r"), _result(process))[0] for process in _OF}
        for process, content in _OF.items():
            path = results.path_of(_result(process)[0].file)
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
        before = now()
        place = f"/jobs/{jobs['echo'].id}/results"
        href = client.get(f"{place}?f=json", headers=known).json()["result"]["href"]
        link = "/results/" + href.partition("/results/")[2]
        for path, headers, status in (
            (link, {}, 200),
            (link, {"range": "bytes=0-1"}, 206),
            (f"{place}/result", known, 200),
            (link, {"range": "bytes=2-3"}, 206),
            (link, {"if-none-match": f'"{sha256(b"content").hexdigest()}"'}, 304),
            (f"/jobs/{jobs['quiet'].id}/results/result", known, 200),
        ):
            assert client.get(path, headers=headers).status_code == status, path
        assert client.head(link).status_code == 200
    with closing(Outbox(tmp_path / "state" / "orders.sqlite")) as outbox:
        entries = [(entry.job_id, entry.address, entry.at) for entry in outbox.take_many("message", 100)]
    assert [entry[:2] for entry in entries] == [(jobs["echo"].id, "land-downloads-echo")] * 3
    assert all(at is not None and time_of(before) <= at <= time_of(now()) for _, _, at in entries)


def test_a_download_of_the_items_or_the_file_of_a_collection_is_one_message(
    make_app: MakeApp, configuration: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration["resources"]["hidden"] = {**configuration["resources"]["parks"], "visibility": "hidden"}
    monkeypatch.setattr("routes.coverages.coverage._LARGE", 1000)
    file = "/collections/clcplus-raster/files/clcplus_2023_parks.tif"
    items = "/collections/parks/items"
    place = "/collections/clcplus-raster/coverage"
    with _served(make_app, configuration) as client:
        size = int(client.head(file).headers["content-length"])
        etag = client.head(file).headers["etag"]
        for path, headers, status, messages in (
            (f"{items}?f=csv", {}, 200, ["parks"]),
            (f"{items}?f=geojsonseq&bbox=23,52,24,53", {}, 200, ["parks"]),
            (f"{items}?f=fgb", {}, 200, ["parks"]),
            (f"{items}?f=csv&limit=2", {}, 200, []),
            (f"{items}?f=fgb&limit=2", {}, 200, []),
            (f"{items}?f=json&limit=10000", {}, 200, []),
            (f"{items}?f=csv&filter=nonsense", {}, 400, []),
            ("/collections/hidden/items?f=csv", {}, 200, []),
            (file, {}, 200, ["clcplus-raster"]),
            (file, {"range": "bytes=0-"}, 206, ["clcplus-raster"]),
            (file, {"range": f"bytes=0-{size - 1}"}, 206, ["clcplus-raster"]),
            (file, {"range": f"bytes=0-{size - 2}"}, 206, []),
            (file, {"range": "bytes=1-"}, 206, []),
            (file, {"range": "bytes=0-1,5-"}, 206, []),
            (file, {"if-none-match": etag}, 304, []),
            (f"{place}?f=tiff&width=50&height=50", {}, 200, ["clcplus-raster"]),
            (f"{place}?f=tiff&width=20&height=20", {}, 200, []),
            (f"{place}?f=png&width=50&height=50", {}, 200, []),
        ):
            answer = client.get(path, headers=headers)
            assert (answer.status_code, path) == (status, path)
            with closing(Outbox(tmp_path / "state" / "orders.sqlite")) as outbox:
                entries = outbox.take_many("message", 9)
            assert [entry.collection for entry in entries] == messages, (path, headers)
            assert [entry.address for entry in entries] == [f"land-downloads-{each}" for each in messages]
            assert all(entry.job_id is None and entry.at for entry in entries)
        for path in (f"{items}?f=csv", file):
            assert client.head(path).status_code == 200
    assert _messages(tmp_path) == []


_OF = {"echo": b"content", "quiet": b"hidden"}


def _result(process: str) -> tuple[Output, ...]:
    content = _OF[process]
    file = ResultFile("a.bin", f"{process}/1/1/a.bin", "application/x", len(content), sha256(content).hexdigest())
    return (Output("result", file=file),)


def test_without_a_broker_nothing_waits_to_be_published(
    make_app: MakeApp, configuration: dict[str, Any], tmp_path: Path
) -> None:
    with TestClient(make_app(configuration)) as client:
        client.post("/processes/echo/execution", json={}, headers={"prefer": "respond-async"})
    assert _messages(tmp_path) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "HTTP", "broker": {"url": "mqtt://me:password@x"}}, "pubsub.broker.url: is not an address"),
        ({"name": "MQTT", "broker": {"url": "me:password@x"}}, "pubsub.broker.url: is not an address that begins"),
        ({"name": "MQTT", "broker": {"url": "mqtt://me:password@x:99999999"}}, "pubsub.broker.url: is not an address"),
        ({"name": "MQTT", "broker": {"url": "mqtt://x", "chanel": "a"}}, "pubsub.broker.chanel: unknown"),
        ({"name": "HTTP", "broker": {}}, "pubsub.broker.url: missing"),
        ({"name": "HTTP"}, "pubsub.broker: missing"),
        ({"name": "HTTP", "broker": {"url": "https://x", "hidden": "no"}}, "pubsub.broker.hidden: must be true or"),
        ("HTTP", "pubsub: must be a mapping"),
    ],
)
def test_mistakes_are_named_without_the_password(configuration: dict[str, Any], changed: Any, said: str) -> None:
    flaws = examine({**configuration, "pubsub": changed}).flaws
    assert [flaw for flaw in flaws if flaw.startswith(said)] != []
    assert "password" not in repr(flaws)


def test_a_client_that_is_missing_is_named_by_check(
    configuration: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDCAST_AUTH_OPEN", "yes")
    path = tmp_path / "theirs.yml"
    broker = {"name": "no.such.Client", "broker": {"url": "tcp://x:1", "more": 1}}
    path.write_text(yaml.safe_dump({**configuration, "pubsub": broker}))
    assert find_problems(path) == ["pubsub.name: no.such.Client: No module named 'no'"]
