import html
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from starlette.testclient import TestClient

from products.classes import CLASSES, NODATA, by_value
from products.raster.cog import Pixels

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # a PNG has no place

MAP = "/collections/clcplus-raster/map"
BABIA = "19.47,49.56,19.6,49.64"
EPSG = "http://www.opengis.net/def/crs/EPSG/0"


def _read(content: bytes) -> Pixels:
    """Return red, green, blue and alpha of the pixels, of shape (rows, columns, 4)."""
    return np.asarray(Image.open(BytesIO(content)).convert("RGBA"))


def test_the_default_map_is_800_wide_with_the_right_shape(client: TestClient) -> None:
    answer = client.get(MAP)
    assert answer.headers["content-type"] == "image/png"
    colours = _read(answer.content)
    assert colours.shape[1] == 800
    assert colours.shape[0] / 800 == pytest.approx(47_104 / 58_880, rel=0.15)
    assert colours[..., 3].any()


@pytest.mark.parametrize(
    ("query", "shape"),
    [
        (f"bbox={BABIA}&width=200&height=100", (100, 200)),
        (f"bbox={BABIA}&width=200", None),
        (f"bbox={BABIA}&height=64&width=64&crs={EPSG}/3857", (64, 64)),
        (f"bbox={BABIA}&height=64&width=64&crs={EPSG}/3035", (64, 64)),
        ("bbox=-10,40,0,50&width=32&height=32", (32, 32)),
    ],
)
def test_box_and_size_are_as_requested(client: TestClient, query: str, shape: tuple[int, int] | None) -> None:
    answer = client.get(f"{MAP}?{query}")
    assert answer.status_code == 200, answer.text
    colours = _read(answer.content)
    assert colours.shape[:2] == (shape or (colours.shape[0], 200))
    assert colours[..., 3].any() == ("-10" not in query)


def test_the_colours_are_those_of_the_classes(client: TestClient) -> None:
    """A box of four pixels in the source's CRS is drawn in the colours of its classes."""
    path = Path(__file__).parents[3] / "sample" / "clcplus_2023_parks.tif"
    with rasterio.open(path) as source:
        bounds = 5_006_000, 2_986_000, 5_010_560, 2_989_330
        window = rasterio.windows.from_bounds(*bounds, transform=source.transform)
        expected = source.read(1, window=window)
    west, south, east, north = bounds
    answer = client.get(
        MAP,
        params={
            "bbox": f"{south},{west},{north},{east}",
            "bbox-crs": f"{EPSG}/3035",
            "crs": f"{EPSG}/3035",
            "width": str(expected.shape[1]),
            "height": str(expected.shape[0]),
        },
    )
    colours = _read(answer.content)
    for value in np.unique(expected):
        colour = (0, 0, 0, 0) if value == NODATA else (*by_value(CLASSES)[value].rgb, 255)
        assert (colours[expected == value] == colour).all()


@pytest.mark.parametrize(
    ("query", "colour"),
    [
        ("", (0, 0, 0, 0)),
        ("&transparent=true", (0, 0, 0, 0)),
        ("&transparent=false", (255, 255, 255, 255)),
        ("&bgcolor=0x102030", (16, 32, 48, 255)),
        ("&bgcolor=0x102030&transparent=true", (0, 0, 0, 0)),
    ],
)
def test_the_background_is_as_requested(client: TestClient, query: str, colour: tuple[int, ...]) -> None:
    colours = _read(client.get(f"{MAP}?width=50&bbox=-10,40,0,50{query}").content)
    assert (colours == colour).all()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("width=5000&height=5000", 413),
        ("width=0", 400),
        ("bgcolor=red", 400),
        ("transparent=maybe", 400),
        ("f=jpeg", 400),
        ("crs=x", 400),
        ("bbox=1,2", 400),
        ("datetime=1999-01-01", 204),
    ],
)
def test_invalid_requests_for_a_map_are_400(client: TestClient, query: str, status: int) -> None:
    assert client.get(f"{MAP}?{query}").status_code == status


def test_the_headers_have_place_and_time(client: TestClient) -> None:
    """Requirement map-response of OGC API Maps; northing before easting."""
    headers = client.get(f"{MAP}?bbox={BABIA}&width=20&height=20").headers
    assert [float(number) for number in headers["content-bbox"].split(",")] == [19.47, 49.56, 19.6, 49.64]
    assert headers["content-datetime"] == "2023-01-01T00:00:00Z/2023-12-31T23:59:59Z"
    box = "2986000,5006000,2989000,5009000"
    system = f"{EPSG}/3035"
    headers = client.get(f"{MAP}?bbox={box}&bbox-crs={system}&crs={system}&width=20&height=20").headers
    assert [float(number) for number in headers["content-bbox"].split(",")] == [2986000, 5006000, 2989000, 5009000]


@pytest.mark.parametrize(
    "query",
    [
        "map?bbox=-1e308,-1e308,1e308,1e308",
        "map?bbox=-1e308,0,1e308,1e-320&width=10",
        f"map?bbox=0,1e10,1,1e11&bbox-crs={EPSG}/3857&crs={EPSG}/3857&width=10&height=10",
        f"map?bbox=-1e308,-1e308,1e308,1e308&bbox-crs={EPSG}/3035&crs={EPSG}/3035&width=5&height=5",
        f"coverage?bbox=0,-1e11,1e7,1e12&bbox-crs={EPSG}/3857&crs={EPSG}/3857&width=10",
        "coverage?subset=Lon(-1e308:1e308),Lat(-1e308:1e308)&width=10",
    ],
)
def test_a_huge_box_is_accepted(client: TestClient, query: str) -> None:
    """Sums of such numbers are infinite, which must not be a 500."""
    assert client.get(f"/collections/clcplus-raster/{query}").status_code < 500


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
IN_A_PAGE = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", BROWSER, "text/html; charset=utf-8"),
        ("&f=html", "*/*", "text/html; charset=utf-8"),
        ("", IN_A_PAGE, "image/png"),
        ("", "*/*", "image/png"),
        ("", "image/png", "image/png"),
        ("&f=png", BROWSER, "image/png"),
    ],
)
def test_browsers_get_a_page_and_other_clients_the_picture(
    client: TestClient, query: str, accept: str, kind: str
) -> None:
    answer = client.get(f"{MAP}?bbox={BABIA}&width=20&height=10{query}", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind
    assert "Accept" in answer.headers["vary"]


def test_the_page_shows_the_same_map(client: TestClient) -> None:
    query = f"bbox={BABIA}&width=20&height=10&crs={EPSG}/3857&bgcolor=%23ff0000"
    page = client.get(f"{MAP}?{query}&f=html").text
    [source] = re.findall(r'<img src="([^"]+)" width="20" height="10"', page)
    address = html.unescape(source).removeprefix("https://maps.example.org/land")
    shown = client.get(address, headers={"accept": IN_A_PAGE})
    assert shown.content == client.get(f"{MAP}?{query}&f=png").content
    assert "<script" not in page
    assert by_value(CLASSES)[1].name in html.unescape(page)


def test_mistakes_are_shown_on_the_page_too(client: TestClient) -> None:
    assert client.get(f"{MAP}?bbox=1,2,3", headers={"accept": BROWSER}).status_code == 400
    assert client.get(f"{MAP}?width=100000&height=100000", headers={"accept": BROWSER}).status_code == 413


def _drawn(client: TestClient, more: str) -> Pixels:
    answer = client.get(f"{MAP}?bbox={BABIA}&width=200&height=100{more}")
    assert answer.status_code == 200, answer.text
    return _read(answer.content)


def test_a_query_hides_isolates_and_recolours_classes(client: TestClient) -> None:
    whole = _drawn(client, "")
    first, second = (by_value(CLASSES)[value].rgb for value in (2, 3))
    is_first, is_second = ((whole[..., :3] == each).all(axis=2) & (whole[..., 3] > 0) for each in (first, second))
    assert is_first.any()
    assert is_second.any()
    np.testing.assert_array_equal(_drawn(client, "&hide=2")[..., 3] > 0, (whole[..., 3] > 0) & ~is_first)
    isolated = _drawn(client, "&isolate=2,3&bgcolor=0x010203")
    np.testing.assert_array_equal((isolated[..., :3] == (1, 2, 3)).all(axis=2), ~(is_first | is_second))
    recoloured = _drawn(client, "&recolour=2:0x0a0b0c")
    np.testing.assert_array_equal((recoloured[..., :3] == (10, 11, 12)).all(axis=2), is_first)
    np.testing.assert_array_equal(recoloured[~is_first], whole[~is_first])


@pytest.mark.parametrize("query", ["hide=12", "isolate=x", "recolour=2:red", "hide=", "recolour=99:0x000000"])
def test_invalid_styles_in_a_query_are_refused(client: TestClient, query: str) -> None:
    answer = client.get(f"{MAP}?{query}")
    assert answer.status_code == 400
    assert "allowed: " in answer.json()["detail"]
