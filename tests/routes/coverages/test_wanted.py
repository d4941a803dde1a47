"""Requests of a coverage: places, resolutions, fields, interpolations, and answers too large for memory."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.io import MemoryFile
from starlette.testclient import TestClient

from plugins.cog import CogProvider
from plugins.crs import Box
from products.catalogue import read_configuration
from server.app import create_app
from server.settings import CONCERNS, Settings
from tests.odd.rasters import PLACES, classes, gdal_cog, plain, surface, written

EPSG = "http://www.opengis.net/def/crs/EPSG/0"
COVERAGE = "/collections/clcplus-raster/coverage"
SIDE, WEST, NORTH = PLACES[3035]
VALUES = classes(1_500, 2_100)
"""2,100 x 1,500 pixels of 10 m from 4,900,000 E 3,100,000 N to the south-east."""
LARGE = "width=2100&height=2000"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gdal_cog(tmp_path_factory.mktemp("coverages") / "land.tif", VALUES)


@pytest.fixture(scope="module")
def client(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch, client_of(source, tmp_path_factory.mktemp("state"), patch) as made:
        yield made


def client_of(source: Path, state: Path, patch: pytest.MonkeyPatch, **provider: Any) -> TestClient:
    patch.setenv("LANDCAST_STATE_DIR", str(state))
    configuration = read_configuration(Path(__file__).parents[3] / "pygeoapi-config.yml")
    for product in configuration["products"].values():
        configuration["resources"].pop(product.pop("vector", None), None)
    configuration["resources"].pop("parks")
    configuration["resources"]["clcplus-raster"]["providers"][0] |= {"data": str(source), **provider}
    given: dict[str, Any] = {"state": {"dir": state}, "auth": {"open": True}, "coverage": {"values": 5_000_000}}
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    values: Any = {name: kind(**given.get(name, {})) for name, kind in kinds.items()}
    return TestClient(create_app(configuration, Settings(**values)), headers={"accept": "*/*"})


def read(answer: httpx2.Response) -> tuple[NDArray[Any], tuple[float, ...], int]:
    assert answer.status_code == 200, answer.text
    with MemoryFile(answer.content) as memory, memory.open() as dataset:
        return dataset.read(1), tuple(dataset.bounds), dataset.crs.to_epsg()


@pytest.mark.parametrize(
    ("query", "rows", "columns"),
    [
        ("subset=E(4900100:4900300),N(3099000:3099500)", (50, 100), (10, 30)),
        ("subset=e(4900100:4900300),n(3099000:3099500)&resolution=", (50, 100), (10, 30)),
        ("subset=Easting(4900100:4900300)&subset=NORTHING(3099000:3099500)&resolution=E(),N()", (50, 100), (10, 30)),
        ("subset=x(4900100:4900300),Y(3099000:3099500)", (50, 100), (10, 30)),
        (f"subset=E(4900100:4900300),N(3099000:3099500)&subset-crs={EPSG}/3035", (50, 100), (10, 30)),
        ("subset=E(4900100:4900300),N(3099000:3099500)&subset-crs=[EPSG:3035]", (50, 100), (10, 30)),
        ("subset=E(4900100:4900300),N(3099000:*)", (0, 100), (10, 30)),
        ("subset=E(*:4900300),N(*:3099500)&scale-factor=1", (50, 1_500), (0, 30)),
        ("subset=E(4900100:4900300),N(3099000)", (99, 100), (10, 30)),
        ("subset=E(4900105),N(3099000:3099500)", (50, 100), (10, 11)),
        ("subset=E(4900105),N(3099004)&f=tiff", (99, 100), (10, 11)),
        ("subset=E(4900100),N(3099000)&f=tiff", (99, 100), (10, 11)),
        ("subset=E(4900001),N(3099999)&f=tiff", (0, 1), (0, 1)),
        ("subset=E(4920999),N(3085001)&f=tiff", (1_499, 1_500), (2_099, 2_100)),
        ("subset=E(4900100:4900300),N(3099000:3099500)&properties=class", (50, 100), (10, 30)),
        ("subset=E(4900100:4900300),N(3099000:3099500)&exclude-properties=", (50, 100), (10, 30)),
        ("bbox=3099000,4900100,3099500,4900300&bbox-crs=[EPSG:3035]&width=20&height=50", (50, 100), (10, 30)),
    ],
)
def test_a_box_returns_exactly_its_pixels(
    client: TestClient, query: str, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    values, bounds, epsg = read(client.get(f"{COVERAGE}?{query}"))
    np.testing.assert_array_equal(values, VALUES[slice(*rows), slice(*columns)])
    assert epsg == 3035
    left, right = (WEST + SIDE * column for column in columns)
    top, bottom = (NORTH - SIDE * row for row in rows)
    assert bounds == (left, bottom, right, top)


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
def test_the_value_at_a_position_is_a_number(client: TestClient, accept: str) -> None:
    longitude, latitude = Transformer.from_crs(3035, 4326, always_xy=True).transform(4_905_005, 3_095_005)
    for query in ("subset=E(4905005),N(3095005)", f"subset=Lat({latitude}),Lon({longitude})"):
        answer = client.get(f"{COVERAGE}?{query}", headers={"accept": accept})
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == VALUES[499, 500]
    there = f"subset=Lat({latitude}),Lon({longitude})&subset-crs=[EPSG:4326]&f=value"
    assert client.get(f"{COVERAGE}?{there}").json() == VALUES[499, 500]
    document = client.get(f"{COVERAGE}?{query}&f=json").json()
    assert client.get(f"{COVERAGE}?{query}", headers={"accept": "application/vnd.cov+json"}).json() == document
    assert document["ranges"]["class"]["values"] == [VALUES[499, 500]]


def test_a_line_in_degrees_is_one_pixel_wide(client: TestClient) -> None:
    longitude, latitude = Transformer.from_crs(3035, 4326, always_xy=True).transform(4_905_005, 3_095_005)
    values, bounds, epsg = read(client.get(f"{COVERAGE}?subset=Lat({latitude}),Lon({longitude}:{longitude + 0.01})"))
    assert values.shape[0] == 1
    assert 60 < values.shape[1] < 90
    assert epsg == 4326
    assert values[0, 0] == VALUES[499, 500]
    assert (bounds[1] + bounds[3]) / 2 == pytest.approx(latitude)


def test_a_position_outside_has_no_value(client: TestClient) -> None:
    for query in ("subset=E(4899999),N(3099000)", "subset=Lat(10),Lon(10)", "subset=E(4900100:4900300),N(3100001)"):
        assert client.get(f"{COVERAGE}?{query}").status_code == 204


@pytest.mark.parametrize(
    ("resolution", "shape", "bounds"),
    [
        ("E(20),N(20)", (25, 10), (4_900_100, 3_099_000, 4_900_300, 3_099_500)),
        ("E(20)", (50, 10), (4_900_100, 3_099_000, 4_900_300, 3_099_500)),
        ("E(),N(100)", (5, 20), (4_900_100, 3_099_000, 4_900_300, 3_099_500)),
        ("E(30),N(150)", (4, 7), (4_900_100, 3_098_900, 4_900_310, 3_099_500)),
        ("E(5),N(5)", (100, 40), (4_900_100, 3_099_000, 4_900_300, 3_099_500)),
        ("E(1e6),N(1e6)", (1, 1), (4_900_100, 2_099_500, 5_900_100, 3_099_500)),
    ],
)
def test_samples_have_the_requested_resolution(
    client: TestClient, resolution: str, shape: tuple[int, int], bounds: tuple[float, ...]
) -> None:
    """/req/scaling-spatial/resolution E of OGC API Coverages."""
    query = f"subset=E(4900100:4900300),N(3099000:3099500)&resolution={resolution}"
    values, found, _ = read(client.get(f"{COVERAGE}?{query}"))
    assert (values.shape, found) == (shape, bounds)


def test_interpolation_by_mode_is_the_most_frequent_class(client: TestClient) -> None:
    query = f"{COVERAGE}?subset=E(4900000:4901000),N(3099000:3100000)&width=25&height=25"
    nearest = client.get(query)
    assert "preference-applied" not in nearest.headers
    for prefer in (
        "interpolation=[ogc-interpolation:modal]",
        "interpolation=https://www.opengis.net/def/interpolation/OGC/1/modal",
        "interpolation=E([ogc-interpolation:modal]),N([ogc-interpolation:modal])",
        "handling=strict, properties-interpolation=class([ogc-interpolation:modal]), interpolation=modal",
    ):
        answer = client.get(query, headers={"prefer": prefer})
        values, _, _ = read(answer)
        np.testing.assert_array_equal(values, VALUES[:100:4, :100:4])
        assert "modal" in answer.headers["preference-applied"]
        assert "prefer" in answer.headers["vary"].lower()


@pytest.mark.parametrize(
    "prefer",
    [
        "interpolation=[ogc-interpolation:linear]",
        "interpolation=nonsense",
        "interpolation=E(modal),N(nearest-neighbor)",
        "properties-interpolation=other(modal)",
        "interpolation=E(",
    ],
)
def test_unsupported_preferences_are_ignored_or_refused_if_strict(client: TestClient, prefer: str) -> None:
    query = f"{COVERAGE}?subset=E(4900000:4901000),N(3099000:3100000)"
    lenient = client.get(query, headers={"prefer": prefer})
    assert lenient.status_code == 200
    assert "preference-applied" not in lenient.headers
    if prefer != "interpolation=E(":
        strict = client.get(query, headers={"prefer": f"{prefer}, handling=strict"})
        assert strict.status_code == 400
        assert "[ogc-interpolation:modal]" in strict.json()["detail"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("subset=Lat(nan)", "subset"),
        ("subset=Lat(inf)", "subset"),
        ("subset=Lat(1:2:3)", "subset"),
        ("subset=E(1:2)&subset-crs=[EPSG:4326]", "subset"),
        ("subset=Lat(1:2)&subset-crs=[EPSG:3035]", "subset"),
        ("subset=E(1:2)&subset-crs=[EPSG:9999]", "subset-crs"),
        ("subset=E(4900100),N(3099000)&width=5", "width"),
        ("subset=E(4900100),N(3099000:3099500)&resolution=N(100)", "resolution"),
        ("subset=E(4900100),N(3099000:3099500)&scale-factor=2", "scale-factor"),
        ("subset=E(4900100),N(3099000:3099500)&crs=[EPSG:3857]", "crs"),
        ("resolution=E(0)", "resolution"),
        ("resolution=E(-10)", "resolution"),
        ("resolution=E(nan)", "resolution"),
        ("resolution=E(1e-300)", "resolution"),
        ("resolution=Height(10)", "resolution"),
        ("resolution=10", "resolution"),
        ("resolution=E(10)&width=10", "resolution"),
        ("properties=", "properties"),
        ("properties=red", "properties"),
        ("properties=class,red", "properties"),
        ("exclude-properties=red", "exclude-properties"),
        ("exclude-properties=class", "exclude-properties"),
        ("exclude-properties=&properties=class", "exclude-properties"),
    ],
)
def test_invalid_parameters_are_400_and_named(client: TestClient, query: str, named: str) -> None:
    answer = client.get(f"{COVERAGE}?{query}")
    assert answer.status_code == 400, answer.text
    assert named in answer.json()["detail"]


@pytest.mark.parametrize(
    "query", ["resolution=E(1e-9)", "resolution=E(1),N(1)", "width=999999999", "scale-factor=1e-9"]
)
def test_a_huge_size_is_413_before_a_pixel_is_read(client: TestClient, query: str) -> None:
    answer = client.get(f"{COVERAGE}?{query}")
    assert answer.status_code == 413
    assert answer.json()["bound"] == 5_000_000


def test_a_413_has_a_valid_order(client: TestClient) -> None:
    answer = client.get(f"{COVERAGE}?subset=E(4900000:4910000),N(3090000:3100000)&width=3000&height=3000")
    assert answer.status_code == 413
    document = answer.json()
    assert (document["pixels"], document["bound"]) == (9_000_000, 5_000_000)
    order = document["order"]
    west, south, east, north = order["body"]["inputs"]["aoi"]["bbox"]
    assert 17 < west < east < 19
    assert 50 < south < north < 51
    taken = client.post(httpx2.URL(order["href"]).path, json=order["body"], headers={"Prefer": "respond-async"})
    assert taken.status_code == 201, taken.text


def test_a_large_answer_uses_a_temporary_file(client: TestClient) -> None:
    """4,200,000 values are above the limit of answers in memory."""
    answer = client.get(f"{COVERAGE}?{LARGE}")
    values, _, _ = read(answer)
    assert int(answer.headers["content-length"]) == len(answer.content)
    np.testing.assert_array_equal(values[::4], VALUES[::3])
    assert not deleted_files()


def deleted_files() -> list[str]:
    """Return the unnamed files of this test that this process has open."""
    gc.collect()
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
    targets = [str(link.readlink()) for link in links if link.is_symlink()]
    return [target for target in targets if "(deleted)" in target and "pytest-of" in target]


def test_a_full_disk_is_503(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("routes.coverages.coverage.write_geotiff", full)
    answer = client.get(f"{COVERAGE}?{LARGE}")
    assert answer.status_code == 503
    assert "No space" not in answer.text
    assert not deleted_files()


def test_a_file_replaced_or_broken_while_served_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file is served, a broken one is 503 with the reason only in the log, and the server continues."""
    path = gdal_cog(tmp_path / "land.tif", VALUES)
    query = f"{COVERAGE}?subset=E(4900000:4905000),N(3095000:3100000)"
    with client_of(path, tmp_path / "state", monkeypatch) as client:
        np.testing.assert_array_equal(read(client.get(query))[0], VALUES[:500, :500])
        other = classes(1_500, 2_100, seed=2)
        gdal_cog(tmp_path / "new.tif", other).replace(path)
        np.testing.assert_array_equal(read(client.get(query))[0], other[:500, :500])
        whole = path.read_bytes()
        with rasterio.open(path) as dataset:
            offset = int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
        path.write_bytes(whole[:offset] + bytes(len(whole) - offset))
        broken = client.get(query)
        assert broken.status_code == 503
        assert str(tmp_path) not in broken.text
        path.write_bytes(whole[: offset // 2])
        assert client.get(query).status_code == 503
        path.write_bytes(whole)
        np.testing.assert_array_equal(read(client.get(query))[0], other[:500, :500])
        path.unlink()
        assert client.get(query).status_code == 503


def test_a_raster_of_values_is_served_by_its_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = surface(2, "float32")
    path = written(tmp_path / "height.tif", values)
    bands = [{"name": "height", "unit": "m"}, {"name": "slope", "title": "Slope"}]
    with client_of(path, tmp_path / "state", monkeypatch, bands=bands) as client:
        schema = client.get("/collections/clcplus-raster/schema").json()["properties"]
        assert {name: schema[name]["type"] for name in ("height", "slope")} == {"height": "number", "slope": "number"}
        assert schema["height"]["x-ogc-unit"] == "m"
        answer = client.get(f"{COVERAGE}?subset=E(4900000:4900400),N(3099800:3100000)&properties=slope")
        assert read(answer)[0].tolist() == values[1, :10, :20].tolist()
        place = f"{COVERAGE}?subset=E(4900050),N(3099950)"
        assert client.get(place).json() == {"height": float(values[0, 2, 2]), "slope": float(values[1, 2, 2])}
        assert client.get(f"{place}&properties=slope").json() == float(values[1, 2, 2])
        document = client.get(f"{COVERAGE}?width=20&f=json").json()
        assert set(document["ranges"]) == set(document["parameters"]) == {"height", "slope"}
        linear = client.get(f"{COVERAGE}?width=20", headers={"prefer": "interpolation=[ogc-interpolation:mean]"})
        assert "mean" in linear.headers["preference-applied"]
        fields = client.get(f"{COVERAGE}/rangetype").json()["field"]
        assert [(each["name"], each["definition"]) for each in fields] == [
            ("height", "ogcType:float32"),
            ("slope", "ogcType:float32"),
        ]
        for picture in ("map?width=50", "coverage?width=50&f=png"):
            assert client.get(f"/collections/clcplus-raster/{picture}").headers["content-type"] == "image/png"
        assert client.get("/collections/clcplus-raster").status_code == 200
        assert client.get("/openapi?f=json").status_code == 200


MAKERS: dict[str, dict[str, Any]] = {
    "lzw": {"compress": "lzw", "blockxsize": 128, "blockysize": 128},
    "zstd": {"compress": "zstd", "blockxsize": 512, "blockysize": 512},
    "predictor": {"compress": "deflate", "predictor": 2, "blockxsize": 256, "blockysize": 256},
    "plain": {"bigtiff": "YES", "blockxsize": 256, "blockysize": 256},
    "one bit less": {"nbits": 7, "compress": "deflate", "blockxsize": 256, "blockysize": 256},
}


@pytest.mark.parametrize("maker", MAKERS)
def test_files_of_other_makers_return_exactly_their_pixels(maker: str, tmp_path: Path) -> None:
    values = classes(700, 901)
    path = plain(tmp_path / "odd.tif", values, tiled=True, **MAKERS[maker])
    cog = CogProvider({"type": "coverage", "name": "cog", "data": str(path)})
    box = Box((WEST + 3 * SIDE, NORTH - 690 * SIDE, WEST + 900 * SIDE, NORTH - 5 * SIDE), cog.native)
    np.testing.assert_array_equal(cog.read(box, (897, 685)).codes, values[5:690, 3:900])
