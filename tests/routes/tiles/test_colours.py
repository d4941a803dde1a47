"""Rasters with red, green and blue bands in maps, tiles and legends, as several makers write them."""

import subprocess
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp
from starlette.testclient import TestClient

from products.classes import LandCoverClass
from products.raster.picture import Style, joined, palette_of
from tests.odd.rasters import written
from tests.routes.tiles.test_values import BOX, MERCATOR, ONE, PLACE, TILE, client_of

MAP = f"{ONE}/map?bbox={BOX}&bbox-crs={MERCATOR}&crs={MERCATOR}&width=256&height=256"
BANDS = [{"name": "red", "title": "Red light"}, {"name": "green"}, {"name": "blue"}]


def photo() -> NDArray[np.uint8]:
    """Return bytes of three bands of which no two pixels are alike; some are 0 in one or two bands, none in all."""
    rows, columns = np.mgrid[:256, :256]
    values = np.array([rows, columns, (rows + columns) % 256]).astype("uint8")
    values[:, 0, 0] = (1, 0, 0)
    return values


HOLE = np.zeros((256, 256), np.bool_)
HOLE[10:30, 40:90] = True


def expected() -> NDArray[np.uint8]:
    """Return the colours of the photo, transparent in the hole."""
    colours = np.dstack([*photo(), np.full((256, 256), 255, np.uint8)])
    colours[HOLE] = 0
    return colours


def by_rasterio(path: Path) -> Path:
    """Write bands with a mask inside."""
    mask = np.where(HOLE, 0, 255).astype("uint8")
    return written(path, photo(), crs="EPSG:3857", transform=PLACE, mask=mask, photometric="RGB")


def with_nodata(path: Path) -> Path:
    """Write bands with 0 as no data: a pixel that is 0 in one band alone has data."""
    values = photo()
    values[:, HOLE] = 0
    return written(path, values, crs="EPSG:3857", transform=PLACE, nodata=0, photometric="RGB")


def with_alpha(path: Path) -> Path:
    """Write four bands of which the last one is opacity, by GDAL."""
    alpha = np.where(HOLE, 0, 255).astype("uint8")
    source = written(
        path.with_suffix(".plain.tif"),
        np.array([*photo(), alpha]),
        crs="EPSG:3857",
        transform=PLACE,
        photometric="RGB",
        alpha="YES",
    )
    subprocess.run(["gdal_translate", "-q", "-of", "COG", "-co", "COMPRESS=LZW", source, path], check=True, timeout=60)
    return path


MAKERS: dict[str, Callable[[Path], Path]] = {"mask": by_rasterio, "nodata": with_nodata, "alpha": with_alpha}


@pytest.fixture(scope="module", params=MAKERS)
def photos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("photos")
    path = MAKERS[request.param](folder / "photo.tif")
    styles = [{"id": "swapped", "rgb": ["blue", "green", "red"]}, {"id": "dark", "rescale": [0, 510]}]
    with client_of(path, folder / "state", bands=BANDS, styles=styles) as client:
        yield client


def colours(client: TestClient, path: str) -> NDArray[np.uint8]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    with Image.open(BytesIO(answer.content)) as image:
        found = np.array(image.convert("RGBA"))
    found[found[..., 3] == 0] = 0
    return found


@pytest.mark.parametrize("path", [TILE, f"{TILE}?f=webp", MAP, f"{ONE}/coverage?f=png&bbox={BOX}&bbox-crs={MERCATOR}"])
def test_bytes_are_drawn_as_they_are(photos: TestClient, path: str) -> None:
    np.testing.assert_array_equal(colours(photos, path), expected())


def test_a_style_and_a_query_choose_bands_and_limits(photos: TestClient) -> None:
    plain = expected()
    swapped = colours(photos, f"{ONE}/styles/swapped{TILE.removeprefix(ONE)}")
    np.testing.assert_array_equal(swapped, plain[..., [2, 1, 0, 3]])
    np.testing.assert_array_equal(colours(photos, f"{TILE}?properties=blue,green,red"), swapped)
    dark = colours(photos, f"{ONE}/styles/dark{TILE.removeprefix(ONE)}")
    np.testing.assert_array_equal(dark[..., :3], np.rint(plain[..., :3] / 2))
    np.testing.assert_array_equal(colours(photos, f"{TILE}?rescale=0,510"), dark)
    grey = colours(photos, f"{TILE}?properties=green&colormap_name=gray&rescale=0,255")
    assert tuple(grey[200, 255]) == (255, 255, 255, 255)
    assert (grey[..., 0] == grey[..., 1]).all()


def test_no_data_has_the_background(photos: TestClient) -> None:
    found = colours(photos, f"{TILE}?bgcolor=0x102030")
    assert (found[HOLE] == (0x10, 0x20, 0x30, 255)).all()
    np.testing.assert_array_equal(found[~HOLE], expected()[~HOLE])


def test_the_legend_names_the_bands(photos: TestClient) -> None:
    legend = photos.get(f"{ONE}/styles/default/legend?f=json&rescale=0,100").json()
    assert legend["channels"][0] == {"colour": "red", "property": "red", "title": "Red light", "rescale": [0, 100]}
    assert [each["colour"] for each in legend["channels"]] == ["red", "green", "blue"]
    image = colours(photos, f"{ONE}/styles/default/legend?f=png")
    assert [tuple(image[14 + 20 * row, 16, :3]) for row in range(3)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert "legend" in photos.get(f"{MAP}&f=html").text


def test_the_geotiff_keeps_what_the_bands_are(photos: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "found.tif"
    path.write_bytes(photos.get(f"{ONE}/coverage?f=tiff&bbox={BOX}&bbox-crs={MERCATOR}").content)
    with rasterio.open(path) as found:
        assert found.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def test_half_opaque_pixels_stay_half_opaque(tmp_path: Path) -> None:
    values = np.full((4, 256, 256), 200, np.uint8)
    values[3] = 128
    path = written(tmp_path / "pale.tif", values, crs="EPSG:3857", transform=PLACE, photometric="RGB", alpha="YES")
    bands = [*BANDS, {"name": "opacity"}]
    with client_of(path, tmp_path / "state", bands=bands) as client:
        assert (colours(client, TILE) == (200, 200, 200, 128)).all()
        assert (colours(client, f"{TILE}?bgcolor=0x000000") == (100, 100, 100, 255)).all()
        whole = tmp_path / "whole.tif"
        whole.write_bytes(client.get(f"{ONE}/coverage?f=tiff").content)
    with rasterio.open(whole) as found:
        assert found.colorinterp[3] is ColorInterp.alpha
        np.testing.assert_array_equal(found.read(), values)


def test_what_is_half_opaque_lets_the_layer_below_through() -> None:
    pale = np.zeros((1, 3, 4), np.uint8)
    pale[0, :2] = [(200, 100, 0, 128), (200, 100, 0, 255)]
    below = np.array([[1, 1, 1]], np.uint8), palette_of(Style((LandCoverClass(1, "Water", (0, 0, 255)),)))
    found = joined([pale, below])
    assert isinstance(found, np.ndarray)
    assert [tuple(map(int, each)) for each in found[0]] == [(100, 50, 127, 255), (200, 100, 0, 255), (0, 0, 255, 255)]


def test_values_of_16_bits_are_red_green_and_blue_where_they_are_rescaled(tmp_path: Path) -> None:
    values = photo().astype("uint16") * 100
    path = written(tmp_path / "deep.tif", values, crs="EPSG:3857", transform=PLACE, photometric="RGB")
    with client_of(path, tmp_path / "plain", bands=BANDS) as client:
        assert "ramp" in client.get(f"{ONE}/styles/default").json()
    styles: list[dict[str, Any]] = [{"id": "default", "rescale": [0, 25_500]}]
    with client_of(path, tmp_path / "state", bands=BANDS, styles=styles) as client:
        np.testing.assert_array_equal(colours(client, TILE)[..., :3], photo().transpose(1, 2, 0))
