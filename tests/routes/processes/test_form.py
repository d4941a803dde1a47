"""An order by the form of a process's page, as a browser without scripts sends it."""

import re
from typing import TYPE_CHECKING, Any

import pytest

from routes.processes.form import fields_of

if TYPE_CHECKING:
    from tests.routes.conftest import OrderSite

ECHO = "/processes/echo/execution"
EXTRACT = "/processes/extract-product/execution"
WKT = "POLYGON((19.8 50.2, 19.81 50.2, 19.81 50.21, 19.8 50.2))"


def inputs_of(site: "OrderSite", path: str, fields: dict[str, str]) -> Any:
    """Return the inputs of the order that the form makes."""
    answer = site.client.post(path, data=fields, headers={"Accept": "text/html"})
    assert answer.status_code == 303, answer.text
    address = re.fullmatch(r".*/jobs/([0-9a-f-]{36})\?f=html", answer.headers["location"])
    assert address
    job = site.resources.store.get(address[1])
    assert job is not None
    return job.order.inputs


def test_a_form_becomes_an_order_and_leads_to_its_page(site: "OrderSite") -> None:
    fields = {"product": "Vector", "aoi": WKT, "year": "2023", "project": "", "test": "true"}
    inputs = inputs_of(site, EXTRACT, fields)
    assert {name: inputs[name] for name in ("product", "aoi", "year", "test", "project")} == {
        "product": "Vector",
        "aoi": WKT,
        "year": 2023,
        "test": True,
        "project": "CLC-Backbone-Products",
    }


@pytest.mark.parametrize(
    ("text", "area"),
    [
        ("19.8, 50.2, 19.81, 50.21", {"bbox": [19.8, 50.2, 19.81, 50.21]}),
        (" 19.8 50.2\n19.81 50.21 ", {"bbox": [19.8, 50.2, 19.81, 50.21]}),
        (
            '{"type": "Polygon", "coordinates": [[[19.8, 50.2], [19.81, 50.2], [19.81, 50.21], [19.8, 50.2]]]}',
            {"type": "Polygon", "coordinates": [[[19.8, 50.2], [19.81, 50.2], [19.81, 50.21], [19.8, 50.2]]]},
        ),
        (WKT, WKT),
    ],
)
def test_an_area_is_a_box_geojson_or_wkt(site: "OrderSite", text: str, area: object) -> None:
    assert inputs_of(site, EXTRACT, {"product": "Raster", "aoi": text})["aoi"] == area


@pytest.mark.parametrize(
    ("path", "fields", "expected"),
    [
        (EXTRACT, {"product": "Picture", "aoi": WKT}, "field 'product': 'Picture'; allowed:"),
        (EXTRACT, {"product": "Raster", "aoi": "{"}, "field 'aoi': this is not JSON"),
        (EXTRACT, {"product": "Raster", "aoi": '{"a":' * 5000}, "field 'aoi': this is not JSON"),
        (EXTRACT, {"product": "Raster", "aoi": "nan, 1, 2, 3"}, "NaN"),
        (EXTRACT, {"product": "Raster", "aoi": "north"}, "aoi"),
        (EXTRACT, {"product": "Raster"}, "aoi"),
        (
            EXTRACT,
            {"product": "Raster", "aoi": WKT, "colour": "red"},
            "field 'colour': unknown; allowed: aoi,",
        ),
        (ECHO, {"numberInput": "much"}, "field 'numberInput': 'much'"),
        (ECHO, {f"a{number}": "1" for number in range(300)}, "at most 200 fields"),
    ],
)
def test_what_is_wrong_is_400_and_names_the_field(
    site: "OrderSite", path: str, fields: dict[str, str], expected: str
) -> None:
    answer = site.client.post(path, data=fields)
    assert answer.status_code == 400
    assert expected in answer.json()["detail"]


def test_a_repeated_field_is_refused(site: "OrderSite") -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = site.client.post(ECHO, content=b"stringInput=a&stringInput=b", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (400, "field 'stringInput': allowed once")


@pytest.mark.parametrize("content", [b"a=%ff", b"a=\xff", b"&" * 1000])
def test_an_invalid_form_is_refused_or_empty(site: "OrderSite", content: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert site.client.post(EXTRACT, content=content, headers=headers).status_code == 400


def test_a_form_of_another_site_orders_nothing(site: "OrderSite") -> None:
    answer = site.client.post(ECHO, data={"stringInput": "a"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert site.client.get("/jobs").json()["jobs"] == []


def test_the_page_has_a_field_for_each_input(site: "OrderSite") -> None:
    for process in site.client.get("/processes").json()["processes"]:
        described = site.client.get(f"/processes/{process['id']}?f=json").json()
        page = site.client.get(f"/processes/{process['id']}?f=html").text
        names = re.findall(r'<(?:input|select|textarea) id="field-[^"]*" name="([^"]*)"', page)
        assert sorted(names) == sorted(described["inputs"])


def test_fields_have_the_types_of_their_inputs() -> None:
    """The inputs are those of a foreign plugin."""
    schemas = {
        "a": {"type": "string"},
        "b": {"type": "integer", "enum": [1, 2]},
        "c": {"type": "boolean"},
        "d": {"type": "number"},
        "e": {"type": "object"},
        "f": {"oneOf": [{"type": "string", "format": "wkt"}, {"type": "object"}]},
        "g": {"type": ["string", "null"]},
        "h": {},
    }
    described = {name: {"title": name, "schema": schema} for name, schema in schemas.items()}
    described["i"] = {"title": "i", "schema": {"type": "string"}, "maxOccurs": 3}
    kinds = {field.name: field.kind for field in fields_of(described)}
    assert kinds == {
        "a": "text", "b": "choice", "c": "flag", "d": "number", "e": "json", "f": "area", "g": "json", "h": "json",
        "i": "json",
    }  # fmt: skip
