"""A configuration in several languages: every document and page is in the requested language, as in pygeoapi."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from starlette.testclient import TestClient

from products.catalogue import read_configuration
from server.app import create_app
from server.configuration import Findings, examine
from server.settings import CONCERNS, Settings
from tests.routes.test_access_matrix import SAMPLE, foreign

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
"""TinyDB leaves its files open."""
URL = "https://maps.example.org"
LANGUAGES = ["en-US", "fr-CA", "de"]


def translations(name: str) -> dict[str, Any]:
    return {
        "title": {"en": f"{name} in English", "fr": f"{name} en français"},
        "description": {"en": f"About {name}", "fr": f"Sur {name}", "de": f"Über {name}"},
        "keywords": {"en": ["lake"], "fr": ["lac"]},
    }


def configuration(folder: Path) -> dict[str, Any]:
    points = folder / "points.csv"
    points.write_text("id,lang,x,y\n1,fr,10,50\n2,de,11,51\n")
    link: dict[str, Any] = {
        "type": "text/html",
        "rel": "about",
        "href": {"en": "https://example.org/en", "fr": "https://example.org/fr"},
        "title": {"en": "More", "fr": "Plus"},
        "hreflang": {"en": "en", "fr": "fr"},
    }
    extents = {"spatial": {"bbox": [-180, -90, 180, 90]}}
    nations = {
        "type": "feature",
        "name": "plugins.geopackage.GeoPackageProvider",
        "data": str(Path("products/nations/nations.gpkg").absolute()),
    }
    csv: dict[str, Any] = {"type": "feature", "name": "CSV", "data": str(points), "id_field": "id"}
    csv |= {"geometry": {"x_field": "x", "y_field": "y"}}
    common = {"type": "collection", "extents": extents, "links": [link]}
    return {
        "server": {"languages": LANGUAGES},
        "metadata": {
            "identification": {
                **translations("Server"),
                "terms_of_service": {"en": "https://example.org/terms", "fr": "https://example.org/conditions"},
                "url": "https://example.org",
            },
            "license": {"name": {"en": "free", "fr": "libre"}, "url": "https://example.org"},
            "provider": {"name": "Nobody", "url": "https://example.org"},
            "contact": {"name": "Nobody"},
        },
        "resources": {
            "nations": {**common, **translations("Nations"), "providers": [nations]},
            "points": {**common, **translations("Points"), "providers": [csv]},
            "echo": {"type": "process", "processor": {"name": "processes.echo.Echo"}},
            "survey": {"type": "process", "processor": {"name": "tests.processes.plugins_of_others.Survey"}},
        },
    }


def client_of(document: dict[str, Any], folder: Path) -> TestClient:
    given: Any = {"server": {"url": URL}, "state": {"dir": folder / "state"}, "auth": {"open": True}}
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    settings: Any = {name: kind(**given.get(name, {})) for name, kind in kinds.items()}
    return TestClient(create_app(document, Settings(**settings)), base_url=URL)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("languages")
    with client_of(configuration(folder), folder) as opened:
        yield opened


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    assert examine(configuration(tmp_path)) == Findings((), ())


JSON = {"Accept": "application/json"}
WORDS = {
    "/": ("Server", "About Nations"),
    "/collections": ("Nations", "Points"),
    "/collections/nations": ("Nations",),
    "/collections/points": ("Points",),
    "/openapi": ("Server",),
}


@pytest.mark.parametrize("place", WORDS)
def test_each_document_is_in_the_language_that_is_asked_for(client: TestClient, place: str) -> None:
    """Each is requested twice, because of the cache; a title without the language is in its first, as in pygeoapi."""
    for _ in range(2):
        for language, asked in ((language, asked) for language in LANGUAGES for asked in ("lang", "header")):
            answer = (
                client.get(place, params={"f": "json", "lang": language})
                if asked == "lang"
                else client.get(place, headers={**JSON, "Accept-Language": language})
            )
            text = answer.text
            assert answer.headers["Content-Language"] == language
            assert "accept-language" in answer.headers["Vary"].lower()
            assert ("en français" in text) == (language == "fr-CA")
            assert ("in English" in text) == (language != "fr-CA")
            assert ("Über " in text) == (language == "de")
            assert '{"en"' not in text


def test_links_keywords_and_addresses_have_the_language_too(client: TestClient) -> None:
    for name in ("nations", "points"):
        document = client.get(f"/collections/{name}", params={"lang": "fr", "f": "json"}).json()
        assert document["keywords"] == ["lac"]
        (about,) = [link for link in document["links"] if link["rel"] == "about"]
        assert (about["href"], about["title"], about["hreflang"]) == ("https://example.org/fr", "Plus", "fr")
    landing = client.get("/", params={"lang": "fr", "f": "json"}).json()
    assert [link["title"] for link in landing["links"] if link["rel"] == "license"] == ["libre"]
    info = client.get("/openapi", params={"lang": "fr", "f": "json"}).json()["info"]
    assert (info["termsOfService"], info["license"]["name"]) == ("https://example.org/conditions", "libre")


def test_a_foreign_process_is_described_in_the_language(client: TestClient) -> None:
    for language, title in (("fr", "Relevé"), ("en", "Survey"), ("de", "Survey")):
        assert client.get("/processes/survey", params={"lang": language, "f": "json"}).json()["title"] == title
        listed = client.get("/processes", params={"lang": language, "f": "json"}).json()["processes"]
        assert title in [each["title"] for each in listed]
        paths = client.get("/openapi", params={"lang": language, "f": "json"}).json()["paths"]
        assert title in json.dumps(paths["/processes/survey/execution"], ensure_ascii=False)


def test_missing_translations_use_the_first_language(client: TestClient) -> None:
    for asked in ("it", "xx", "%00", "fr'--", ""):
        answer = client.get("/collections", params={"lang": asked, "f": "json"})
        assert (answer.status_code, answer.headers["Content-Language"]) == (200, "en-US")


@pytest.mark.parametrize(
    "place", ["/", "/collections", "/collections/nations", "/collections/nations/items", "/openapi", "/processes"]
)
def test_pages_have_the_language_and_declare_it(client: TestClient, place: str) -> None:
    answer = client.get(place, params={"lang": "fr", "f": "html"})
    assert '<html lang="fr-CA">' in answer.text
    assert "Server en français" in answer.text
    assert answer.headers["Content-Language"] == "fr-CA"
    assert "accept-language" in answer.headers["Vary"].lower()
    assert '<html lang="en-US">' in client.get(place, params={"f": "html"}).text


def test_problems_are_in_english_and_their_page_has_the_sites_title(client: TestClient) -> None:
    answer = client.get("/collections/none", params={"lang": "fr"}, headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "Server en français" in answer.text


def test_items_keep_lang_in_their_links_and_are_not_filtered_by_it(client: TestClient) -> None:
    for name in ("nations", "points"):
        answer = client.get(f"/collections/{name}/items", params={"lang": "fr", "limit": 1, "f": "json"})
        assert answer.status_code == 200, answer.text
        document = answer.json()
        assert document["numberMatched"] > 1
        assert all("lang=fr" in link["href"] for link in document["links"] if link["rel"] in {"self", "next"})


def test_openapi_lists_the_languages(client: TestClient) -> None:
    document = client.get("/openapi", params={"f": "json"}).json()
    for path in ("/", "/collections", "/processes", "/collections/points/items"):
        assert {"$ref": "#/components/parameters/lang"} in document["paths"][path]["get"]["parameters"]
    assert "en-US, fr-CA, de" in document["components"]["parameters"]["lang"]["description"]


def test_a_provider_is_shared_by_all_languages(client: TestClient) -> None:
    resources = client.app.state.resources  # type: ignore[attr-defined] # Starlette's
    collections = [each.collections["nations"] for each in resources.languages.values()]
    assert len({id(each.threads) for each in collections}) == 1
    assert len({id(each.features()) for each in collections}) == 1
    assert len({each.title for each in collections}) == 2


def test_one_language_adds_no_vary_header(tmp_path: Path) -> None:
    document = configuration(tmp_path)
    document["server"] = {"language": "fr"}
    with client_of(document, tmp_path) as client:
        answer = client.get("/", params={"f": "json", "lang": "en"}, headers={"Accept-Language": "en"})
        assert answer.json()["title"] == "Server en français"
        assert (answer.headers["Content-Language"], answer.headers["Vary"]) == ("fr", "Accept, Accept-Encoding")
        definition = client.get("/openapi", params={"f": "json"}).json()
        assert "lang" not in definition["components"]["parameters"]


def test_lang_is_described_where_it_is_allowed(client: TestClient) -> None:
    document = client.get("/openapi", params={"f": "json"}).json()
    components = document["components"]["parameters"]
    plain = [path for path in document["paths"] if "{" not in path and "get" in document["paths"][path]]
    assert len(plain) > 15
    for path in plain:
        answer = client.get(path, params={"no-such-thing": "1"})
        assert answer.status_code == 400, path
        parameters = document["paths"][path]["get"]["parameters"]
        described = {
            components[each["$ref"].rpartition("/")[2]]["name"] if "$ref" in each else each["name"]
            for each in parameters
        }
        assert "lang" in described
        assert "lang" in answer.json()["detail"].partition("allowed: ")[2].split(", "), path


PLACES = {
    "product_id": "clcplus-2023",
    "matrix_set": "WebMercatorQuad", "matrix": "6", "row": "21", "column": "35", "style": "default", "item_id": "1",
    "path": "first.txt", "location": "somewhere", "instance": "first", "output_id": "result", "name": "a.zip",
    "job_id": "00000000-0000-4000-8000-000000000000",
}  # fmt: skip
"""What stands in the paths of the definition."""
ITEMS = {"nations": "PL_2180", "records": "r"}
QUERIES = {
    "/collections/retrieved/position": "coords=POINT(1 2)",
    "/collections/land/coverage": "bbox=19.75,50.18,19.8,50.22",
    "/collections/land/map": "width=8&height=8",
    "/collections/nations/items": "limit=1",
    "/wmts": "SERVICE=WMTS&request=GetCapabilities",
}


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Yield a client of a server with two languages and collections of every kind."""
    folder = tmp_path_factory.mktemp("every")
    document = configuration(folder)
    land = {"type": "coverage", "name": "plugins.cog.CogProvider", "data": SAMPLE}
    document["resources"] |= {"land": {**document["resources"]["nations"], "providers": [land]}, **foreign(folder)}
    for name, entry in document["resources"].items():
        entry.update(translations(name) if "collection" in entry["type"] else {})
    document["server"] = {"languages": ["en", "fr"]}
    document["pubsub"] = {"name": "HTTP", "broker": {"url": "http://127.0.0.1:1"}}
    (folder / "every.yml").write_text(yaml.safe_dump(document))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        with client_of(read_configuration(folder / "every.yml"), folder) as opened:
            yield opened


def paths_of(client: TestClient) -> dict[str, Any]:
    paths: dict[str, Any] = client.get("/openapi", params={"f": "json"}).json()["paths"]
    return paths


def filled(path: str) -> str:
    collection = path.split("/")[2] if path.startswith("/collections/") else ""
    put = {**PLACES, "item_id": ITEMS.get(collection, PLACES["item_id"])}
    return re.sub(r"{(\w+)}", lambda found: put[found[1]], path) + f"?{QUERIES.get(path, '')}"


def counts_of(answer: httpx2.Response) -> tuple[int, int]:
    """Return how many texts are in English and in French."""
    text = answer.text.replace("\\u00e7", "ç")
    return text.count(" in English"), text.count(" en français")


@pytest.mark.parametrize("form", ["", "&f=html"])
def test_every_address_takes_lang_and_answers_in_that_language(every: TestClient, form: str) -> None:
    """`lang` or the header name a known language; an unknown one has no effect; `Vary` names the header."""
    wrong, translated, answered = [], 0, 0
    for path in (path for path, operations in paths_of(every).items() if "get" in operations):
        place = filled(path) + form
        first, unknown, french = every.get(place), every.get(f"{place}&lang=xx"), every.get(f"{place}&lang=fr")
        by_header = every.get(place, headers={"Accept-Language": "fr"})
        answers = (first, unknown, french, by_header)
        answered += first.status_code == 200
        english, _ = counts_of(first)
        translated += english > 0
        if {each.status_code for each in answers} != {first.status_code}:
            wrong.append(f"{place}: {[each.status_code for each in answers]}")
        if [counts_of(each) for each in answers] != [(english, 0), (english, 0), (0, english), (0, english)]:
            wrong.append(f"{place}: texts in English, in French: {[counts_of(each) for each in answers]}")
        headers = [(each.headers.get("Content-Language"), each.headers.get("Vary", "")) for each in answers]
        if english and [name for name, _ in headers] != ["en", "en", "fr", "fr"]:
            wrong.append(f"{place}: Content-Language {headers}")
        if english and not all("Accept-Language" in vary for _, vary in headers):
            wrong.append(f"{place}: Vary {headers}")
    assert not wrong, "\n".join(wrong)
    assert translated >= 30
    assert answered >= 35


def test_every_operation_describes_lang_and_names_it_among_what_is_allowed(every: TestClient) -> None:
    wrong = []
    for path, operations in paths_of(every).items():
        for method, operation in operations.items():
            if {"$ref": "#/components/parameters/lang"} not in operation["parameters"]:
                wrong.append(f"{method} {path} does not describe it")
            given: Any = {"json": {}} if method in {"post", "put"} else {}
            bad = every.request(method, f"{filled(path)}&no-such-thing=1", headers=JSON, **given)
            if (said := bad.json().get("detail", "")).startswith("no-such-thing") and "lang" not in said:
                wrong.append(f"{method} {path}: {said}")
            if method != "get":
                without, with_it = (
                    every.request(method, filled(path) + each, headers={**JSON, "Prefer": "respond-async"}, **given)
                    for each in ("", "&lang=fr")
                )
                if without.status_code != with_it.status_code:
                    wrong.append(f"{method} {path}: {without.status_code}, with lang {with_it.status_code}")
    assert not wrong, "\n".join(wrong)
