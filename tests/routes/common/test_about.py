"""Terms, accessibility and products: the texts of the configuration, on pages that each page leads to."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.conftest import URL, MakeApp

PAGE = {"Accept": "text/html"}


def client_of(make_app: MakeApp, configuration: dict[str, Any], **settings: Any) -> TestClient:
    return TestClient(make_app(configuration, **settings), base_url="http://inside.invalid", follow_redirects=False)


@pytest.fixture
def described(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with texts of its own."""
    metadata = configuration["metadata"]
    metadata["identification"]["terms_of_service"] = "https://survey.example/terms"
    metadata["license"] = {"name": "CC BY 4.0", "url": "https://creativecommons.example/by/4.0"}
    metadata["provider"] = {"name": "The Survey", "url": "https://survey.example"}
    metadata["contact"] = {"name": "Ms Novak", "email": "novak@survey.example", "url": "https://survey.example/novak"}
    product = configuration["products"]["clcplus-2023"]
    product |= {"year": 2021, "version": "V7", "attribution": "Contains <data> of the Survey", "source": "The Survey"}
    product |= {"licence": "https://survey.example/licence", "accuracy": "87 % of 500 points"}
    return configuration


def test_the_terms_are_those_of_the_configuration(make_app: MakeApp, described: dict[str, Any]) -> None:
    with client_of(make_app, described) as client:
        document = client.get("/about/terms").json()
        assert document["terms"] == "https://survey.example/terms"
        assert document["licence"] == {"name": "CC BY 4.0", "url": "https://creativecommons.example/by/4.0"}
        assert document["products"] == [
            {
                "id": "clcplus-2023",
                "title": "CLC+ Backbone 2023",
                "attribution": "Contains <data> of the Survey",
                "licence": "https://survey.example/licence",
            }
        ]
        page = client.get("/about/terms", headers=PAGE).text
    assert "Contains &lt;data&gt; of the Survey" in page
    assert '<a href="https://survey.example/terms">' in page
    assert '<a href="https://survey.example">The Survey</a>' in page


def test_the_accessibility_statement_names_the_standard_and_whom_to_tell(
    make_app: MakeApp, described: dict[str, Any]
) -> None:
    with client_of(make_app, described) as client:
        document = client.get("/about/accessibility").json()
        page = client.get("/about/accessibility", headers=PAGE).text
    assert document["standard"].startswith("EN 301 549")
    assert document["contact"] == described["metadata"]["contact"]
    assert '<a href="mailto:novak@survey.example">' in page
    assert "The Survey wants everybody" in page


def test_an_operator_changes_a_part_of_the_statement(
    make_app: MakeApp, described: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "accessibility.html").write_text(
        '{% extends "landcast/accessibility.html" %}{% block assessed %}<p>Audited in May.</p>{% endblock %}'
    )
    described["server"]["templates"] = {"path": str(tmp_path)}
    with client_of(make_app, described) as client:
        page = client.get("/about/accessibility", headers=PAGE).text
    assert "Audited in May." in page
    assert "What is not accessible" in page
    assert "Nobody else has audited" not in page


def test_a_product_has_what_is_known_of_it(make_app: MakeApp, described: dict[str, Any]) -> None:
    with client_of(make_app, described) as client:
        document = client.get("/products/clcplus-2023").json()
        page = client.get("/products/clcplus-2023", headers=PAGE).text
    assert (document["year"], document["version"], document["accuracy"]) == (2021, "V7", "87 % of 500 points")
    assert document["citation"] == "The Survey, 2021, version V7. Contains <data> of the Survey."
    assert [each["href"] for each in document["formats"]] == [
        f"{URL}/collections/clcplus-raster",
        f"{URL}/collections/clcplus-vector",
        f"{URL}/processes/extract-product",
    ]
    assert document["formats"][1]["formats"][0] == "GeoPackage"
    assert {"value": 1, "name": "Sealed", "colour": "#ff0000"} in document["classes"]
    assert "87 % of 500 points" in page
    assert "The Survey, 2021, version V7. Contains &lt;data&gt; of the Survey." in page


def test_a_citation_of_the_operator_is_used(make_app: MakeApp, described: dict[str, Any]) -> None:
    described["products"]["clcplus-2023"] |= {"citation": "Novak (2021): Land.", "accuracy": ""}
    with client_of(make_app, described) as client:
        document = client.get("/products/clcplus-2023").json()
        page = client.get("/products/clcplus-2023", headers=PAGE).text
    assert document["citation"] == "Novak (2021): Land."
    assert "accuracy" not in document
    assert "not stated" in page


def test_a_product_without_a_visible_part_names_the_others(make_app: MakeApp, described: dict[str, Any]) -> None:
    described["resources"]["clcplus-vector"]["visibility"] = "hidden"
    with client_of(make_app, described) as client:
        hrefs = [each["href"] for each in client.get("/products/clcplus-2023").json()["formats"]]
        answer = client.get("/products/nothing")
    assert f"{URL}/collections/clcplus-raster" in hrefs
    assert f"{URL}/collections/clcplus-vector" not in hrefs
    assert answer.status_code == 404
    assert answer.json()["detail"] == "there is no product 'nothing'"


def test_a_product_of_a_collection_without_a_grant_is_unknown(
    make_app: MakeApp, described: dict[str, Any], tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text("roles: [user]\ngrants: {a: {who: public, may: read-items, collections: parks}}\n")
    closed = {"open": False, "issuer": "https://sso.example.invalid/realms/landcast", "policy": policy}
    with client_of(make_app, described, auth=closed) as client:
        assert client.get("/products/clcplus-2023").status_code == 404
        assert client.get("/about/terms").json()["products"] == []


@pytest.mark.parametrize("path", ["/", "/collections", "/processes", "/openapi?f=html", "/no/such/page"])
def test_every_page_leads_to_terms_and_accessibility(client: TestClient, path: str) -> None:
    page = client.get(path, headers=PAGE).text
    assert f'href="{URL}/about/terms?f=html"' in page
    assert f'href="{URL}/about/accessibility?f=html"' in page


def test_the_page_of_a_collection_leads_to_its_product(client: TestClient) -> None:
    assert f'href="{URL}/products/clcplus-2023?f=html"' in client.get("/collections/clcplus-raster", headers=PAGE).text
    assert f"{URL}/products/" not in client.get("/collections/parks", headers=PAGE).text
