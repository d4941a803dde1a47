"""A page of the collections."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.routes.test_languages import URL, client_of, configuration


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a client of a server with 13 listed collections and a hidden one."""
    folder = tmp_path_factory.mktemp("paging")
    document = configuration(folder)
    nations = document["resources"]["nations"]
    document["resources"] |= {f"more-{number:02}": nations for number in range(11)}
    document["resources"]["hidden"] = {**nations, "visibility": "hidden"}
    with client_of(document, folder) as opened:
        yield opened


def page(client: TestClient, **query: Any) -> Any:
    answer = client.get("/collections", params={"f": "json", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(document: Any) -> list[str]:
    return [each["id"] for each in document["collections"]]


def hrefs(document: Any) -> dict[str, str]:
    return {link["rel"]: link["href"] for link in document["links"]}


def test_without_a_limit_all_are_listed(client: TestClient) -> None:
    document = page(client)
    assert (document["numberMatched"], document["numberReturned"], len(ids(document))) == (13, 13, 13)
    assert "hidden" not in ids(document)
    assert hrefs(document).keys() == {"self", "alternate", "root"}
    assert hrefs(document)["self"] == f"{URL}/collections?f=json"


def test_next_and_prev_visit_all_pages(client: TestClient) -> None:
    whole = ids(page(client))
    seen: list[list[str]] = []
    address = f"{URL}/collections?limit=5&lang=fr&f=json"
    while address:
        document = client.get(address.removeprefix(URL)).json()
        seen.append(ids(document))
        assert (document["numberMatched"], document["numberReturned"]) == (13, len(seen[-1]))
        assert all("lang=fr" in href for rel, href in hrefs(document).items() if rel in {"self", "next", "prev"})
        address = hrefs(document).get("next", "")
    assert [len(each) for each in seen] == [5, 5, 3]
    assert [name for each in seen for name in each] == whole
    assert ids(client.get(hrefs(document)["prev"].removeprefix(URL)).json()) == seen[1]


def test_a_page_beyond_the_end_is_empty(client: TestClient) -> None:
    assert ids(page(client, offset=13)) == []
    assert len(ids(page(client, offset=10))) == 3


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": "x"}, {"offset": -1}, {"startindex": 1}, {"q": "x"}])
def test_invalid_parameters_are_reported(client: TestClient, query: dict[str, Any]) -> None:
    answer = client.get("/collections", params={"f": "json", **query})
    assert answer.status_code == 400
    assert next(iter(query)) in answer.json()["detail"]


def test_the_html_page_has_the_links_too(client: TestClient) -> None:
    text = client.get("/collections", params={"f": "html", "limit": 5, "offset": 5}).text
    assert 'rel="next"' in text
    assert 'rel="prev"' in text
    assert text.count("<h2>") == 5
