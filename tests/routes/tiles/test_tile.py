"""Tiles over HTTP: pixels, formats, limits, conditional requests, and invalid tiles."""

import math
import os
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from products.classes import CLASSES, by_value
from products.raster.blocks import RasterBlocks
from products.raster.nearest import read_nearest
from tests.conftest import ROOT, application
from tests.odd.rasters import classes, gdal_cog
from tests.routes.tiles.conftest import raster_alone

ONE = "/collections/clcplus-raster/map/tiles"
BABIA = f"{ONE}/WebMercatorQuad/12/1396/2270"
SAMPLE = ROOT / "sample" / "clcplus_2023_parks.tif"


def pixels(content: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(content)) as image:
        return np.array(image.convert("RGBA"))


def mercator(zoom: int, row: int, column: int) -> tuple[float, float, float, float]:
    half = math.pi * 6_378_137
    side = 2 * half / 2**zoom
    return -half + column * side, half - (row + 1) * side, -half + (column + 1) * side, half - row * side


def coloured(values: Any) -> NDArray[np.uint8]:
    table = np.zeros((256, 4), np.uint8)
    for value, each in by_value(CLASSES).items():
        table[value] = (*each.rgb, 255)
    drawn: NDArray[np.uint8] = table[values]
    return drawn


def test_a_tile_has_the_pixels_of_its_place_in_the_colours_of_the_classes(tiles: TestClient) -> None:
    answer = tiles.get(BABIA)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["content-crs"] == "<http://www.opengis.net/def/crs/EPSG/0/3857>"
    expected = read_nearest(RasterBlocks(SAMPLE), mercator(12, 1396, 2270), 3857, (256, 256))
    assert expected is not None
    assert len(np.unique(expected)) > 5
    found = pixels(answer.content)
    np.testing.assert_array_equal(found[..., 3] == 0, expected == 255)
    shown = found[..., 3] > 0
    np.testing.assert_array_equal(found[shown], coloured(expected)[shown])


@pytest.mark.parametrize("place", ["/10/349/567", "/14/5584/9080", "/6/21/35"])
def test_a_tile_equals_the_map_of_its_box(tiles: TestClient, place: str) -> None:
    """The map is warped by GDAL: at edges between classes a pixel may differ."""
    zoom, row, column = map(int, place.strip("/").split("/"))
    west, south, east, north = mercator(zoom, row, column)
    system = "http://www.opengis.net/def/crs/EPSG/0/3857"
    query = {
        "bbox": f"{west},{south},{east},{north}",
        "bbox-crs": system,
        "crs": system,
        "width": "256",
        "height": "256",
    }
    drawn = pixels(tiles.get("/collections/clcplus-raster/map", params=query).content)
    tile = pixels(tiles.get(f"{ONE}/WebMercatorQuad{place}").content)
    assert (drawn == tile).all(axis=2).mean() > 0.9


def test_webp_has_the_same_pixels(tiles: TestClient) -> None:
    answer = tiles.get(BABIA, params={"f": "webp"})
    assert answer.headers["content-type"] == "image/webp"
    np.testing.assert_array_equal(pixels(answer.content), pixels(tiles.get(BABIA).content))
    assert tiles.get(BABIA, headers={"accept": "image/webp"}).content == answer.content
    browser = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
    assert tiles.get(BABIA, headers={"accept": browser}).headers["content-type"] in {"image/png", "image/webp"}


def test_high_resolution_tiles_have_more_pixels_of_the_same_place(tiles: TestClient) -> None:
    twice = pixels(tiles.get(f"{BABIA}@2x").content)
    assert twice.shape == (512, 512, 4)
    four = [
        pixels(tiles.get(f"{ONE}/WebMercatorQuad/13/{row}/{column}").content)
        for row in (2792, 2793)
        for column in (4540, 4541)
    ]
    together = np.vstack([np.hstack(four[:2]), np.hstack(four[2:])])
    assert (twice == together).all(axis=2).mean() > 0.999


def test_rows_count_from_north_and_columns_from_west_in_metres_too(tiles: TestClient) -> None:
    side = 256 * 17_578.125 / 2**10
    west, north = 2_000_000 + 739 * side, 5_500_000 - 483 * side
    expected = read_nearest(RasterBlocks(SAMPLE), (west, north - side, west + side, north), 3035, (256, 256))
    found = pixels(tiles.get(f"{ONE}/EuropeanETRS89_LAEAQuad/10/483/739").content)
    assert expected is not None
    assert len(np.unique(expected)) > 3
    np.testing.assert_array_equal(found, coloured(expected))


@pytest.mark.parametrize(
    ("query", "check"),
    [
        ({"hide": "2"}, lambda before, after: (after[(before == (34, 139, 34, 255)).all(2)][:, 3] == 0).all()),
        ({"isolate": "2"}, lambda _, after: set(map(tuple, after[after[..., 3] > 0])) == {(34, 139, 34, 255)}),
        (
            {"recolour": "2:0x010203"},
            lambda before, after: (after[(before == (34, 139, 34, 255)).all(2)] == (1, 2, 3, 255)).all(),
        ),
        ({"bgcolor": "0x040506", "isolate": "1"}, lambda _, after: (after[..., 3] == 255).all()),
        ({"transparent": "false"}, lambda _, after: (after[..., 3] == 255).all()),
    ],
)
def test_classes_are_hidden_isolated_and_recoloured(
    tiles: TestClient, query: dict[str, str], check: Callable[[Any, Any], bool]
) -> None:
    before, answer = pixels(tiles.get(BABIA).content), tiles.get(BABIA, params=query)
    assert answer.status_code == 200, answer.text
    assert (before == (34, 139, 34, 255)).all(2).any()
    assert check(before, pixels(answer.content))


def test_an_unchanged_tile_is_not_sent_again(tiles: TestClient) -> None:
    answer = tiles.get(BABIA)
    etag = answer.headers["etag"]
    assert answer.headers["cache-control"] == "public, max-age=3600"
    again = tiles.get(BABIA, headers={"if-none-match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    for other in (f"{BABIA}@2x", f"{BABIA}?f=webp", f"{BABIA}?hide=1", f"{ONE}/WebMercatorQuad/12/1397/2270"):
        assert tiles.get(other, headers={"if-none-match": etag}).status_code == 200, other


def test_without_data_a_tile_within_the_limits_is_blank(tiles: TestClient) -> None:
    answer = tiles.get(f"{ONE}/WebMercatorQuad/10/340/570")
    assert answer.status_code == 200
    assert len(answer.content) < 300
    assert (pixels(answer.content) == 0).all()
    assert (pixels(tiles.get(f"{ONE}/WebMercatorQuad/10/340/570?bgcolor=ff0000").content) == (255, 0, 0, 255)).all()
    assert (pixels(tiles.get(f"{BABIA}?datetime=1999-01-01").content) == 0).all()


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/WebMercatorQuad/10/0/0", 404, "allowed: rows 328 to 351, columns 554 to 580"),
        ("/WebMercatorQuad/10/1024/567", 404, "row 1024 of tile matrix 10: allowed: 0 to 1023"),
        ("/WebMercatorQuad/10/349/4294967296", 404, "allowed: 0 to 1023"),
        ("/WebMercatorQuad/25/0/0", 404, "no tile matrix '25'; there are 0 to 24"),
        ("/WebMercatorQuad/-1/0/0", 404, "no tile matrix '-1'"),
        ("/WebMercatorQuad/10/-1/0", 400, "row='-1': allowed: a whole number from 0"),
        ("/WebMercatorQuad/10/349/5.5", 400, "column='5.5'"),
        ("/WebMercatorQuad/10/349/%D9%A5", 400, "allowed: a whole number from 0"),
        ("/WebMercatorQuad/10/349/567@5x", 400, "@2x, @3x, @4x"),
        ("/WebMercatorQuad/10/349/567@", 400, "allowed: a whole number"),
        ("/WebMercatorQuad/10/349/99999999999999999999", 400, "allowed: a whole number from 0"),
        ("/NoQuad/10/349/567", 404, "there are WebMercatorQuad, EuropeanETRS89_LAEAQuad"),
        ("/WebMercatorQuad/12/1396/2270?f=jpeg", 400, "allowed: png, webp"),
        ("/WebMercatorQuad/12/1396/2270?hide=77", 400, "77 is no class; allowed: 1, 2, 3"),
        ("/WebMercatorQuad/12/1396/2270?hide=255", 400, "allowed: values of classes"),
        ("/WebMercatorQuad/12/1396/2270?isolate=", 400, "allowed: values of classes"),
        ("/WebMercatorQuad/12/1396/2270?recolour=2:red", 400, "allowed: 0xRRGGBB"),
        ("/WebMercatorQuad/12/1396/2270?recolour=2", 400, "allowed: 0xRRGGBB"),
        ("/WebMercatorQuad/12/1396/2270?bgcolor=red", 400, "allowed: 0xRRGGBB"),
        ("/WebMercatorQuad/12/1396/2270?style=x", 400, "unknown parameter"),
    ],
)
def test_invalid_tiles_are_refused_with_the_reason(tiles: TestClient, path: str, status: int, reason: str) -> None:
    answer = tiles.get(f"{ONE}{path}")
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["detail"]


def two_rasters(folder: Path) -> dict[str, Any]:
    """Return a configuration of two rasters in the same place: the first has data only in its western half."""
    values = classes(512, 512)
    west = values.copy()
    west[:, 256:] = 255
    gdal_cog(folder / "west.tif", west)
    gdal_cog(folder / "all.tif", np.where(values == 1, 1, 2).astype(np.uint8))
    document = raster_alone()
    base = document["resources"].pop("clcplus-raster")
    del document["products"]
    for name in ("west", "all"):
        provider = {**base["providers"][0], "data": str(folder / f"{name}.tif")}
        document["resources"][name] = {**base, "title": name, "providers": [provider]}
    return document


def _place(client: TestClient, collection: str) -> str:
    """Return the path of a tile in the middle of the collection."""
    sets = client.get(f"/collections/{collection}/map/tiles").json()["tilesets"]
    limits = next(each for each in sets[1]["tileMatrixSetLimits"] if each["tileMatrix"] == "11")
    row = (limits["minTileRow"] + limits["maxTileRow"]) // 2
    column = (limits["minTileCol"] + limits["maxTileCol"]) // 2
    return f"/map/tiles/EuropeanETRS89_LAEAQuad/11/{row}/{column}"


def test_a_tile_of_all_collections_has_the_first_on_top(tmp_path: Path) -> None:
    with TestClient(application(two_rasters(tmp_path), state={"dir": tmp_path})) as client:
        place = _place(client, "west")
        west, both, below = (
            pixels(client.get(path).content)
            for path in (f"/collections/west{place}", place, f"/collections/all{place}")
        )
        clear = west[..., 3] == 0
        assert clear.any()
        assert not clear.all()
        np.testing.assert_array_equal(both[~clear], west[~clear])
        np.testing.assert_array_equal(both[clear], below[clear])
        only = client.get(place, params={"collections": "all"})
        np.testing.assert_array_equal(pixels(only.content), below)
        turned = client.get(place, params={"collections": "all,west"})
        np.testing.assert_array_equal(pixels(turned.content), below)
        wrong = client.get(place, params={"collections": "none"})
        assert (wrong.status_code, wrong.json()["detail"]) == (
            400,
            "parameter collections='none': allowed: west, all",
        )


def test_a_replaced_file_is_served_and_a_corrupt_one_reported(tmp_path: Path) -> None:
    configuration = two_rasters(tmp_path)
    with TestClient(application(configuration, state={"dir": tmp_path})) as client:
        path = f"/collections/all{_place(client, 'all')}"
        before = client.get(path)
        gdal_cog(tmp_path / "new.tif", np.full((512, 512), 10, np.uint8))
        (tmp_path / "new.tif").replace(tmp_path / "all.tif")
        after = client.get(path, headers={"if-none-match": before.headers["etag"]})
        assert after.status_code == 200
        assert set(map(tuple, pixels(after.content).reshape(-1, 4))) == {(*by_value(CLASSES)[10].rgb, 255)}
        (tmp_path / "all.tif").write_bytes(b"no file of anything")
        broken = client.get(path)
        assert (broken.status_code, "cannot be read at present" in broken.json()["detail"]) == (503, True)
        shutil.copy(tmp_path / "west.tif", tmp_path / "all.tif")
        os.utime(tmp_path / "all.tif")
        assert client.get(path).status_code == 200


def test_tiles_are_compressed_at_least_as_8_bits_at_level_six(tiles: TestClient) -> None:
    for place in ("6/21/35", "8/87/141", "10/349/567", "12/1396/2270", "14/5584/9080", "16/22337/36321"):
        content = tiles.get(f"{ONE}/WebMercatorQuad/{place}").content
        with Image.open(BytesIO(content)) as image:
            buffer = BytesIO()
            values = Image.fromarray(np.array(image)).convert("L")
            values.save(buffer, "PNG", compress_level=6)
        assert len(content) <= len(buffer.getvalue()) + 200, place
