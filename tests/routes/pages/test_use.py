"""The commands on the page of a collection work in their programs."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path

import pytest
from starlette.applications import Starlette

from tests.routes.people import PAGE, POLICY, LoginIssuer, browser_of
from tests.server.served import Served, end

full = pytest.mark.full


@pytest.fixture(scope="module")
def url(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("used")
    (folder / "state").mkdir()
    (folder / "state" / "sample").symlink_to(sample / "sample")
    served = Served(folder / "state", folder / "log", LANDCAST_SERVER_WORKERS="1")
    try:
        served.ready()
        yield served.url
    finally:
        end(served)


def commands(page: str) -> dict[str, str]:
    found = re.findall(r'data-tool="(\w+)"><code>(.*?)</code>', page, re.DOTALL)
    return {tool: unescape(text) for tool, text in found}


def pasted(url: str, collection: str, tool: str, folder: Path) -> str:
    """Return the program's output for the command on the page."""
    fetched = ["curl", "-sf", f"{url}/collections/{collection}?f=html"]
    page = subprocess.run(fetched, capture_output=True, text=True, check=True).stdout
    interpreter = {"Python": [sys.executable], "JavaScript": ["node", "--input-type=module"]}.get(tool, ["sh"])
    text = commands(page)[tool]
    done = subprocess.run(interpreter, input=text, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@full
@pytest.mark.parametrize(("collection", "count"), [("parks", 9), ("nations", 46)])
def test_the_page_shows_how_to_use_items(url: str, tmp_path: Path, collection: str, count: int) -> None:
    pasted(url, collection, "curl", tmp_path)
    assert len(json.loads((tmp_path / "items.geojson").read_text())["features"]) == count
    pasted(url, collection, "GDAL", tmp_path)
    expected = subprocess.run(
        ["ogrinfo", "-so", "-al", "items.gpkg"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert f"Feature Count: {count}" in expected.stdout
    assert pasted(url, collection, "Python", tmp_path).strip() == str(count)
    assert pasted(url, collection, "JavaScript", tmp_path).strip() == str(count)


@full
def test_the_page_shows_how_to_use_a_raster(url: str, tmp_path: Path) -> None:
    pasted(url, "clcplus-raster", "curl", tmp_path)
    original = Path("sample/clcplus_2023_parks.tif").read_bytes()
    assert (tmp_path / "clcplus_2023_parks.tif").read_bytes() == original
    assert "COG" in pasted(url, "clcplus-raster", "GDAL", tmp_path)


def test_commands_send_a_key_if_a_login_is_needed(
    make_closed_app: Callable[..., Starlette], login_issuer: LoginIssuer
) -> None:
    with browser_of(make_closed_app(policy=POLICY), login_issuer) as browser:
        browser.sign_in()
        found = commands(browser.http.get("/land/collections/parks", headers=PAGE).text)
    assert '-H "X-Api-Key: $LANDCAST_KEY"' in found["curl"]
    assert found["GDAL"].startswith('GDAL_HTTP_HEADERS="X-Api-Key: $LANDCAST_KEY" ogr2ogr ')
    assert 'os.environ["LANDCAST_KEY"]' in found["Python"]
    assert "process.env.LANDCAST_KEY" in found["JavaScript"]
