"""Processes are described as 18-062r2 requires, for programs and for people."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from products.catalogue import read_configuration
from tests.registry import SERVICES

if TYPE_CHECKING:
    from tests.routes.conftest import OrderSite

URL = "https://maps.example.org/land"
EXECUTE = "http://www.opengis.net/def/rel/ogc/1.0/execute"


def configured() -> list[str]:
    resources = read_configuration(Path("pygeoapi-config.yml"))["resources"]
    return [name for name, resource in resources.items() if resource["type"] == "process" and name not in SERVICES]


def test_the_list_has_each_process_without_its_inputs(site: "OrderSite") -> None:
    answer = site.client.get("/processes")
    listed = answer.json()["processes"]
    assert [process["id"] for process in listed] == configured()
    assert all("inputs" not in process for process in listed)
    assert all(process["version"] and process["title"] for process in listed)


def test_a_description_is_complete(site: "OrderSite") -> None:
    process = site.client.get("/processes/extract-product").json()
    assert process["jobControlOptions"] == ["async-execute", "dismiss"]
    assert process["outputTransmission"] == ["value", "reference"]
    assert list(process["inputs"]) == ["product", "aoi", "series", "year", "project", "test", "send_mail"]
    assert process["inputs"]["product"]["schema"]["enum"] == ["Raster", "Vector"]
    assert list(process["outputs"]) == ["result"]


def test_every_link_is_on_this_server_and_works(site: "OrderSite") -> None:
    for path in ("/processes", "/processes/echo"):
        document = site.client.get(path).json()
        for link in document["links"]:
            assert link["href"].startswith(f"{URL}/")
            if link["rel"] != EXECUTE:
                assert site.client.get(link["href"].removeprefix(URL)).status_code == 200
    [execute] = [link["href"] for link in document["links"] if link["rel"] == EXECUTE]
    assert execute == f"{URL}/processes/echo/execution"


def test_the_list_has_pages(site: "OrderSite") -> None:
    first = site.client.get("/processes?limit=1").json()
    [following] = [link["href"] for link in first["links"] if link["rel"] == "next"]
    second = site.client.get(following.removeprefix(URL)).json()
    assert [process["id"] for process in first["processes"] + second["processes"]] == configured()[:2]
    last = site.client.get(f"/processes?offset={len(configured()) - 1}").json()
    assert not [link for link in last["links"] if link["rel"] == "next"]
    assert site.client.get("/processes?limit=99999").status_code == 200


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "limit=", "offset=-1", "limt=1", "f=xml", "f="])
def test_a_wrong_parameter_is_400(site: "OrderSite", query: str) -> None:
    answer = site.client.get(f"/processes?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("name", ["nothing", "ECHO", "%00", "%3Cb%3E", "..%2Fecho"])
def test_an_unknown_process_is_404(site: "OrderSite", name: str) -> None:
    assert site.client.get(f"/processes/{name}").status_code == 404


def test_the_page_has_the_allowed_values_and_a_working_command(site: "OrderSite") -> None:
    page = site.client.get("/processes/echo?f=html").text
    assert "a number from 0 to 60" in page
    [body] = re.findall(r"-d &#39;(.*?)&#39;</code>", page)
    assert f"curl -i -X POST {URL}/processes/echo/execution" in page
    content = body.replace("&#34;", '"')
    answer = site.client.post(
        "/processes/echo/execution",
        content=content,
        headers={"Content-Type": "application/json", "Prefer": "respond-async"},
    )
    assert answer.status_code == 201


def test_the_list_is_a_page_too(site: "OrderSite") -> None:
    page = site.client.get("/processes", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert f'href="{URL}/processes/extract-product?f=html"' in page.text


def test_a_description_lists_the_series_and_years(site: "OrderSite") -> None:
    inputs = site.client.get("/processes/area-statistics").json()["inputs"]
    assert inputs["series"]["schema"]["enum"] == ["clcplus"]
    assert inputs["year"]["schema"]["enum"] == [2023]
    assert inputs["year"]["description"].endswith("Here: clcplus 2023.")
    assert "enum" not in inputs["since"]["schema"]
