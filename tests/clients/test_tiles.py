"""GDAL reads our maps and tiles as people set it up: a WMTS, an XYZ service, and a map by `OGCAPI:`; pixel by pixel."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from numpy.typing import NDArray

from products.classes import CLASSES, by_value
from products.raster.blocks import RasterBlocks
from products.raster.nearest import read_nearest
from tests.clients.conftest import run
from tests.conftest import ROOT, serving

SAMPLE = ROOT / "sample" / "clcplus_2023_parks.tif"
XYZ = """<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}/${{y}}/${{x}}?f=png</ServerUrl></Service>
<DataWindow><UpperLeftX>-20037508.34</UpperLeftX><UpperLeftY>20037508.34</UpperLeftY>
<LowerRightX>20037508.34</LowerRightX><LowerRightY>-20037508.34</LowerRightY><TileLevel>12</TileLevel>
<TileCountX>1</TileCountX><TileCountY>1</TileCountY><YOrigin>top</YOrigin></DataWindow><Projection>EPSG:3857</Projection>
<BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY><BandsCount>4</BandsCount><Cache/></GDAL_WMS>"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server with the raster alone."""
    folder = tmp_path_factory.mktemp("tiles")
    document = yaml.safe_load((ROOT / "pygeoapi-config.yml").read_text())
    raster = document["resources"]["clcplus-raster"]
    raster["providers"][0]["data"] = str(SAMPLE)
    document["resources"], _ = {"clcplus-raster": raster}, document.pop("products")
    (folder / "config.yml").write_text(yaml.safe_dump(document))
    with serving(folder / "state", folder / "log", configuration=str(folder / "config.yml")) as address:
        yield address


def expected(box: tuple[float, float, float, float], crs: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return red, green, blue and alpha of a box."""
    values = read_nearest(RasterBlocks(SAMPLE), box, crs, size)
    assert values is not None
    table = np.zeros((256, 4), np.uint8)
    for value, each in by_value(CLASSES).items():
        table[value] = (*each.rgb, 255)
    colours: NDArray[np.uint8] = table[values].transpose(2, 0, 1)
    return colours


def translated(source: str, target: Path, box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    """Return the output of gdal_translate for a box."""
    west, south, east, north = (str(edge) for edge in box)
    done = run("gdal_translate", "-q", "-projwin", west, north, east, south, source, str(target))
    assert done.returncode == 0, done.stderr
    with rasterio.open(target) as read:
        pixels: NDArray[np.uint8] = read.read()
    return pixels


def same(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> bool:
    """Return whether opaque pixels have equal colours, and the same pixels are transparent."""
    shown = wanted[3] > 0
    return found.shape == wanted.shape and bool(
        (found[:, shown] == wanted[:, shown]).all() and (found[3] == wanted[3]).all() and shown.any()
    )


def test_a_wmts_in_metres_of_the_coverage(url: str, tmp_path: Path) -> None:
    side = 256 * 17_578.125 / 2**10
    west, north = 2_000_000 + 738 * side, 5_500_000 - 482 * side
    box = (west, north - 2 * side, west + 2 * side, north)
    address = f"{url}/wmts/1.0.0/WMTSCapabilities.xml"
    source = f"WMTS:{address},layer=clcplus-raster,tilematrixset=EuropeanETRS89_LAEAQuad,tilematrix=10"
    assert same(translated(source, tmp_path / "x.tif", box), expected(box, 3035, (512, 512)))


def test_a_wmts_by_kvp_in_web_mercator(url: str, tmp_path: Path) -> None:
    side = 2 * math.pi * 6_378_137 / 2**12
    west, north = -math.pi * 6_378_137 + 2270 * side, math.pi * 6_378_137 - 1396 * side
    box = (west, north - side, west + side, north)
    address = f"{url}/wmts?SERVICE=WMTS&REQUEST=GetCapabilities"
    source = f"WMTS:{address},layer=clcplus-raster,tilematrixset=WebMercatorQuad,tilematrix=12"
    assert same(translated(source, tmp_path / "x.tif", box), expected(box, 3857, (256, 256)))


def test_an_xyz_service(url: str, tmp_path: Path) -> None:
    service = tmp_path / "xyz.xml"
    service.write_text(XYZ.format(url=f"{url}/collections/clcplus-raster/map/tiles/WebMercatorQuad"))
    side = 2 * math.pi * 6_378_137 / 2**12
    west, north = -math.pi * 6_378_137 + 2270 * side, math.pi * 6_378_137 - 1396 * side
    box = (west, north - side, west + side, north)
    assert same(translated(str(service), tmp_path / "x.tif", box), expected(box, 3857, (256, 256)))


def test_a_map_by_ogcapi(url: str, tmp_path: Path) -> None:
    """GDAL has a grid of its own for a map; the answer has the colours of the classes in the middles of its pixels."""
    source, target = f"OGCAPI:{url}/collections/clcplus-raster", tmp_path / "x.tif"
    done = run(
        "gdal_translate", "-q", "-projwin", "19.6", "49.61", "19.62", "49.6", "-oo", "API=MAP", source, str(target)
    )
    assert (done.returncode, done.stderr) == (0, "")
    with rasterio.open(tmp_path / "x.tif") as read:
        box, size = tuple(read.bounds), (read.width, read.height)
        found = read.read()
    assert same(found, expected(box, 4326, size))
