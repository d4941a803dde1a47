from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from products.classes import CLASSES

STYLES = "/collections/clcplus-raster/styles"


def test_the_style_has_the_classes(tiles: TestClient) -> None:
    found = tiles.get(STYLES).json()
    assert (found["default"], [each["id"] for each in found["styles"]]) == ("default", ["default"])
    style = tiles.get(f"{STYLES}/default").json()
    assert [(each["value"], each["name"], each["colour"]) for each in style["classes"]] == [
        (each.value, each.name, each.hex) for each in CLASSES
    ]
    for link in style["links"]:
        path = link["href"].removeprefix("https://maps.example.org/land")
        assert tiles.get(path).headers["content-type"] == link["type"], path


def test_the_legend_has_the_colours_of_the_query(tiles: TestClient) -> None:
    legend = tiles.get(f"{STYLES}/default/legend", params={"f": "json", "isolate": "2,10", "recolour": "10:0x010203"})
    assert [(each["value"], each["colour"]) for each in legend.json()["classes"]] == [(2, "#228b22"), (10, "#010203")]
    heights = []
    for query, colours in (({}, {each.rgb for each in CLASSES}), ({"hide": "1"}, {each.rgb for each in CLASSES[1:]})):
        answer = tiles.get(f"{STYLES}/default/legend", params=query)
        assert answer.headers["content-type"] == "image/png"
        with Image.open(BytesIO(answer.content)) as image:
            heights.append(image.height)
            pixels = set(map(tuple, np.array(image.convert("RGB")).reshape(-1, 3).tolist()))
        assert colours <= pixels
    assert heights[0] > heights[1]
    assert (CLASSES[0].rgb in pixels) is False


@pytest.mark.parametrize(
    ("path", "status"),
    [("/none", 404), ("/none/legend", 404), ("/default?f=sld", 400), ("/default/legend?f=gif", 400)],
)
def test_invalid_styles_are_refused(tiles: TestClient, path: str, status: int) -> None:
    assert tiles.get(f"{STYLES}{path}").status_code == status
