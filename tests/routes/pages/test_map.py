"""The pages in a real browser: look at the map, draw an area, order it, follow the job, fetch the file."""

import io
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from playwright.sync_api import Browser, Locator, Page, Position, expect
from shapely import unary_union
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from tests.browser import launched_chromium
from tests.server.served import Served, end, eventually

pytestmark = pytest.mark.long
ORDER = "/processes/extract-product?f=html"
AT_OJCOW = "#12/50.21/19.82"
SECONDS = 60_000
_EXPECTED = re.compile("status of 400|willReadFrequently")
"""Messages of the browser on what these tests do: a refused area, a look at the pixels."""
_HAS_COLOUR = """(wanted) => [...document.querySelectorAll('.land-map canvas')].some((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) if (wanted.every((value, i) => data[at + i] === value)) return true;
    return false;
})"""
expect.set_options(timeout=SECONDS)


@pytest.fixture(scope="module")
def url(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "state").mkdir()
    (folder / "state" / "sample").symlink_to(sample / "sample")
    served = Served(folder / "state", folder / "log", LANDCAST_SERVER_WORKERS="1")
    try:
        served.ready()
        yield served.url
    finally:
        end(served)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched_chromium() as browser:
        yield browser


@pytest.fixture
def page(url: str, chromium: Browser) -> Iterator[Page]:
    """Return a page that complains of nothing and asks no other server."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, base_url=url)
    context.set_default_timeout(SECONDS)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda said: complaints.append(said.text) if not _EXPECTED.search(said.text) else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "request", lambda asked: complaints.append(asked.url) if not asked.url.startswith((url, "data:")) else None
    )
    yield opened
    context.close()
    assert complaints == []


def drawn(page: Page) -> None:
    """Draw a rectangle in the middle of the map."""
    page.get_by_role("button", name="Draw a rectangle").click()
    box = page.locator(".land-map").bounding_box()
    assert box
    page.mouse.click(box["x"] + 300, box["y"] + 150)
    page.mouse.move(box["x"] + 450, box["y"] + 200, steps=3)
    page.mouse.click(box["x"] + 600, box["y"] + 300)
    expect(page.locator("[data-area]")).not_to_have_value("")


def colours(page: Page) -> int:
    """Return the number of different colours on the map."""
    count = """() => new Set([...document.querySelectorAll('.land-map canvas')].flatMap((canvas) => {
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return [...new Uint32Array(pixels.data.buffer)];
    })).size"""
    return int(page.evaluate(count))


@pytest.mark.parametrize(
    "path",
    [
        "/?f=html",
        "/collections/clcplus-raster?f=html",
        "/collections/parks/items?f=html",
        "/collections/parks/items/859?f=html",
    ],
)
def test_a_map_is_shown(page: Page, path: str) -> None:
    page.goto(path)
    page.wait_for_function("document.querySelector('.land-map canvas')?.width > 0")
    page.wait_for_load_state("networkidle")
    assert colours(page) > 3


def test_an_area_is_drawn_estimated_ordered_and_delivered(page: Page) -> None:
    page.goto(f"{ORDER}{AT_OJCOW}")
    drawn(page)
    expect(page.get_by_role("status")).to_have_text(
        re.compile(r"[\d.]+ km², [\d,]+ pixels, about \d+ kB, ready in about \d+ s")
    )
    assert page.locator(".chart li").count() > 3
    page.get_by_role("button", name="Order", exact=True).click()
    page.wait_for_url("**/jobs/*")
    page.wait_for_selector("text=Ready to download")
    assert re.fullmatch(r"\d{1,2} \w+( \d{4})?", page.locator("time").first.inner_text())
    page.wait_for_function(_HAS_COLOUR, arg=[11, 61, 145])  # of the outline
    page.get_by_role("button", name="Zoom in").click()
    expect(page).to_have_url(re.compile(r"#1[2-9]\.\d+/50\.2\d+/19\.[78]\d+$"))
    with page.expect_download() as download:
        page.click("text=.zip")
    names = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())).namelist()
    assert any(name.endswith(".tif") for name in names)


def test_an_operation_can_be_tried_on_the_page(page: Page) -> None:
    page.goto("/openapi?f=html")
    page.get_by_role("link", name="Try it here").click()
    page.locator("#operations-tag-processes").click()
    page.locator("#operations-processes-getProcesses .opblock-summary-control").click()
    page.locator("#operations-processes-getProcesses button.execute").click()
    expect(page.locator("#operations-processes-getProcesses .live-responses-table")).to_contain_text("extract-product")


def test_the_address_contains_the_place_of_the_map(page: Page) -> None:
    page.goto(f"/?f=html{AT_OJCOW}")
    page.get_by_role("button", name="Zoom in").click()
    expect(page).to_have_url(re.compile(r"#13\.00/50\.21\d+/19\.82\d+$"))


def test_an_invalid_area_is_reported_and_the_form_is_kept(page: Page) -> None:
    page.goto(ORDER)
    area = page.locator("[data-area]")
    area.fill("somewhere")
    expect(page.get_by_role("status")).to_contain_text("This is no area. Allowed: GeoJSON, WKT")
    area.fill("POLYGON((0 0, 1 1, 1 0, 0 1, 0 0))")
    expect(page.get_by_role("status")).to_contain_text("aoi")
    area.fill("-40, -40, -39, -39")
    expect(page.get_by_role("status")).to_have_text(re.compile("outside|no data|nothing", re.IGNORECASE))
    assert area.input_value() == "-40, -40, -39, -39"


def test_undo_restores_the_former_area(page: Page) -> None:
    page.goto(f"{ORDER}{AT_OJCOW}")
    drawn(page)
    before = page.locator("[data-area]").input_value()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("[data-area]")).to_have_value("")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("[data-area]")).to_have_value(before)
    assert json.loads(before)["type"] == "Polygon"


def find(page: Page, what: str) -> None:
    page.get_by_label("Find a place").fill(what)
    page.get_by_role("button", name="Find", exact=True).click()


def test_a_place_is_found_by_name_and_by_coordinates(page: Page) -> None:
    page.goto(ORDER)
    find(page, "OJCOWSKI")
    expect(page).to_have_url(re.compile(r"#1[0-9.]+/50\.2\d+/19\.8\d+$"))
    find(page, "albánia")
    expect(page).to_have_url(re.compile(r"#[5-8][0-9.]+/41\.\d+/20\.\d+$"))
    find(page, "33.5 S, 70.25° W")
    expect(page).to_have_url(re.compile(r"#13\.00/-33\.50000/-70\.25000$"))
    for nowhere in ("<b>Atlantis</b>", "91, 0", ""):
        find(page, nowhere)
        expect(page.get_by_text(f"Nothing on this map is called “{nowhere}”.")).to_be_visible()


@dataclass(frozen=True)
class Parks:
    """The map of an order round Ojców and Gorce, with both parks in view, and where these are on the page's map."""

    VIEW: ClassVar = "#9/49.9/19.9"
    page: Page
    outlines: Mapping[str, BaseGeometry]

    @classmethod
    def shown(cls, page: Page) -> "Parks":
        page.goto(f"{ORDER}{cls.VIEW}")
        items = page.request.get("/collections/parks/items?f=json").json()["features"]
        outlines = {each["properties"]["name"].split()[0]: shape(each["geometry"]) for each in items}
        return cls(page, {name: outlines[name] for name in ("Ojcowski", "Gorczański")})

    def click(self, name: str) -> None:
        """Click a park once the map has loaded it; where other things of the page are is left to the browser."""
        land, place = self.page.locator(".land-map"), self._place(name)
        for step in range(SECONDS // 250):
            land.hover(position={"x": place["x"] + step % 2, "y": place["y"]})
            if name in self.page.locator(".under-pointer").inner_text():
                break
            self.page.wait_for_timeout(250)
        land.click(position=place)

    def _place(self, name: str) -> Position:
        box = self.page.locator(".land-map").bounding_box()
        assert box
        inside = self.outlines[name].representative_point()
        points = [_on_the_world(latitude, longitude) for latitude, longitude in ((49.9, 19.9), (inside.y, inside.x))]
        (middle_x, middle_y), (x, y) = points
        return {"x": box["width"] / 2 + x - middle_x, "y": box["height"] / 2 + y - middle_y}


def _on_the_world(latitude: float, longitude: float) -> tuple[float, float]:
    """Return the pixel in the Web Mercator world of zoom 9, of which a tile has 256."""
    size, radians = 256 * 2**9, math.radians(latitude)
    return size * (longitude / 360 + 0.5), size * (0.5 - math.asinh(math.tan(radians)) / math.tau)


def test_several_features_are_picked_by_clicks_into_one_order(page: Page) -> None:
    parks = Parks.shown(page)
    area, pick = page.locator("[data-area]"), page.get_by_role("button", name="Pick from the map")
    pick.click()
    parks.click("Ojcowski")
    expect(area).to_have_value(re.compile("^{.type.:.MultiPolygon"))
    parks.click("Gorczański")
    expect(area).to_have_value(re.compile("^{.type.:.FeatureCollection"))
    chosen = unary_union([shape(each["geometry"]) for each in json.loads(area.input_value())["features"]])
    assert chosen.symmetric_difference(unary_union(list(parks.outlines.values()))).area < 1e-6
    expect(page.get_by_role("status")).to_contain_text("km²")
    parks.click("Ojcowski")
    expect(area).to_have_value(re.compile("^{.type.:.MultiPolygon"))
    assert shape(json.loads(area.input_value())).distance(parks.outlines["Gorczański"]) == 0
    page.get_by_role("button", name="Undo").click()
    expect(area).to_have_value(re.compile("^{.type.:.FeatureCollection"))
    page.get_by_role("button", name="Order", exact=True).click()
    page.wait_for_url("**/jobs/*")
    page.wait_for_selector("text=Ready to download")


def test_a_click_picks_nothing_until_it_is_asked_for(page: Page) -> None:
    parks = Parks.shown(page)
    area, pick = page.locator("[data-area]"), page.get_by_role("button", name="Pick from the map")
    parks.click("Ojcowski")
    page.wait_for_timeout(1000)
    expect(area).to_have_value("")
    pick.click()
    parks.click("Ojcowski")
    expect(area).not_to_have_value("")


def go_to(page: Page, control: Locator) -> None:
    """Press the tabulator until the control has the focus."""
    for _ in range(100):
        page.keyboard.press("Tab")
        if control.evaluate("(each) => each === document.activeElement"):
            return
    raise AssertionError("the tabulator does not reach the control")


def test_an_order_is_made_with_the_keyboard_alone(page: Page) -> None:
    """The park lies 128 pixels, a step of an arrow key, to the east of the middle of the map."""
    items = page.request.get("/collections/parks/items?f=json").json()["features"]
    [park] = [shape(each["geometry"]) for each in items if each["properties"]["name"].startswith("Ojcowski")]
    inside = park.representative_point()
    step = 128 * 360 / (256 * 2**11)
    page.goto(f"{ORDER}#11/{inside.y:.5f}/{inside.x - step:.5f}")
    area, land = page.locator("[data-area]"), page.locator(".land-map")
    go_to(page, page.get_by_role("button", name="Pick from the map"))
    page.keyboard.press("Enter")
    expect(land).to_be_focused()
    expect(page.get_by_text("Enter to pick what is under the cross")).to_be_visible()
    page.keyboard.press("ArrowRight")
    eventually(lambda: abs(float(page.evaluate("location.hash").split("/")[2]) - inside.x) < 0.001)
    for _ in range(SECONDS // 250):
        page.keyboard.press("Enter")
        if area.input_value():
            break
        page.wait_for_timeout(250)
    chosen = shape(json.loads(area.input_value()))
    assert chosen.symmetric_difference(park).area < 1e-6
    go_to(page, page.get_by_role("button", name="Order", exact=True))
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/*")
    page.wait_for_selector("text=Ready to download")
    go_to(page, page.get_by_role("link", name=re.compile(r"\.zip$")))
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert zipfile.is_zipfile(download.value.path())


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_the_map_is_saved_with_its_legend(page: Page, tmp_path: Path) -> None:
    page.goto(f"/?f=html{AT_OJCOW}")
    page.wait_for_load_state("networkidle")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as picture").click()
    download.value.save_as(tmp_path / "map.png")
    with rasterio.open(tmp_path / "map.png") as picture:
        pixels = picture.read([1, 2, 3])
    box = page.locator(".land-map").bounding_box()
    assert box
    below = pixels[:, int(box["height"]) + 2 :].reshape(3, -1).T
    assert below.shape[0] > 50 * box["width"]
    assert (0, 128, 255) in {tuple(map(int, pixel)) for pixel in below}, "the class of water, which is not in view"
    assert len({tuple(map(int, pixel)) for pixel in pixels[:, 200:400].reshape(3, -1).T}) > 5


def test_a_file_can_be_the_area_and_a_broken_one_leaves_the_drawing(page: Page, tmp_path: Path) -> None:
    box = shapely.box(5_019_000, 3_057_000, 5_021_000, 3_058_000)
    pyogrio.raw.write(
        tmp_path / "mine.gpkg", shapely.to_wkb([box]), [np.array([1])], ["n"], geometry_type="Polygon", crs="EPSG:3035"
    )
    (tmp_path / "broken.gpkg").write_bytes((tmp_path / "mine.gpkg").read_bytes()[:5_000])
    page.goto(f"{ORDER}{AT_OJCOW}")
    drawn(page)
    status, area = page.get_by_role("status"), page.locator("[data-area]")
    expect(status).to_contain_text("km²")
    before = area.input_value()
    page.set_input_files("input[type=file]", tmp_path / "broken.gpkg")
    expect(status).to_contain_text("The file cannot be read: it is damaged")
    assert area.input_value() == before
    page.set_input_files("input[type=file]", tmp_path / "mine.gpkg")
    expect(status).to_have_text(re.compile(r"^2(\.0\d*)? km²"))
    page.get_by_role("button", name="Undo").click()
    expect(area).to_have_value(before)


def test_a_job_can_be_cancelled_on_its_page(page: Page) -> None:
    page.goto("/processes/echo?f=html")
    page.fill("[name=pause]", "60")
    page.locator("form").get_by_role("button").last.click()
    page.wait_for_url("**/jobs/*")
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector("text=Cancelled")


def test_an_order_is_found_repeated_and_deleted_without_script(url: str, chromium: Browser) -> None:
    context = chromium.new_context(java_script_enabled=False, base_url=url)
    context.set_default_timeout(SECONDS)
    page = context.new_page()
    page.goto("/processes/echo?f=html")
    page.fill("[name=stringInput]", "first")
    page.locator("form").get_by_role("button").last.click()
    page.wait_for_url("**/jobs/*")
    page.get_by_role("link", name="Order again, with changes").click()
    assert page.input_value("[name=stringInput]") == "first"
    page.goto("/jobs?f=html")
    page.get_by_label("State").select_option("ready")
    page.get_by_role("button", name="Show").click()
    chosen = page.locator("tbody input[type=checkbox]")
    expect(chosen).not_to_have_count(0)
    job = chosen.first.get_attribute("name")
    assert page.request.get(f"/jobs/{job}?f=json").status == 200
    chosen.first.check()
    page.get_by_role("button", name="Cancel or delete the chosen").click()
    page.wait_for_url("**/jobs?f=html")
    assert page.request.get(f"/jobs/{job}?f=json").status == 404
    context.close()


def test_an_order_can_be_made_without_script(url: str, chromium: Browser) -> None:
    context = chromium.new_context(java_script_enabled=False, base_url=url)
    context.set_default_timeout(SECONDS)
    page = context.new_page()
    page.goto(ORDER)
    page.fill("[data-area]", "19.8, 50.2, 19.82, 50.22")
    page.get_by_role("button", name="Order", exact=True).click()
    page.wait_for_url("**/jobs/*")
    page.wait_for_selector("text=Ready to download")
    context.close()
