import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

URL = "https://maps.example.org/land"
PAGES = [
    "/",
    "/conformance",
    "/openapi",
    "/openapi/try",
    "/collections",
    "/collections/clcplus-raster",
    "/collections/clcplus-raster/schema",
    "/collections/clcplus-raster/coverage",
    "/collections/parks",
    "/collections/parks/schema",
    "/collections/parks/queryables",
    "/collections/parks/items",
    "/collections/nations/items/AL_2462",
    "/processes",
    "/processes/echo",
    "/processes/extract-product",
    "/jobs",
    "/no/such/page",
    "/collections/no-such-collection",
]
_VOID = {"meta", "link", "img", "br", "input", "rect", "hr"}


class Page(HTMLParser):
    """The references of a page, and whether it is well formed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.followed: list[str] = []
        self.language: str | None = None
        self.unnamed_images = 0
        self.styled = 0
        self._open: list[str] = []
        self.misplaced: list[str] = []
        self.feed(text)
        self.misplaced += self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.tags.append(tag)
        self.styled += "style" in given
        if tag == "html":
            self.language = given.get("lang")
        if tag == "img":
            self.unnamed_images += not given.get("alt")
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            if value := given.get(name):
                (self.followed if tag == "a" else self.loaded).append(value)
        assert not [name for name in given if name.startswith("on")]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.misplaced.append(tag)


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, client: TestClient) -> Page:
    answer = client.get(request.param, headers={"accept": "text/html"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Page(answer.text)


def test_a_page_has_no_foreign_resources(page: Page) -> None:
    """Scripts are only our files, and nothing is loaded from another host; only an `a` refers to one."""
    assert not {"iframe", "object", "embed", "style"} & set(page.tags)
    assert page.styled == 0
    assert page.loaded
    assert all(address.startswith(f"{URL}/") for address in page.loaded)
    assert all(urlsplit(address).scheme in {"", "https", "http", "mailto"} for address in page.followed)


def test_a_page_is_accessible(page: Page) -> None:
    assert page.language == "en-GB"
    assert page.tags.count("h1") == 1
    assert page.tags.count("main") == 1
    assert page.unnamed_images == 0
    assert page.misplaced == []


_FURTHER = re.compile(r"offset=|cursor=|\.tif$|(=.*){3}|f=(csv|fgb|geojsonseq|gpkg|parquet|shp)$")
"""Other pages of a list, tables that are ordered or filtered, and downloads of whole collections."""


def test_links_of_pages_work(client: TestClient) -> None:
    seen: set[str] = set()
    waiting = [f"{URL}/?f=html"]
    while waiting:
        address = waiting.pop()
        further = not address.startswith(URL) or _FURTHER.search(address)
        if address in seen or further:
            continue
        seen.add(address)
        answer = client.get(address.removeprefix(URL).partition("#")[0])
        assert answer.status_code == 200, address
        if answer.headers["content-type"].startswith("text/html"):
            waiting += [link for link in Page(answer.text).followed if "/items/" not in link]
    assert len(seen) > 25


def test_the_collection_shows_a_picture_and_a_legend(client: TestClient) -> None:
    text = client.get("/collections/clcplus-raster?f=html").text
    assert f'src="{URL}/collections/clcplus-raster/map?width=800"' in text
    assert 'fill="#0080ff"' in text
    assert "Snow and ice" in text


def test_only_browsers_get_an_error_page(client: TestClient) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    page = client.get("/no/such/page", headers=browser)
    assert page.status_code == 404
    assert page.headers["x-request-id"] in page.text
    assert client.get("/no/such/page").headers["content-type"] == "application/problem+json"
    posted: Any = client.post("/collections", headers=browser)
    assert posted.status_code == 405
    assert posted.headers["content-type"] == "application/problem+json"


def test_quotations_in_an_error_are_escaped(client: TestClient) -> None:
    text = client.get("/collections/%3Cscript%3Ealert(1)%3C%2Fscript%3E?f=html").text
    assert "<script>" not in text


def test_the_style_sheet_is_served_by_this_server(client: TestClient) -> None:
    answer = client.get("/static/landcast.css")
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "url(" not in answer.text
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/static/base.html").status_code == 404


def test_the_json_link_of_a_page_keeps_the_query(client: TestClient) -> None:
    page = Page(client.get("/collections/parks/items?limit=2&offset=4&f=html").text)
    assert "?limit=2&offset=4&f=json" in page.followed


def test_the_favicon_is_served_at_its_default_address(client: TestClient) -> None:
    answer = client.get("/favicon.ico")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/x-icon"
    assert answer.content.startswith(b"\0\0\1\0")
