"""pystac-client searches the products; rioxarray opens the file that an item names, with equal pixels."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.clients.conftest import run_python
from tests.conftest import serving
from tests.routes.catalogued import catalogued

PROGRAM = """
import json, sys
import numpy, pystac_client, rasterio, rioxarray
client = pystac_client.Client.open(sys.argv[1] + "/stac-api")
pages = client.search(limit=1, collections=["cover", "forest"], sortby="-datetime,id")
found = client.search(bbox=[16, 41, 18, 42], datetime="2021-06-01", method="GET").item_collection()
item = found[0]
with rioxarray.open_rasterio(item.assets["data"].href) as served, rasterio.open(sys.argv[2]) as file:
    same = bool(numpy.array_equal(served.values, file.read()))
    place = served.rio.crs.to_epsg(), served.rio.bounds() == tuple(item.properties["proj:bbox"])
print(json.dumps({
    "collections": [each.id for each in client.get_collections()],
    "pages": [each.id for each in pages.items()],
    "matched": pages.matched(),
    "found": [each.id for each in found],
    "of collection": [each.id for each in client.get_collection("cover").get_items()],
    "same pixels": same,
    "place": place,
}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stac clients")


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    (folder / "config.yml").write_text(yaml.safe_dump(catalogued(folder)))
    with serving(folder / "state", folder / "log", configuration=str(folder / "config.yml")) as address:
        yield address


def test_pystac_client_and_rioxarray(url: str, folder: Path) -> None:
    done = run_python(PROGRAM, url, str(folder / "south.tif"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "collections": ["cover", "forest"],
        "pages": ["cover-21", "forest", "cover-18"],
        "matched": 3,
        "found": ["forest"],
        "of collection": ["cover-18", "cover-21"],
        "same pixels": True,
        "place": [3035, True],
    }
