"""axe finds no violation on any page, in light and dark, at the width of a phone, and in each language."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browser import launched_chromium
from tests.server.served import Served, end

PAGES = [
    "/?f=html",
    "/collections?f=html",
    "/collections/clcplus-raster?f=html",
    "/collections/parks?f=html",
    "/collections/parks/queryables?f=html",
    "/collections/parks/items?f=html",
    "/collections/parks/items/859?f=html",
    "/processes?f=html",
    "/processes/extract-product?f=html",
    "/processes/echo?f=html",
    "/jobs?f=html",
    "/jobs?f=html&status=failed",
    "/jobs/{done}?f=html",
    "/jobs/{done}/order?f=html",
    "/jobs/{done}/results?f=html",
    "/jobs/{waiting}?f=html",
    "/jobs/{mapped}?f=html",
    "/operations?f=html",
    "/openapi?f=html",
    "/openapi/try",
    "/conformance?f=html",
    "/about/terms?f=html",
    "/about/accessibility?f=html",
    "/products/clcplus-2023?f=html",
    "/no/such/page?f=html",
]
LANGUAGES = ["de", "fr", "pl"]
_OPTIONS = {"resultTypes": ["violations"], "rules": {"landmark-no-duplicate-main": {"enabled": False}}}


@pytest.fixture(scope="module")
def served(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Yield a server of the sample in four languages."""
    folder = tmp_path_factory.mktemp("accessible")
    (folder / "state").mkdir()
    (folder / "state" / "sample").symlink_to(sample / "sample")
    text = Path("pygeoapi-config.yml").read_text().replace("[en-GB]", "[en-GB, de, fr, pl]")
    configuration = folder / "configuration.yml"
    for place in ("sample", "products"):  # a configuration elsewhere finds no relative path
        text = text.replace(f"data: {place}/", f"data: {Path(place).absolute()}/")
    configuration.write_text(text)
    state, log = folder / "state", folder / "log"
    served = Served(state, log, "--config", str(configuration), LANDCAST_SERVER_WORKERS="1")
    try:
        served.ready()
        yield served
    finally:
        end(served)


@pytest.fixture(scope="module")
def jobs(served: Served) -> dict[str, str]:
    """Return the ids of a finished and an unfinished job, and of one with a map."""
    done = served.post("/processes/echo/execution", {"inputs": {"stringInput": "x"}}, Prefer="respond-async")
    waiting = served.post("/processes/echo/execution", {"inputs": {"pause": 60}}, Prefer="respond-async")
    product = {"product": "Raster", "aoi": {"bbox": [19.8, 50.2, 19.82, 50.22]}}
    mapped = served.post("/processes/extract-product/execution", {"inputs": product}, Prefer="respond-async")
    return {name: str(job["jobID"]) for name, job in (("done", done), ("waiting", waiting), ("mapped", mapped))}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched_chromium() as browser:
        yield browser


@pytest.fixture(scope="module", params=["light", "dark", "phone", *LANGUAGES])
def page(request: pytest.FixtureRequest, served: Served, chromium: Browser) -> Iterator[Page]:
    size = {"width": 320, "height": 640} if request.param == "phone" else {"width": 1280, "height": 900}
    scheme = "dark" if request.param == "dark" else "light"
    locale = request.param if request.param in LANGUAGES else "en-GB"
    context = chromium.new_context(base_url=served.url, viewport=size, color_scheme=scheme, locale=locale)  # type: ignore[arg-type] # a size
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


@pytest.mark.full
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_no_violation(page: Page, path: str, jobs: dict[str, str]) -> None:
    """Swagger UI is used as published and is excluded, and so is its second `main`."""
    examine(page, path.format(**jobs))


@pytest.mark.long
@pytest.mark.parametrize("language", LANGUAGES)
def test_axe_finds_no_violation_in_a_language(served: Served, chromium: Browser, language: str) -> None:
    context = chromium.new_context(base_url=served.url, locale=language)
    context.set_default_timeout(60_000)
    page = context.new_page()
    examine(page, "/collections/parks?f=html")
    assert page.locator("html").get_attribute("lang") == language
    page.get_by_role("link", name="English").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**lang=en-GB")
    assert page.locator("html").get_attribute("lang") == "en-GB"
    context.close()


def examine(page: Page, path: str) -> None:
    page.goto(path)
    page.wait_for_load_state("networkidle")
    for summary in page.locator("main summary").all()[:3]:
        summary.click()
    found = Axe().run(page, context={"exclude": [[".trial"]]}, options=_OPTIONS)
    assert [(each["id"], each["nodes"][0]["html"]) for each in found.response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no page is wider than the window"
