"""Maps, tiles, styles and legends of rasters of values, as several makers write them; colours written by hand."""

import math
import subprocess
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from tests.conftest import ROOT, application
from tests.odd.rasters import written
from tests.routes.tiles.conftest import raster_alone

SAMPLE = ROOT / "sample" / "clcplus_2023_parks.tif"
WORLD = 2 * math.pi * 6_378_137
SIDE = WORLD / 2**12 / 256
WEST, NORTH = 2270 * 256 * SIDE - WORLD / 2, WORLD / 2 - 1396 * 256 * SIDE
PLACE = Affine(SIDE, 0, WEST, 0, -SIDE, NORTH)
BOX = f"{WEST},{NORTH - 256 * SIDE},{WEST + 256 * SIDE},{NORTH}"
MERCATOR = "http://www.opengis.net/def/crs/EPSG/0/3857"
ONE = "/collections/clcplus-raster"
TILE = f"{ONE}/map/tiles/WebMercatorQuad/12/1396/2270"
STRIPES = (-3.0, 0.0, 5.0, 10.0)
"""Values of the first band, in stripes of 64 columns; those of the second are ten times as large. 20 rows have none."""
GREY = ((0, 0, 0, 255), (0, 0, 0, 255), (128, 128, 128, 255), (255, 255, 255, 255))
"""Their colours from 0 black to 10 white: 5 is the step 127 of 254, so 127.5 of 255."""
BANDS = [{"name": "height", "title": "Height", "unit": "m", "minimum": 0, "maximum": 10}, {"name": "slope"}]
STYLES = [
    {"id": "steep", "title": "Steep", "band": "slope", "rescale": [0, 50], "ramp": "traffic"},
    {"id": "default", "title": "Heights", "ramp": "gray"},
]
RAMPS = {"traffic": ["#00ff00", "#ffff00", "#ff0000"]}


def stripes(dtype: str) -> NDArray[Any]:
    line = np.repeat(STRIPES, 64)
    values = np.array([np.tile(line, (256, 1)), np.tile(line * 10, (256, 1))])
    return values.astype(dtype)


def by_rasterio(path: Path) -> Path:
    values = stripes("float32")
    values[:, 236:] = np.nan
    return written(path, values, crs="EPSG:3857", transform=PLACE, nodata=math.nan)


def by_gdal(path: Path) -> Path:
    values = stripes("int16")
    values[:, 236:] = -9999
    source = written(path.with_suffix(".plain.tif"), values, crs="EPSG:3857", transform=PLACE, nodata=-9999)
    options = ["-of", "COG", "-co", "COMPRESS=LZW", "-co", "PREDICTOR=YES", "-co", "OVERVIEWS=IGNORE_EXISTING"]
    subprocess.run(["gdal_translate", "-q", *options, source, path], check=True, timeout=60)
    return path


def with_a_mask(path: Path) -> Path:
    mask = np.full((256, 256), 255, np.uint8)
    mask[236:] = 0
    values = stripes("int32")
    return written(path, values, crs="EPSG:3857", transform=PLACE, mask=mask, compress="zstd", interleave="pixel")


MAKERS: dict[str, Callable[[Path], Path]] = {"rasterio": by_rasterio, "gdal": by_gdal, "a mask": with_a_mask}


def client_of(path: Path, state: Path, **provider: Any) -> TestClient:
    configuration = raster_alone()
    configuration["resources"]["clcplus-raster"]["providers"][0] |= {"data": str(path), **provider}
    return TestClient(application(configuration, state={"dir": state}), headers={"accept": "*/*"})


@pytest.fixture(scope="module", params=MAKERS)
def values(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("values")
    path = MAKERS[request.param](folder / "heights.tif")
    with client_of(path, folder / "state", bands=BANDS, styles=STYLES, ramps=RAMPS) as client:
        yield client


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a client of one of the files, for what does not depend on who made it."""
    folder = tmp_path_factory.mktemp("plain")
    with client_of(
        by_rasterio(folder / "heights.tif"), folder / "state", bands=BANDS, styles=STYLES, ramps=RAMPS
    ) as client:
        yield client


def pixels(content: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(content)) as image:
        return np.array(image.convert("RGBA"))


def drawn(client: TestClient, query: str = "", style: str = "") -> list[tuple[int, ...]]:
    """Return the colours of the stripes, the same in tile and map, after a look at what has no data."""
    styled = f"{ONE}/styles/{style}" if style else ONE
    tile = client.get(f"{styled}{TILE.removeprefix(ONE)}?{query}")
    assert tile.status_code == 200, tile.text
    place = f"bbox={BOX}&bbox-crs={MERCATOR}&crs={MERCATOR}&width=256&height=256"
    found = pixels(tile.content)
    np.testing.assert_array_equal(pixels(client.get(f"{styled}/map?{place}&{query}").content), found)
    assert not found[236:, :, 3].any()
    assert (found[:236] == found[0]).all()
    assert all((found[0, first : first + 64] == found[0, first]).all() for first in range(0, 256, 64))
    return [tuple(map(int, found[0, first])) for first in range(0, 256, 64)]


def test_the_default_style_is_the_configured_one(values: TestClient) -> None:
    assert drawn(values) == list(GREY)
    assert drawn(values, style="default") == list(GREY)


@pytest.mark.parametrize(
    ("query", "colours"),
    [
        ("colormap_name=gray_r", [(255, 255, 255), (255, 255, 255), (128, 128, 128), (0, 0, 0)]),
        ("colormap_name=viridis", [(68, 1, 84), (68, 1, 84), (33, 145, 140), (253, 231, 37)]),
        ("rescale=-3,5", [(0, 0, 0), (95, 95, 95), (255, 255, 255), (255, 255, 255)]),
        ("properties=slope&rescale=-1000,50", [(236, 236, 236), (243, 243, 243), (255, 255, 255), (255, 255, 255)]),
        ("colormap_name=traffic", [(0, 255, 0), (0, 255, 0), (255, 255, 0), (255, 0, 0)]),
    ],
)
def test_a_query_names_band_limits_and_ramp(
    values: TestClient, query: str, colours: list[tuple[int, int, int]]
) -> None:
    assert drawn(values, query) == [(*colour, 255) for colour in colours]


def test_a_style_of_the_configuration_has_band_limits_and_ramp(values: TestClient) -> None:
    """At the end of the limits a value has the last colour, and so has what is beyond."""
    assert drawn(values, style="steep") == [(0, 255, 0, 255)] * 2 + [(255, 0, 0, 255)] * 2
    assert drawn(values, "rescale=-30,30", "steep")[1] == (255, 255, 0, 255)


def test_styles_are_listed_and_their_links_lead_there(plain: TestClient) -> None:
    listed = plain.get(f"{ONE}/styles").json()
    assert [(each["id"], each["title"]) for each in listed["styles"]] == [("default", "Heights"), ("steep", "Steep")]
    for each in listed["styles"]:
        for link in each["links"]:
            answer = plain.get(link["href"].removeprefix("https://maps.example.org/land"))
            assert (answer.status_code, answer.headers["content-type"]) == (200, link["type"]), link
    style = plain.get(f"{ONE}/styles/steep").json()
    assert style["ramp"] == {
        "property": "slope",
        "title": "band2",
        "rescale": [0, 50],
        "colours": [
            {"value": 0, "colour": "#00ff00"},
            {"value": 25, "colour": "#ffff00"},
            {"value": 50, "colour": "#ff0000"},
        ],
    }
    tiles = plain.get(f"{ONE}/styles/steep/map/tiles/WebMercatorQuad").json()
    assert tiles["style"] == {"id": "steep", "title": "Steep"}
    assert all("/styles/steep/" in each["href"] for each in tiles["links"] if each["rel"] in {"item", "self"})


def test_the_legend_has_the_ramp_and_its_values(plain: TestClient) -> None:
    legend = plain.get(f"{ONE}/styles/default/legend?f=json&rescale=-5,5").json()
    assert (legend["classes"], legend["ramp"]["rescale"], legend["ramp"]["unit"]) == ([], [-5, 5], "m")
    assert legend["ramp"]["colours"] == [{"value": -5, "colour": "#000000"}, {"value": 5, "colour": "#ffffff"}]
    image = pixels(plain.get(f"{ONE}/styles/steep/legend?f=png").content)
    [line] = [row for row in (image[28],) if (row[8, :3] == (0, 255, 0)).all()]
    np.testing.assert_array_equal(line[[8, 8 + 127, 8 + 254], :3], [(0, 255, 0), (255, 255, 0), (255, 0, 0)])


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("rescale=5,5", "allowed: low,high, low below"),
        ("rescale=5", "allowed: low,high"),
        ("rescale=1,nan", "allowed: low,high"),
        ("rescale=-1e308,1e308", "allowed: low,high"),
        ("rescale=0,1,2", "allowed: low,high"),
        ("colormap_name=jet", "allowed: viridis, magma"),
        ("properties=none", "allowed: one or three of height, slope"),
        ("properties=height,slope", "allowed: one field, or three as red, green and blue"),
        ("properties=slope,height,slope&colormap_name=gray", "allowed for one field"),
        ("hide=1", "allowed for classes only"),
    ],
)
def test_invalid_drawings_are_refused(plain: TestClient, query: str, said: str) -> None:
    for path in (TILE, f"{ONE}/map", f"{ONE}/styles/steep/legend"):
        answer = plain.get(f"{path}?{query}")
        assert (answer.status_code, said in answer.json()["detail"]) == (400, True), answer.text


@pytest.mark.parametrize(
    "path", ["/styles/none/map", "/styles/none/legend", "/styles/none/map/tiles", "/styles/none/map/tiles/W/1/1/1"]
)
def test_a_style_that_there_is_not_is_404(plain: TestClient, path: str) -> None:
    answer = plain.get(f"{ONE}{path}")
    assert (answer.status_code, "there is default, steep" in answer.json()["detail"]) == (404, True)


def test_wmts_has_the_styles(plain: TestClient) -> None:
    capabilities = plain.get("/wmts?service=WMTS&request=GetCapabilities").text
    assert "/styles/{style}/map/tiles/{TileMatrixSet}" in capabilities
    query = "/wmts?request=GetTile&layer=clcplus-raster&tilematrixset=WebMercatorQuad&tilematrix=12&tilerow=1396"
    query += "&tilecol=2270&format=image/png&style="
    assert plain.get(f"{query}steep").content == plain.get(f"{ONE}/styles/steep{TILE.removeprefix(ONE)}").content
    assert plain.get(query).content == plain.get(TILE).content
    assert "allowed: default, steep" in plain.get(f"{query}no").text


def test_without_nodata_every_value_is_drawn(tmp_path: Path) -> None:
    """255 is what has no data of classes alone; here it is the brightest."""
    values = np.full((1, 256, 256), 255, np.uint8)
    path = written(tmp_path / "bright.tif", values, crs="EPSG:3857", transform=PLACE)
    with client_of(path, tmp_path / "state", bands=[{"name": "light", "minimum": 0, "maximum": 255}]) as client:
        whole = pixels(client.get(f"{TILE}?colormap_name=gray").content)
        assert (whole == 255).all()
        style = client.get(f"{ONE}/styles/default").json()
        assert style["ramp"]["colours"][0] == {"value": 0, "colour": "#440154"}
        page = client.get(f"{ONE}/map?f=html&rescale=0,9").text
        assert "/styles/default/legend?rescale=0%2C9&amp;f=png" in page
        assert "Woody" not in page + client.get(f"{ONE}?f=html").text


CLASSES = [
    {"id": "forest", "isolate": [2, 3], "colours": [{"value": 2, "colour": "#000080"}]},
    {"id": "open", "title": "Without forest", "hide": [2, 3]},
]


def test_styles_of_classes_hide_isolate_and_recolour(tmp_path: Path) -> None:
    with client_of(SAMPLE, tmp_path / "state", styles=CLASSES) as client:
        for style, query in (("forest", "isolate=2,3&recolour=2:0x000080"), ("open", "hide=2,3")):
            for path in (TILE.removeprefix(ONE), "/map", "/styles/default/legend"):
                styled = path.replace("default", style) if "default" in path else f"/styles/{style}{path}"
                expected = client.get(f"{ONE}{path}?{query}")
                assert client.get(f"{ONE}{styled}").content == expected.content, styled
        assert [each["colour"] for each in client.get(f"{ONE}/styles/forest").json()["classes"]] == [
            "#000080",
            "#80ff00",
        ]
        refused = client.get(f"{TILE}?rescale=1,2")
        assert (refused.status_code, "allowed for values only" in refused.text) == (400, True)


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ({"styles": [{"id": "a", "hide": [12]}]}, "styles: a: 12 is no class"),
        ({"styles": [{"id": "a", "ramp": "gray"}]}, "styles: a: ramp: not for a raster of classes"),
        ({"bands": BANDS, "styles": [{"id": "a", "hide": [1]}]}, "styles: a: hide: not for a raster of values"),
        ({"bands": BANDS, "styles": [{"id": "a", "band": "b"}]}, "styles: a: band: 'b': there are height, slope"),
        ({"bands": BANDS, "styles": [{"id": "a", "ramp": "jet"}]}, "styles: a: ramp: 'jet': there are viridis"),
        ({"bands": BANDS, "styles": [{"id": "a", "rescale": [2, 2]}]}, "styles: a: rescale: 2 is not below 2"),
    ],
)
def test_an_invalid_style_of_the_configuration_has_a_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, provider: dict[str, Any], said: str
) -> None:
    path = by_rasterio(tmp_path / "heights.tif") if "bands" in provider else SAMPLE
    with client_of(path, tmp_path / "state", **provider) as client:
        assert client.get(f"{ONE}/styles").status_code == 503
    assert said in caplog.text
