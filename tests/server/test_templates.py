"""The operator's templates and static files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from products.catalogue import read_configuration
from server.configuration import Findings, examine
from server.templates import unused_templates, wrong_templates
from tests.routes.test_languages import client_of, configuration


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """Return a configuration with folders for the server and for one collection."""
    for name, content in {
        "pages/landing.html": '{% extends "landcast/landing.html" %}{% block footer %}By us, {{ url }}{% endblock %}',
        "pages/collection.html": "all of them: {{ title }}",
        "points/collection.html": "of points: {{ title }}",
        "static/landcast.css": "body {color: red}",
        "static/more/imprint.txt": "Imprint",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content)
    made = configuration(tmp_path)
    made["server"]["templates"] = {"path": str(tmp_path / "pages"), "static": str(tmp_path / "static")}
    made["resources"]["points"]["templates"] = {"path": str(tmp_path / "points")}
    return made


@pytest.fixture
def client(document: dict[str, Any], tmp_path: Path) -> Iterator[TestClient]:
    (tmp_path / "secret").write_text("secret")
    with client_of(document, tmp_path) as opened:
        yield opened


HTML = {"f": "html"}


def test_templates_of_the_folders_come_first_and_may_extend_ours(client: TestClient) -> None:
    landing = client.get("/", params=HTML).text
    assert "By us, https://maps.example.org" in landing
    assert "<h1>Server in English</h1>" in landing
    assert client.get("/collections/nations", params=HTML).text == "all of them: Nations in English"
    assert client.get("/collections/points", params=HTML).text == "of points: Points in English"
    assert "<h1>" in client.get("/collections/points/items", params=HTML).text
    assert client.get("/collections/points", params={"f": "json"}).json()["id"] == "points"


def test_files_of_the_folder_are_served_and_no_others(client: TestClient) -> None:
    style = client.get("/static/landcast.css")
    assert (style.text, style.headers["Content-Type"]) == ("body {color: red}", "text/css; charset=utf-8")
    assert client.get("/static/more/imprint.txt").text == "Imprint"
    assert client.get("/static/landcast.svg").headers["Content-Type"] == "image/svg+xml"
    for path in (
        "more",
        "../secret",
        "%2e%2e/secret",
        "..%2fsecret",
        "more/../../secret",
        "/etc/passwd",
        "none.css",
        "",
    ):
        assert client.get(f"/static/{path}").status_code == 404, path


def test_the_configuration_is_valid_and_its_folders_are_relative_to_it(
    document: dict[str, Any], tmp_path: Path
) -> None:
    assert examine(document) == Findings((), ())
    assert list(wrong_templates(document)) == list(unused_templates(document)) == []
    path = tmp_path / "c.yml"
    path.write_text(
        "server: {templates: {path: pages, static: static}}\n"
        "resources: {points: {templates: {path: points}}, odd: {templates: 1}, none: null}\n"
    )
    read = read_configuration(path)
    assert read["server"]["templates"] == {"path": f"{tmp_path}/pages", "static": f"{tmp_path}/static"}
    assert read["resources"]["points"]["templates"] == {"path": f"{tmp_path}/points"}
    assert list(wrong_templates(read)) == []


def test_mistakes_in_templates_are_named(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "pages" / "items.html").write_text("\n{% if %}")
    (tmp_path / "pages" / "jobs.html").write_bytes(b"\xff")
    (tmp_path / "pages" / "landing_page.html").write_text("pygeoapi's own, {% whatever %}")
    (tmp_path / "points" / "collections").mkdir()
    (tmp_path / "points" / "collections" / "collection.html").write_text("also")
    document["server"]["templates"]["static"] = "/no/such/folder"
    wrong = sorted(wrong_templates(document))
    assert wrong[0].startswith("server.templates.path: items.html, line 2: Expected an expression")
    assert wrong[1].startswith("server.templates.path: jobs.html: 'utf-8' codec can't decode byte 0xff")
    assert wrong[2:] == ["server.templates.static: no such folder: /no/such/folder"]
    server, points = unused_templates(document)
    assert server.startswith("server.templates.path: no page uses landing_page.html; the pages are accessibility.html,")
    assert points.startswith("resources.points.templates.path: no page uses collections/collection.html; ")
