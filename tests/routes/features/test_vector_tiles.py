"""Vector tiles of a GeoPackage over HTTP: read by GDAL, and with the items that the policy allows."""

import gzip
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from anyio import CapacityLimiter
from pyproj import Transformer
from starlette.testclient import TestClient

from auth.access import Access, Action, Verdict
from products.catalogue import read_configuration
from products.tiling import tile_matrix_sets
from products.vector.geopackage import write_geopackage
from products.vector.layer import Column, Layer
from routes.tiles.cache import TileCache
from tests.conftest import ROOT, application
from tests.odd import geopackages as odd

COLUMNS = (Column("name", "TEXT"), Column("code", "INTEGER"), Column("size", "REAL"), Column("secret", "TEXT"))
SETS = tile_matrix_sets()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a client of a grid of points with a hidden column, and of nations."""
    folder = tmp_path_factory.mktemp("tiles")
    points = [shapely.Point(20 + x / 100, 50 + y / 100) for y in range(20) for x in range(20)]
    rows: list[tuple[Any, ...]] = [(f"n{i} Łódź", -i, i / 4, "hidden") for i in range(400)]
    odd.by_us(folder / "grid.gpkg", COLUMNS, rows, points=points)
    configuration = read_configuration(ROOT / "pygeoapi-config.yml")
    provider = {
        "type": "feature", "name": "plugins.geopackage.GeoPackageProvider", "data": str(folder / "grid.gpkg"),
        "properties": ["name", "code", "size"],
    }  # fmt: skip
    rest = {name: value for name, value in configuration.items() if name != "products"}
    nations = configuration["resources"]["nations"]
    cover = {**provider, "data": str(folder / "cover.gpkg"), "properties": ["class_code"]}
    squares = shapely.box(*np.array([[x, y, x + 500, y + 500] for x in (5e5, 500_500) for y in (4e5, 400_500)]).T)
    with write_geopackage(folder / "cover.gpkg", Layer("cover", 2180, (Column("class_code", "INTEGER"),))) as writer:
        writer.add(range(1, 5), shapely.multipolygons(squares[:, None]), [(1,), (2,), (2,), (2,)])
    entries = {"grid": {**nations, "providers": [provider]}, "nations": nations}
    entries["cover"] = {**nations, "providers": [cover]}
    app = application({**rest, "resources": entries}, state={"dir": folder / "state"})
    with TestClient(app, base_url="http://inside.invalid", headers={"accept": "*/*"}) as made:
        yield made


def at(matrix_set: str, matrix: str, x: float, y: float) -> tuple[int, int]:
    """Return row and column of the tile with a point, in the coordinates of the tile matrix set."""
    found = SETS[matrix_set].matrices[matrix].limits((x, y, x, y))
    assert found is not None
    return found.top, found.left


def features(content: bytes, folder: Path) -> tuple[Any, list[Any]]:
    """Return the features of a tile by GDAL: columns by name and geometries in units of the tile, y upwards."""
    path = folder / "tile.mvt"
    path.write_bytes(gzip.compress(content))
    meta, _, wkb, columns = pyogrio.raw.read(path)
    return dict(zip(meta["fields"], columns, strict=True)), list(shapely.from_wkb(wkb))


def test_a_tile_has_the_items_in_its_box(client: TestClient, tmp_path: Path) -> None:
    row, column = at("WebMercatorQuad", "10", 2_226_390, 6_446_276)
    address = f"/collections/grid/tiles/WebMercatorQuad/10/{row}/{column}"
    answer = client.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/vnd.mapbox-vector-tile")
    found, _ = features(answer.content, tmp_path)
    west, south, east, north = SETS["WebMercatorQuad"].matrices["10"].bounds(row, column)
    box = f"{west},{south},{east},{north}"
    crs = "http://www.opengis.net/def/crs/EPSG/0/3857"
    page = client.get("/collections/grid/items", params={"bbox": box, "bbox-crs": crs, "limit": 1_000}).json()
    inside = {each["properties"]["code"]: each["properties"] for each in page["features"]}
    assert inside.keys() <= set(found["code"])
    assert len(found["code"]) < 400
    place = list(found["code"]).index(next(iter(inside)))
    assert found["name"][place] == inside[found["code"][place]]["name"]
    assert found["size"][place] == inside[found["code"][place]]["size"]
    assert "secret" not in found
    again = client.get(address, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/collections/grid/tiles/WebMercatorQuad/10/0/0").status_code == 204


@pytest.mark.parametrize(("matrix_set", "matrix", "place"), [
    ("WebMercatorQuad", "4", (2_226_390, 6_800_000)), ("EuropeanETRS89_LAEAQuad", "4", (5_000_000, 3_200_000)),
])  # fmt: skip
def test_outlines_have_their_place_in_the_tile(
    client: TestClient, tmp_path: Path, matrix_set: str, matrix: str, place: tuple[float, float]
) -> None:
    row, column = at(matrix_set, matrix, *place)
    answer = client.get(f"/collections/nations/tiles/{matrix_set}/{matrix}/{row}/{column}")
    assert answer.status_code == 200
    found, outlines = features(answer.content, tmp_path)
    west, south, east, north = SETS[matrix_set].matrices[matrix].bounds(row, column)
    assert len(outlines) >= 3
    poland = outlines[[str(each) for each in found["name"]].index("POLAND")]
    crs = f"http://www.opengis.net/def/crs/EPSG/0/{SETS[matrix_set].crs}"
    page = client.get("/collections/nations/items", params={"name": "POLAND", "crs": crs}).json()
    whole = shapely.geometry.shape(page["features"][0]["geometry"])
    if SETS[matrix_set].northing_first:
        whole = shapely.transform(whole, lambda xy: xy[:, ::-1])
    shown = shapely.clip_by_rect(shapely.make_valid(whole), west, south, east, north)
    scale = (east - west) / 4096
    drawn = shapely.clip_by_rect(shapely.make_valid(poland), 0, 0, 4096, 4096)
    assert drawn.area * scale**2 == pytest.approx(shown.area, rel=0.02)
    assert all(each.is_valid for each in outlines)


def test_polygons_of_a_class_are_one_feature_below_zoom_ten(client: TestClient, tmp_path: Path) -> None:
    """Four squares, side by side: three of class 2, all of them smaller than one 128th of a tile of zoom 8."""
    x, y = Transformer.from_crs(2180, 3857, always_xy=True).transform(500_500, 400_500)
    counts = {}
    for matrix in ("10", "9", "8"):
        row, column = at("WebMercatorQuad", matrix, x, y)
        answer = client.get(f"/collections/cover/tiles/WebMercatorQuad/{matrix}/{row}/{column}")
        (tmp_path / matrix).mkdir()  # GDAL remembers the end of a compressed file by its path
        found, _ = features(answer.content, tmp_path / matrix)
        counts[matrix] = sorted(found["class_code"].tolist())
    assert counts == {"10": [1, 2, 2, 2], "9": [1, 2], "8": [1, 2]}


def test_tiles_of_small_scales_are_cached_by_file_and_caller(client: TestClient, tmp_path: Path) -> None:
    resources = client.app.state.resources  # type: ignore[attr-defined] # Starlette's
    resources.tile_cache = cache = TileCache(tmp_path / "cache", 1 << 24)
    x, y = Transformer.from_crs(2180, 3857, always_xy=True).transform(500_500, 400_500)
    row, column = at("WebMercatorQuad", "9", x, y)
    address = f"/collections/cover/tiles/WebMercatorQuad/9/{row}/{column}"
    policy, reading = resources.policy, Access(Action.READ_TILES, "cover")
    rows = Verdict(allowed=True, rows=("class_code = 1",))
    try:
        first, again = client.get(address), client.get(address)
        resources.policy = lambda who, access: rows if access == reading else policy(who, access)
        some = client.get(address)
    finally:
        resources.tile_cache, resources.policy = None, policy
    assert again.content == first.content != some.content
    assert (cache.hits, cache.misses) == (1, 2)


def test_tiles_of_small_scales_wait_for_heavy_threads_and_others_pass_them(client: TestClient) -> None:
    resources = client.app.state.resources  # type: ignore[attr-defined] # Starlette's
    assert client.portal is not None
    x, y = Transformer.from_crs(2180, 3857, always_xy=True).transform(500_500, 400_500)

    def ask(matrix: str) -> int:
        row, column = at("WebMercatorQuad", matrix, x, y)
        return client.get(f"/collections/cover/tiles/WebMercatorQuad/{matrix}/{row}/{column}").status_code

    heavy = resources.heavy
    resources.heavy = only = client.portal.call(CapacityLimiter, 1)
    try:
        client.portal.call(only.acquire_on_behalf_of, "another")
        with ThreadPoolExecutor(1) as pool:
            small = pool.submit(ask, "7")
            until = time.monotonic() + 60
            while client.portal.call(only.statistics).tasks_waiting != 1:
                assert time.monotonic() < until
                time.sleep(0.01)
            assert ask("14") == 200
            assert not small.done()
            client.portal.call(only.release_on_behalf_of, "another")
            assert small.result(30) == 200
    finally:
        resources.heavy = heavy


def test_a_tile_has_only_the_rows_of_the_policy(client: TestClient, tmp_path: Path) -> None:
    row, column = at("WebMercatorQuad", "10", 2_226_390, 6_446_276)
    address = f"/collections/grid/tiles/WebMercatorQuad/10/{row}/{column}"
    everything = client.get(address)
    resources = client.app.state.resources  # type: ignore[attr-defined] # Starlette's
    policy, reading = resources.policy, Access(Action.READ_TILES, "grid")
    rows = Verdict(allowed=True, rows=("secret = 'hidden' AND code > -3",))
    resources.policy = lambda who, access: rows if access == reading else policy(who, access)
    try:
        some = client.get(address, headers={"if-none-match": everything.headers["etag"]})
    finally:
        resources.policy = policy
    assert some.status_code == 200
    found, _ = features(some.content, tmp_path)
    assert set(found["code"]) <= {0, -1, -2}
    assert len(found["code"]) > 0


def test_tilesets_describe_their_content(client: TestClient) -> None:
    listed = client.get("/collections/grid/tiles").json()["tilesets"]
    assert [each["tileMatrixSetId"] for each in listed] == ["WebMercatorQuad", "EuropeanETRS89_LAEAQuad"]
    assert {each["dataType"] for each in listed} == {"vector"}
    described = client.get("/collections/grid/tiles/WebMercatorQuad").json()
    assert "20,000" in described["description"]
    assert "grid of 256 x 256 cells, in which each class keeps its area" in described["description"]
    tilejson = client.get("/collections/grid/tiles/WebMercatorQuad", params={"f": "tilejson"}).json()
    [layer] = tilejson["vector_layers"]
    assert (layer["id"], set(layer["fields"])) == ("grid", {"name", "code", "size"})
    place = tilejson["tiles"][0].replace("{z}", "5").replace("{y}", "10").replace("{x}", "17")
    assert client.get(place.removeprefix("https://maps.example.org/land")).status_code == 200
    for wrong, status in (("Nothing/1/0/0", 404), ("WebMercatorQuad/99/0/0", 404), ("WebMercatorQuad/1/5/0", 404),
                          ("WebMercatorQuad/1/a/0", 400), ("WebMercatorQuad/1/0/0?bbox=1", 400)):  # fmt: skip
        assert client.get(f"/collections/grid/tiles/{wrong}").status_code == status
