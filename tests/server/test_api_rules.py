"""pygeoapi's rules for an API: version, prefix, header, slashes."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from server.api_rules import ApiRules
from server.configuration import Findings, examine
from tests.routes.test_languages import client_of, configuration


def configured(folder: Path, **rules: Any) -> dict[str, Any]:
    document = configuration(folder)
    document["server"]["api_rules"] = rules
    return document


def test_all_api_rules_are_followed(tmp_path: Path) -> None:
    rules = {"api_version": "1.2.3", "url_prefix": "/v{api_major}", "version_header": "API-Version"}
    document = configured(tmp_path, **rules, strict_slashes=True)
    assert examine(document) == Findings((), ())
    with client_of(document, tmp_path) as client:
        for path in ("/v1/collections", "/collections"):
            answer = client.get(path, params={"f": "json"})
            assert answer.headers["API-Version"] == "1.2.3"
            assert all(link["href"].startswith("https://maps.example.org/v1") for link in answer.json()["links"])
        definition = client.get("/v1/openapi", params={"f": "json"}).json()
        assert definition["info"]["version"] == "1.2.3"
        assert definition["servers"] == [{"url": "https://maps.example.org/v1"}]
        for path in ("/v1/collections/", "/collections/", "/none"):
            answer = client.get(path, params={"f": "json"})
            assert (answer.status_code, answer.headers["API-Version"]) == (404, "1.2.3")
        for root in ("/v1", "/v1/", "/"):
            assert client.get(root, params={"f": "json"}).status_code == 200


def test_without_api_rules_a_slash_is_redirected_and_the_version_is_ours(tmp_path: Path) -> None:
    with client_of(configuration(tmp_path), tmp_path) as client:
        answer = client.get("/collections/", follow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (308, "https://maps.example.org/collections")
        assert client.get("/openapi", params={"f": "json"}).json()["info"]["version"] == ApiRules().version


@pytest.mark.parametrize("rules", [None, {}, {"url_prefix": None}, {"api_version": None, "version_header": ""}])
def test_empty_api_rules_change_nothing(tmp_path: Path, rules: dict[str, Any] | None) -> None:
    """A variable of the environment that is empty makes them so: `${PREFIX:-}`."""
    document = configuration(tmp_path)
    document["server"]["api_rules"] = rules
    assert examine(document) == Findings((), ())
    with client_of(document, tmp_path) as client:
        answer = client.get("/collections", params={"f": "json"})
        assert answer.json()["links"][0]["href"].startswith("https://maps.example.org/collections")


def test_without_a_version_the_rules_use_ours_as_pygeoapi_uses_its_own(tmp_path: Path) -> None:
    document = configured(tmp_path, strict_slashes=True, url_prefix="v{api_major}", version_header="X-API-Version")
    assert examine(document) == Findings((), ())
    ours = version("landcast")
    with client_of(document, tmp_path) as client:
        answer = client.get(f"/v{ours.partition('.')[0]}/collections", params={"f": "json"})
        assert (answer.status_code, answer.headers["X-API-Version"]) == (200, ours)
        assert client.get("/collections/").status_code == 404


def test_api_rules_do_not_replace_our_headers(tmp_path: Path) -> None:
    document = configured(tmp_path, api_version="1.2.3", version_header="Content-Type")
    with client_of(document, tmp_path) as client:
        assert client.get("/", params={"f": "json"}).headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("of_api", "prefix", "expected"),
    [
        ("1.2.3", "", ""),
        ("1.2.3", "v{api_major}", "v1"),
        ("1.2.3", "/api/{api_version}/", "api/1.2.3"),
        ("10.20.30-rc.1", "{api_major}.{api_minor}.{api_build}", "10.20.30-rc.1"),
        ("", "v{api_version}", f"v{version('landcast')}"),
    ],
)
def test_the_prefix_may_name_parts_of_the_version(of_api: str, prefix: str, expected: str) -> None:
    assert ApiRules(of_api, url_prefix=prefix).prefix == expected


@pytest.mark.parametrize(
    ("rules", "wrong"),
    [
        ({"api_version": "v1"}, "server.api_rules.api_version: 'v1': must be a version such as 1.2.3, quoted"),
        ({"api_version": 1.2}, "server.api_rules.api_version: must be text or nothing, not 1.2; quote it"),
        ({"url_prefix": 5}, "server.api_rules.url_prefix: must be text or nothing, not 5; quote it"),
        ({"version_header": ["A"]}, "server.api_rules.version_header: must be text or nothing, not a list"),
        (
            {"api_version": "1.2.3", "url_prefix": "v{major}"},
            "server.api_rules.url_prefix: 'v{major}': must be parts of a path, with {api_version}, {api_major}, {",
        ),
        (
            {"api_version": "1.2.3", "url_prefix": ".."},
            "server.api_rules.url_prefix: '..': must be parts of a path",
        ),
        ({"api_version": "1.2.3", "url_prefix": "a" * 50_000 + "!"}, "server.api_rules.url_prefix: 'aaa"),
        (
            {"api_version": "1.2.3", "version_header": "A: b"},
            "server.api_rules.version_header: 'A: b': must be the name of a header, such as API-Version",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, rules: dict[str, Any], wrong: str) -> None:
    (found,) = examine(configured(tmp_path, **rules)).flaws
    assert found.startswith(wrong)
