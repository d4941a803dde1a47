"""The table of items on a page: sorted and filtered by links, which keep the other parameters."""

import re
from html import unescape

import pytest
from starlette.testclient import TestClient

ITEMS = "/collections/nations/items"


def page_of(client: TestClient, query: str) -> str:
    answer = client.get(f"{ITEMS}{query}", headers={"accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return answer.text


def link(page: str, pattern: str) -> str:
    """Return the address of the first matching link."""
    found = re.search(rf'<a[^>]*href="([^"]*)"[^>]*{pattern}', page)
    assert found, pattern
    return unescape(found[1])


def column(page: str, number: int) -> list[str]:
    rows = re.findall(r"<tr>\s*<th scope=.row.>.*?</tr>", page, re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)[number] for row in rows]
    return [unescape(re.sub(r"<[^>]*>", "", cell).strip()) for cell in cells]


def test_a_second_click_reverses_the_order(client: TestClient) -> None:
    page = page_of(client, "?limit=5&offset=10&f=html")
    assert 'aria-sort="none"' in page
    first = page_of(client, link(page, 'title="Sort by code"'))
    codes = column(first, 2)
    assert codes == sorted(codes)
    assert codes[0] == "AL"
    assert len(codes) == 5, "the limit stays, the place does not"
    assert first.count('aria-sort="ascending"') == 1
    second = page_of(client, link(first, 'title="Sort by code"'))
    assert column(second, 2) == sorted(column(second, 2), reverse=True)
    assert second.count('aria-sort="descending"') == 1
    third = page_of(client, link(second, 'title="Sort by name"'))
    assert column(third, 0) == sorted(column(third, 0))


def test_a_click_filters_by_a_value_and_another_removes_the_filter(client: TestClient) -> None:
    page = page_of(client, "?limit=100&sortby=-name&f=html")
    filtered = page_of(client, link(page, 'title="Only items with this code">ES<'))
    assert column(filtered, 0) == ["SPAIN (CANARIES)", "SPAIN"], "in the order that was asked for"
    assert "code: ES" in filtered
    assert 'title="Only items with this code"' not in filtered
    twice = page_of(client, link(filtered, 'title="Only items with this epsg">32628<'))
    assert column(twice, 0) == ["SPAIN (CANARIES)"]
    back = page_of(client, link(twice, 'aria-label="Remove the filter by code"'))
    assert column(back, 0) == ["SPAIN (CANARIES)"]
    assert page_of(client, link(back, 'aria-label="Remove the filter by epsg"')) == page


@pytest.mark.parametrize("form", ["GeoJSON", "CSV", "JSON-LD"])
def test_the_page_links_every_format(client: TestClient, form: str) -> None:
    page = page_of(client, "?code=ES&limit=1&f=html")
    answer = client.get(ITEMS + link(page, f">{form}<"))
    assert answer.status_code == 200
    assert re.search(r"ES_25830|25830,|SPAIN", answer.text)
    assert not re.search(r"PL_2180|POLAND", answer.text)


def test_the_query_is_escaped_in_links(client: TestClient) -> None:
    page = page_of(client, "?name=%22%3E%3Cscript%3E%26x&f=html")
    assert "<script>" not in page
    assert page_of(client, link(page, 'aria-label="Remove the filter by name"')).count("<tr>") == 11
