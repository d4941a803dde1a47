import pytest
from starlette.testclient import TestClient

from routes.http.accept import choose

AVAILABLE = ("application/json", "text/html")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "text/html"),
        ("TEXT/HTML", "text/html"),
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", "text/html"),
        ("text/html;charset=utf-8", "text/html"),
        ("application/json;profile=x, text/html;q=0.9", "application/json"),
        ("text/html;q=0.1, application/json;q=0.2", "application/json"),
        ("text/*", "text/html"),
        ("application/json;q=0, */*", "text/html"),
        ("text/html;q=0, */*;q=0.1", "application/json"),
        ("*/*;q=0", None),
        ("application/json;q=0, text/html;q=0", None),
        ("image/png", None),
        (";;;,,,q=", "application/json"),
        ("nonsense", "application/json"),
        ("text/html;q=abc", "application/json"),
    ],
)
def test_accept_is_negotiated(accept: str, chosen: str | None) -> None:
    assert choose(accept, AVAILABLE) == chosen


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("application/problem+json", "image/png"),
        ("application/problem+xml, application/problem+json;q=0.5", "image/png"),
        ("application/problem+json, text/html", "text/html"),
        ("application/problem+json;q=0.1, image/png", "image/png"),
        ("application/problem+json, image/tiff", None),
    ],
)
def test_a_preference_for_problems_does_not_affect_other_answers(accept: str, chosen: str | None) -> None:
    assert choose(accept, ("image/png", "text/html")) == chosen


@pytest.mark.parametrize("path", ["clcplus-raster/map?width=8", "clcplus-raster", "parks/items"])
def test_a_client_that_prefers_problems_gets_the_requested_format(client: TestClient, path: str) -> None:
    headers = {"accept": "application/problem+json"}
    assert client.get(f"/collections/{path}", headers=headers).status_code == 200
    assert client.get("/collections/nothing", headers=headers).headers["content-type"] == "application/problem+json"


def test_gdals_geotiff_is_understood() -> None:
    available = ("image/tiff; application=geotiff", "image/png")
    assert choose("image/tiff;application=geotiff", available) == available[0]
    assert choose("image/tiff", available) == available[0]


def test_json_takes_any_kind_of_json() -> None:
    assert choose("application/json", ("application/geo+json", "text/html")) == "application/geo+json"


@pytest.mark.parametrize(
    ("accept", "status"),
    [("*/*;q=0", 406), ("image/png", 406), ("text/html;q=0.5;;q=x", 200), ("\t,;q=1", 200), ("a/b;q=0", 406)],
)
def test_no_accept_header_crashes_a_route(client: TestClient, accept: str, status: int) -> None:
    assert client.get("/collections", headers={"accept": accept}).status_code == status


@pytest.mark.parametrize(
    ("path", "lines", "media_type"),
    [
        ("/collections", ["image/png", "application/json"], "application/json"),
        ("/collections", ["application/json;q=0.5", "text/html"], "text/html; charset=utf-8"),
        ("/collections", ["text/html;q=0.5", "application/json"], "application/json"),
        ("/collections", ["image/png", "image/gif"], "application/problem+json"),
        ("/collections/nothing", ["image/png", "text/html"], "text/html; charset=utf-8"),
        ("/collections/clcplus-raster/map", ["application/pdf", "image/png"], "image/png"),
    ],
)
def test_accept_may_have_several_lines(client: TestClient, path: str, lines: list[str], media_type: str) -> None:
    answer = client.get(path, headers=[("accept", line) for line in lines])
    assert answer.headers["content-type"] == media_type


def test_f_precedes_accept(client: TestClient) -> None:
    answer = client.get("/conformance?f=html", headers={"accept": "application/json"})
    assert answer.headers["content-type"].startswith("text/html")


def test_an_unknown_f_is_named(client: TestClient) -> None:
    answer = client.get("/conformance?f=xml")
    assert answer.status_code == 400
    assert answer.json()["parameter"] == "f"
    assert "json, html" in answer.json()["detail"]
