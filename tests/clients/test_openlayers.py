"""OpenLayers reads our tilesets by its sources OGCMapTile and OGCVectorTile, in Chromium: pixels and features."""

import math
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from affine import Affine
from playwright.sync_api import Page

from products.classes import CLASSES, by_value
from tests.browser import launched_chromium
from tests.conftest import ROOT, serving
from tests.odd.rasters import classes, gdal_cog

pytestmark = pytest.mark.full
SCRIPTS = ROOT / "routes" / "pages" / "scripts"
WORLD = 2 * math.pi * 6_378_137
SIDE = WORLD / 2**12
BABIA = (2270, 1396)
"""Column and row at zoom 12 of a tile in the national park of Babia Góra."""
GRID = Affine(SIDE / 256, 0, BABIA[0] * SIDE - WORLD / 2, 0, -SIDE / 256, WORLD / 2 - BABIA[1] * SIDE)
PIXELS = classes(512, 512, seed=7)
"""A raster whose first 256 x 256 pixels are those of the tile."""


@pytest.fixture(scope="module")
def url(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("openlayers")
    document = yaml.safe_load((ROOT / "pygeoapi-config.yml").read_text())
    raster, parks = (document["resources"][name] for name in ("clcplus-raster", "parks"))
    raster["providers"][0]["data"] = str(gdal_cog(folder / "land.tif", PIXELS, 3857, transform=GRID))
    parks["providers"][0]["data"] = str(sample / "sample" / "parks.gpkg")
    document["resources"], _ = {"clcplus-raster": raster, "parks": parks}, document.pop("products")
    (folder / "config.yml").write_text(yaml.safe_dump(document))
    with serving(folder / "state", folder / "log", configuration=str(folder / "config.yml")) as address:
        yield address


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the program with the OpenLayers of the pages' lock file."""
    folder = tmp_path_factory.mktemp("bundle")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SCRIPTS / name, folder)
    shutil.copy(Path(__file__).parent / "openlayers.js", folder)
    build = ["node_modules/.bin/esbuild", "openlayers.js", "--bundle", "--format=iife", "--outfile=out.js"]
    for command in (["npm", "ci", "--ignore-scripts"], build):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
    return (folder / "out.js").read_text()


@pytest.fixture(scope="module")
def page(url: str, bundle: str) -> Iterator[Page]:
    """Return a page of our server on which the program runs."""
    with launched_chromium() as browser:
        context = browser.new_context(bypass_csp=True)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.goto(f"{url}/conformance?f=html")
        page.add_script_tag(content=bundle)
        yield page
        context.close()


def middle(column: int, row: int) -> tuple[float, float]:
    return (column + 0.5) * SIDE - WORLD / 2, WORLD / 2 - (row + 0.5) * SIDE


def test_map_tiles_have_the_colours_of_the_classes(page: Page, url: str) -> None:
    address = f"{url}/collections/clcplus-raster/map/tiles/WebMercatorQuad"
    (x, y), resolution = middle(*BABIA), SIDE / 256
    arguments = [address, [x, y], resolution]
    found = np.array(page.evaluate("(given) => window.drawn(...given)", arguments), np.uint8).reshape(256, 256, 4)
    table = np.zeros((256, 4), np.uint8)
    for value, each in by_value(CLASSES).items():
        table[value] = (*each.rgb, 255)
    np.testing.assert_array_equal(found, table[PIXELS[:256, :256]])


def test_vector_tiles_have_the_features(page: Page, url: str) -> None:
    arguments = [f"{url}/collections/parks/tiles/WebMercatorQuad", middle(*BABIA), SIDE / 256]
    names = page.evaluate("(given) => window.features(...given)", arguments)
    assert set(names) == {"Babiogórski National Park"}
