"""Rasters of other programs, from `product add` to a delivered package: the same pixels everywhere."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine
from click.testing import CliRunner
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from starlette.testclient import TestClient

from products.area import measure_area
from products.catalogue import catalogue_of, read_configuration
from products.classes import CLASSES
from products.progress import unheard
from products.raster.build import build_raster
from products.raster.extract import extract_raster
from products.raster.statistics import count_classes
from server.check import find_problems
from server.cli import main
from tests.conftest import ROOT, MakeApp
from tests.odd.rasters import (
    classes,
    gdal_cog,
    masked_beside,
    place_of,
    plain,
    rio_cog,
    with_alpha,
    with_overviews_beside,
)

pytestmark = pytest.mark.long

Pixels = NDArray[np.uint8]
VALUES = classes(513, 701)
MASK = np.where(VALUES == 3, 0, 255).astype(np.uint8)
SEEN = np.where(VALUES == 3, 255, VALUES)
WORLD = classes(180, 360)
COLOURS = {value: (value, 0, 0, 255) for value in range(12)}


def pixel_is_point(path: Path) -> Path:
    """Write a GeoTIFF whose corner is given as the centre of a pixel."""
    plain(path, VALUES)
    with rasterio.open(path, "r+") as target:
        target.update_tags(AREA_OR_POINT="Point")
    return path


def coloured(path: Path) -> Path:
    """Write a GeoTIFF with a colour table of its own."""
    plain(path, VALUES, photometric="PALETTE")
    with rasterio.open(path, "r+") as target:
        target.write_colormap(1, COLOURS)
    return path


ODD: dict[str, tuple[Callable[[Path], Path], Pixels]] = {
    "gdal": (lambda path: gdal_cog(path, VALUES), VALUES),
    "gdal-mask": (lambda path: gdal_cog(path, VALUES, mask=MASK, nodata=None), SEEN),
    "gdal-big-blocks": (lambda path: gdal_cog(path, VALUES, 4326, blocksize=1024), VALUES),
    "gdal-no-overviews": (lambda path: gdal_cog(path, VALUES, 3857, overviews="NONE"), VALUES),
    "rio-cogeo": (lambda path: rio_cog(path, VALUES, 2263), VALUES),
    "rio-cogeo-mask": (lambda path: rio_cog(path, VALUES, source={"mask": MASK}), SEEN),
    "rio-cogeo-256": (
        lambda path: rio_cog(path, VALUES, 2180, profile={"blockxsize": 256, "blockysize": 256}, nodata=255),
        VALUES,
    ),
    "overviews-beside": (lambda path: with_overviews_beside(path, VALUES, 25832), VALUES),
    "mask-beside": (lambda path: masked_beside(path, VALUES, MASK), SEEN),
    "alpha": (lambda path: with_alpha(path, VALUES, MASK), SEEN),
    "big-endian": (lambda path: plain(path, VALUES.astype("int16"), endianness="BIG"), VALUES),
    "big": (lambda path: plain(path, VALUES, bigtiff="YES", compress="lzw", predictor=2), VALUES),
    "white-is-zero": (lambda path: plain(path, VALUES, photometric="MINISWHITE"), VALUES),
    "four-bits": (lambda path: plain(path, VALUES, nbits=4), VALUES),
    "pixel-is-point": (pixel_is_point, VALUES),
    "colours": (coloured, VALUES),
    "corine": (lambda path: plain(path, np.where(MASK == 0, -128, VALUES.astype("int8")), nodata=-128), SEEN),
    "one-pixel": (lambda path: plain(path, VALUES[:1, :1]), VALUES[:1, :1]),
    "one-row": (lambda path: plain(path, VALUES[:1]), VALUES[:1]),
    "one-column": (lambda path: plain(path, VALUES[:, :1], 4258), VALUES[:, :1]),
    "world": (lambda path: plain(path, WORLD, 4326, transform=Affine(1, 0, -180, 0, -1, 90)), WORLD),
    "pacific": (lambda path: plain(path, VALUES, 3832), VALUES),
}


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a configuration with each of the odd rasters, added by `landcast product add` with consecutive years."""
    folder = tmp_path_factory.mktemp("odd")
    document: dict[str, Any] = yaml.safe_load((ROOT / "pygeoapi-config.yml").read_text())
    resources = {name: each for name, each in document["resources"].items() if each["type"] == "process"}
    config = folder / "config.yml"
    config.write_text(yaml.safe_dump({**document, "products": {}, "resources": resources}))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LANDCAST_STATE_DIR", str(folder / "state"))
        patched.setenv("LANDCAST_AUTH_OPEN", "yes")
        for year, (name, (make, _)) in enumerate(ODD.items(), 1990):
            options = ["--id", name, "--title", name, "--attribution", "Made here.", "--year", str(year)]
            into = ["--into", str(folder / "made"), "--config", str(config)]
            done = CliRunner().invoke(main, ["product", "add", str(make(folder / f"{name}.tif")), *options, *into])
            assert done.exit_code == 0, (name, done.output)
        yield config


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # a PNG has no place
def test_each_raster_is_checked_and_served_with_its_pixels(added: Path, make_app: MakeApp) -> None:
    assert find_problems(added) == []
    with TestClient(make_app(read_configuration(added))) as client:
        for name, (_, expected) in ODD.items():
            place = f"/collections/{name}-raster"
            answer = client.get(f"{place}/coverage", params={"f": "tiff"})
            assert answer.status_code == 200, (name, answer.text)
            with MemoryFile(answer.content) as file, file.open() as coverage:
                np.testing.assert_array_equal(coverage.read(1), expected, err_msg=name)
            half = client.get(f"{place}/coverage", params={"f": "tiff", "scale-factor": "2"})
            with MemoryFile(half.content) as file, file.open() as coverage:
                assert coverage.shape == tuple(-(-side // 2) for side in expected.shape), name
                assert set(np.unique(coverage.read(1))) <= set(np.unique(expected)), name
            for crs in ("OGC:CRS84", "EPSG:3857"):
                assert client.get(f"{place}/map", params={"crs": f"[{crs}]"}).status_code == 200, (name, crs)
            made = added.parent / "made" / f"{name}.tif"
            assert client.get(f"{place}/files/{name}.tif").content == made.read_bytes(), name
            assert client.get(place, params={"f": "json"}).status_code == 200, name
        _check_the_antimeridian_and_the_poles(client)


def _check_the_antimeridian_and_the_poles(client: TestClient) -> None:
    expected = np.hstack([WORLD[80:100, 350:], WORLD[80:100, :10]])
    for query in (
        {"bbox": "170,-10,-170,10"},
        {"subset": "Lon(170:-170),Lat(-10:10)"},
        {"subset": "Lon(170:190),Lat(-10:10)"},
    ):
        answer = client.get("/collections/world-raster/coverage", params={"f": "tiff", "crs": "[OGC:CRS84]", **query})
        assert answer.headers["content-bbox"] == "170.0,-10.0,-170.0,10.0"
        with MemoryFile(answer.content) as file, file.open() as coverage:
            np.testing.assert_array_equal(coverage.read(1), expected)
            assert tuple(coverage.bounds) == (170, -10, 190, 10)
    for box in ("-180,-90,180,90", "-180,80,180,90", "170,-90,-170,90"):
        query = {"bbox": box, "crs": "[EPSG:3857]", "width": "36", "height": "36", "bgcolor": "0x010203"}
        answer = client.get("/collections/world-raster/map", params=query)
        assert answer.status_code == 200, answer.text
        with MemoryFile(answer.content) as file, file.open(driver="PNG") as picture:
            drawn = {picture.colormap(1)[value][:3] for value in np.unique(picture.read(1)).tolist()}
            assert drawn <= {each.rgb for each in CLASSES}, box
        _, south, _, north = map(float, answer.headers["content-bbox"].split(","))
        assert max(abs(south), abs(north)) == pytest.approx(20_048_966, abs=1)


@pytest.mark.parametrize("name", ODD)
def test_each_raster_is_cut_and_counted(added: Path, tmp_path: Path, name: str) -> None:
    expected = ODD[name][1]
    product = next(each for each in catalogue_of(read_configuration(added)).products if each.id == name)
    area = measure_area({"bbox": _around(product.raster)})
    extract_raster(product.raster, area, tmp_path, name="cut", report=unheard)
    with rasterio.open(tmp_path / "cut.tif") as cut, rasterio.open(product.raster) as source:
        assert cut.transform.almost_equals(source.transform, 1e-9)
        np.testing.assert_array_equal(cut.read(1), expected)
    counts = np.bincount(expected.ravel(), minlength=256)
    assert count_classes(product.raster, area).pixels[:255].tolist() == counts[:255].tolist()


def _around(raster: Path) -> list[float]:
    with rasterio.open(raster) as source:
        bounds = rasterio.warp.transform_bounds(source.crs, 4326, *source.bounds)
    west, south, east, north = bounds
    return [max(west - 0.2, -180), max(south - 0.2, -90), min(east + 0.2, 180), min(north + 0.2, 90)]


@pytest.mark.parametrize(
    ("west", "columns", "extent", "areas"),
    [
        (170, 20, (170, -170), (172, -176)),
        (-190, 20, (170, -170), (172, -176)),
        (190, 20, (-170, -150), (-168, -156)),
        (-300, 20, (60, 80), (62, 74)),
        (180, 20, (-180, -160), (-180, -164)),
        (0, 360, (-180, 180), (4, -6, 176, -180, -2)),
        (-180, 360, (-180, 180), (4, -6, 176, -180, -2)),
        (-20, 40, (-20, 20), (-18, -2, 12)),
    ],
)
def test_an_area_is_found_in_either_range_of_longitudes(
    tmp_path: Path, west: int, columns: int, extent: tuple[int, int], areas: tuple[int, ...]
) -> None:
    values = classes(20, columns)
    source = plain(tmp_path / "odd.tif", values, 4326, transform=Affine(1, 0, west, 0, -1, 60))
    made = tmp_path / "made.tif"
    bounds = build_raster([source], made, report=unheard).bounds
    assert bounds == (extent[0], 40, extent[1], 60)
    for begin in areas:
        area = measure_area({"bbox": [begin, 45, begin + 4, 50]})
        (tmp_path / f"{begin}").mkdir()
        extract_raster(made, area, tmp_path / f"{begin}", name="cut", report=unheard)
        there = [(begin - west + column) % 360 for column in range(4)]
        expected = values[10:15, there]
        counts = np.bincount(expected.ravel(), minlength=256)
        assert count_classes(made, area).pixels[:255].tolist() == counts[:255].tolist()
        with rasterio.open(tmp_path / f"{begin}" / "cut.tif") as cut:
            pixels = cut.read(1)
            assert sorted(pixels[pixels != 255].tolist()) == sorted(expected.ravel().tolist())
            if there[-1] - there[0] == 3:
                np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: plain(path, VALUES, transform=place_of(3035) @ Affine.rotation(7)), "the grid is rotated"),
        (lambda path: plain(path, VALUES, transform=place_of(3035) @ Affine.scale(1, -1)), "from south to north"),
        (lambda path: plain(path, VALUES, transform=place_of(3035) @ Affine.scale(-1, 1)), "not square, north up"),
        (lambda path: plain(path, VALUES, None), "it has no CRS"),
        (lambda path: plain(path, VALUES, None, transform=Affine.identity()), "it has no CRS"),
        (lambda path: plain(path, VALUES, 4979), "it has no CRS of two axes"),
        (lambda path: plain(path, VALUES, count=3), "it has 3 bands of uint8, not one"),
        (lambda path: plain(path, np.full_like(VALUES, 255)), "every pixel is no data"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # the maker says so
def test_an_unsupported_raster_is_refused_clearly(
    added: Path, tmp_path: Path, make: Callable[[Path], Path], said: str
) -> None:
    before = added.read_bytes()
    options = ["--id", "refused", "--title", "x", "--attribution", "x", "--year", "1950"]
    place = ["--into", str(tmp_path / "made"), "--config", str(added)]
    done = CliRunner().invoke(main, ["product", "add", str(make(tmp_path / "odd.tif")), *options, *place])
    assert (done.exit_code, added.read_bytes()) == (1, before)
    assert said in done.stderr
