"""Statistics from order to chart: a real server and worker, the sample and two smaller years."""

import csv
import io
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import rasterio
import yaml

from tests.server.served import serving

ROOT = Path(__file__).parents[3]
PARK = "Ojcowski National Park"
CSV, SVG = "text/csv", "image/svg+xml"


@pytest.fixture(scope="module")
def client(
    sample: Path, two_years: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx2.Client]:
    folder = tmp_path_factory.mktemp("office")
    (folder / "config.yml").write_text(_configuration(sample, two_years))
    arguments = ("--config", str(folder / "config.yml"))
    with serving(folder / "state", folder / "server.log", *arguments) as asking:
        yield asking


def _configuration(sample: Path, years: tuple[Path, Path]) -> str:
    text = (ROOT / "pygeoapi-config.yml").read_text().replace("${LANDCAST_STATE_DIR:-var}", str(sample))
    document = yaml.safe_load(
        text.replace("data: sample/", f"data: {ROOT}/sample/").replace("data: products/", f"data: {ROOT}/products/")
    )
    resources, products = document["resources"], document["products"]
    for year, path in zip((2019, 2021), years, strict=True):
        provider = {**resources["clcplus-raster"]["providers"][0], "data": str(path)}
        resources[f"land-{year}"] = {**resources["clcplus-raster"], "providers": [provider]}
        products[f"land-{year}"] = {**products["clcplus-2023"], "year": year, "raster": f"land-{year}"}
    return yaml.safe_dump(document)


def execute(
    client: httpx2.Client, inputs: dict[str, Any], media_type: str | None = None, *, prefer: str = "", **members: Any
) -> httpx2.Response:
    body: dict[str, Any] = {"inputs": inputs, **members}
    if media_type:
        body["outputs"] = {"statistics": {"format": {"mediaType": media_type}}}
    headers = {"Prefer": prefer} if prefer else {}
    return client.post("/processes/area-statistics/execution", json=body, headers=headers)


def test_the_statistics_of_a_park_are_json(client: httpx2.Client) -> None:
    answer = execute(client, {"park": PARK.upper(), "year": 2023})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    document = answer.json()
    assert (document["year"], document["series"]) == (2023, "clcplus")
    (feature,) = document["features"]
    assert (feature["id"], feature["name"], feature["exact"]) == ("859", PARK, True)
    assert feature["data_km2"] == pytest.approx(feature["km2"], rel=1e-3)
    assert sum(row["percent"] for row in feature["classes"]) == pytest.approx(100, abs=0.01)
    assert sum(row["km2"] for row in feature["classes"]) == pytest.approx(feature["data_km2"])


def test_the_table_of_a_nation_sums_to_all_pixels(client: httpx2.Client) -> None:
    answer = execute(client, {"nation": "POLAND"}, CSV)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8"), answer.text
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert {row["feature"] for row in rows} == {"Poland"}
    pixels = sum(int(row["pixels"]) for row in rows if row["pixels"])
    assert 10_000_000 < pixels < 11_300_000, "the parks, less what of their surroundings is abroad"
    assert sum(float(row["km2"]) for row in rows) == pytest.approx(313_434, rel=1e-4)


def test_each_park_of_a_box_is_a_bar_of_the_chart(client: httpx2.Client) -> None:
    answer = execute(client, {"collection": "parks", "bbox": {"bbox": [15, 49, 24, 54]}}, SVG)
    assert (answer.status_code, answer.headers["content-type"]) == (200, SVG), answer.text
    picture = ET.fromstring(answer.content)  # noqa: S314 - our own picture
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert sum("National Park" in str(word) for word in texts) == 9
    assert {"#228b22", "#80ff00", "#0080ff"} <= {element.get("fill") for element in picture.iter()}


def test_two_years_are_compared_class_by_class(client: httpx2.Client, two_years: tuple[Path, Path]) -> None:
    box = {"bbox": [19.0, 49.8, 20.6, 50.6]}
    answer = execute(client, {"aoi": box, "year": 2021, "since": 2019})
    assert answer.status_code == 200, answer.text
    (feature,) = answer.json()["features"]
    before, after = (rasterio.open(path).read(1) for path in two_years)
    expected = np.bincount(before.ravel() * np.uint16(256) + after.ravel(), minlength=65536).reshape(256, 256)
    pairs = {(row["from"]["value"], row["to"]["value"]): row for row in feature["changes"]}
    assert pairs[2, 6]["pixels"] == expected[2, 6] > 1000
    assert pairs[3, 1]["km2"] == pytest.approx(expected[3, 1] / 10_000)
    assert {pair: row["pixels"] for pair, row in pairs.items()} == {
        (int(one), int(other)): expected[one, other]
        for one, other in np.argwhere(expected)
        if (one, other) != (255, 255)
    }
    table = execute(client, {"park": PARK, "year": 2021, "since": 2019}, CSV)
    assert {(row["from_class"], row["to_class"]) for row in csv.DictReader(io.StringIO(table.text))} >= {("2", "6")}
    assert b"changed their class" in execute(client, {"park": PARK, "year": 2021, "since": 2019}, SVG).content


def test_an_asynchronous_order_keeps_its_format_and_has_a_page(client: httpx2.Client) -> None:
    accepted = execute(client, {"park": PARK}, SVG, prefer="respond-async")
    assert accepted.status_code == 201, accepted.text
    results = f"{accepted.headers['location']}/results"
    until = time.monotonic() + 60
    while (answer := client.get(results)).status_code == 404 and time.monotonic() < until:
        time.sleep(0.1)
    assert (answer.status_code, answer.headers["content-type"]) == (200, SVG)
    page = client.get(results, params={"f": "html"}).raise_for_status().text
    assert SVG in page
    assert f'<img src="{results}/statistics"' in page
    assert "&lt;svg" not in page, "the picture, not its text"
    assert client.get(f"{results}/statistics").content == answer.content
    assert client.get(results, params={"f": "json"}).json()["statistics"]["mediaType"] == SVG


def test_a_document_has_the_media_type_of_other_formats(client: httpx2.Client) -> None:
    table = execute(client, {"park": PARK}, CSV, response="document")
    assert table.json()["statistics"]["mediaType"] == CSV
    assert table.json()["statistics"]["value"].startswith("feature_id,")
    document = execute(client, {"park": PARK}, response="document").json()["statistics"]
    assert (document["mediaType"], document["value"]["features"][0]["name"]) == ("application/json", PARK)


@pytest.mark.parametrize("asked", ["text/html", "TEXT/CSV", ["text/csv"], None, 7])
def test_an_unknown_format_is_refused(client: httpx2.Client, asked: Any) -> None:
    body = {"inputs": {"park": PARK}, "outputs": {"statistics": {"format": {"mediaType": asked}}}}
    answer = client.post("/processes/area-statistics/execution", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    for there_is in ("application/json", CSV, SVG):
        assert there_is in answer.json()["detail"]


def test_an_invalid_input_is_400_without_a_job(client: httpx2.Client) -> None:
    before = client.get("/jobs").json()
    for inputs in ({}, {"park": "x"}, {"park": PARK, "nation": "Poland"}, {"aoi": {"bbox": [0, 0, 1, 1]}}):
        answer = execute(client, inputs, prefer="respond-async")
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
        assert "allowed: " in answer.json()["detail"]
        assert answer.json()["input"] in {"aoi", "park"}
    assert [job["jobID"] for job in client.get("/jobs").json()["jobs"]] == [job["jobID"] for job in before["jobs"]]


def test_the_description_offers_three_formats(client: httpx2.Client) -> None:
    described = client.get("/processes/area-statistics").json()
    assert {"sync-execute", "async-execute", "dismiss"} == set(described["jobControlOptions"])
    formats = described["outputs"]["statistics"]["schema"]["oneOf"]
    assert [each["contentMediaType"] for each in formats] == ["application/json", CSV, SVG]
    document = client.get("/openapi").json()
    body = document["paths"]["/processes/area-statistics/execution"]["post"]["requestBody"]
    properties = body["content"]["application/json"]["schema"]["properties"]["outputs"]["properties"]
    offered = properties["statistics"]["properties"]["format"]["properties"]["mediaType"]["enum"]
    assert offered == ["application/json", CSV, SVG]
    assert "area-statistics" in client.get("/processes/area-statistics", params={"f": "html"}).text
