"""Coverages of pygeoapi's rasterio and xarray providers: served, and refused before they are read if they are large."""

import gc
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray
from pygeoapi.plugin import load_plugin
from rasterio.transform import from_origin
from starlette.testclient import TestClient

from routes.pygeoapi.size import CoverageSize
from tests.routes.test_languages import client_of, configuration

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:You will likely lose important projection information"),  # of the provider
]

WIDTH, HEIGHT, BANDS = 110, 70, 3
TIMES, ROWS, COLUMNS = 5, 21, 31
TEMPERATURES = np.random.default_rng(7).normal(280, 5, (TIMES, ROWS, COLUMNS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with heights of three bands in metres, and temperatures of five months at three depths."""
    folder = tmp_path_factory.mktemp("sizes")
    values = np.arange(BANDS * HEIGHT * WIDTH, dtype="int16").reshape(BANDS, HEIGHT, WIDTH)
    place = {"crs": "EPSG:32633", "transform": from_origin(400_000, 5_300_000, 1000, 1000)}
    size = {"width": WIDTH, "height": HEIGHT, "count": BANDS, "dtype": "int16"}
    with rasterio.open(folder / "heights.tif", "w", driver="GTiff", **size, **place) as target:
        target.write(values)
    axes = ("time", "lat", "lon")
    xarray.Dataset(
        {
            "warmth": (axes, TEMPERATURES, {"units": "K"}),
            "salt": ((*axes, "depth"), np.zeros((TIMES, ROWS, COLUMNS, 3)), {"units": "g"}),
        },
        coords={
            "time": np.array([f"2020-0{month}-01" for month in range(1, TIMES + 1)], dtype="datetime64[ns]"),
            "lat": np.linspace(60, 40, ROWS),
            "lon": np.linspace(0, 30, COLUMNS),
        },
    ).to_netcdf(folder / "sea.nc", engine="h5netcdf")
    return folder


def _definition(folder: Path, kind: str) -> dict[str, Any]:
    if kind == "rasterio":
        tiff = {"name": "GTiff", "mimetype": "image/tiff"}
        return {"type": "coverage", "name": "rasterio", "data": str(folder / "heights.tif"), "format": tiff}
    axes = {"x_field": "lon", "y_field": "lat", "time_field": "time"}
    netcdf = {"name": "NetCDF", "mimetype": "application/x-netcdf"}
    kinds = {"xarray": "coverage", "xarray-edr": "edr"}
    return {"type": kinds[kind], "name": kind, "data": str(folder / "sea.nc"), "format": netcdf, **axes}


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    document = configuration(folder)
    model = next(each for each in document["resources"].values() if each["type"] == "collection")
    described = {name: value for name, value in model.items() if name not in {"providers", "links", "extents"}}
    for name, kinds in {"heights": ["rasterio"], "sea": ["xarray", "xarray-edr"]}.items():
        providers = [_definition(folder, kind) for kind in kinds]
        world = {"extents": {"spatial": {"bbox": [-180, -90, 180, 90]}}}
        document["resources"][name] = {**described, **world, "providers": providers}
    with client_of(document, folder) as made:
        yield made
    gc.collect()


def _values(answer: Any) -> int:
    """Return the number of values of a CoverageJSON."""
    assert answer.status_code == 200, answer.text
    return sum(len(each["values"]) for each in answer.json()["ranges"].values())


ALL = WIDTH * HEIGHT * BANDS
WARMTH, SALT = TEMPERATURES.size, TEMPERATURES.size * 3
BOX = "14.1,47.4,14.4,47.6"
"""A box of some 23 x 23 cells of the heights."""


METRES = "http://www.opengis.net/def/crs/EPSG/0/32633"


@pytest.mark.parametrize(
    ("query", "native", "least", "most"),
    [
        ({}, False, ALL, ALL),
        ({"properties": "2"}, False, ALL / 3, ALL / 3),
        ({"subset": "x(410000:419500),y(5290000:5299500)"}, False, 100 * 3, 144 * 3),
        ({"subset": "x(410000:419500)"}, False, ALL, ALL),
        ({"subset": "x(0:9999999),y(0:9999999)"}, False, ALL, ALL),
        ({"subset": "x(a:b),y(1:2)"}, False, ALL, ALL),
        ({"bbox": BOX}, False, 23 * 20 * 3, 26 * 26 * 3),
        ({"bbox": BOX}, True, 23 * 20 * 3, 26 * 26 * 3),
        ({"bbox": BOX, "properties": "1"}, False, 23 * 20, 26 * 26),
        ({"bbox": "410000,5290000,419500,5299500", "bbox-crs": "32633"}, False, 300, 432),
        ({"bbox": "10,40,20,55"}, False, ALL, ALL),
        ({"bbox": "1,2,3,4", "bbox-crs": "999999"}, False, ALL, ALL),
        ({"bbox": "0,0,1,1"}, False, 0, 0),
        ({"datetime": "2020"}, True, ALL, ALL),
    ],
)
def test_the_values_of_a_raster_are_counted(
    folder: Path, query: dict[str, str], *, native: bool, least: float, most: float
) -> None:
    size = CoverageSize.of(load_plugin("provider", _definition(folder, "rasterio")))
    assert least <= size.of_coverage(query, native=native) <= most


@pytest.mark.parametrize(
    ("query", "native", "least", "most"),
    [
        ({}, False, WARMTH + SALT, WARMTH + SALT),
        ({"properties": "warmth"}, False, WARMTH, WARMTH),
        ({"properties": "warmth,warmth,none"}, False, WARMTH, WARMTH),
        ({"properties": "warmth", "bbox": "5,45,7,47"}, False, WARMTH, WARMTH),
        ({"properties": "warmth", "bbox": "5,45,7,47", "datetime": "2020-02-01"}, False, 9, 32),
        ({"properties": "warmth", "subset": "lat(45:47),lon(5:7)"}, False, 9 * TIMES, 16 * TIMES),
        ({"properties": "warmth", "subset": 'time("2020-02-01":"2020-03-01")'}, False, 2 * 651, 3 * 651),
        ({"properties": "warmth", "datetime": "2020-02/.."}, False, 4 * 651, WARMTH),
        ({"properties": "warmth", "datetime": "2021"}, False, 0, 0),
        ({"properties": "warmth", "datetime": "yesterday"}, False, WARMTH, WARMTH),
        ({"bbox": "5,45,7,47", "datetime": "2020-02-01"}, True, WARMTH + SALT, WARMTH + SALT),
        ({"subset": "lat(45:47),lon(5:7)", "properties": "warmth"}, True, 9 * TIMES, 16 * TIMES),
        ({"subset": "nonsense"}, False, 0, 0),
        ({"bbox": "1,2,3"}, False, 0, 0),
    ],
)
def test_the_values_of_a_dataset_are_counted(
    folder: Path, query: dict[str, str], *, native: bool, least: int, most: int
) -> None:
    size = CoverageSize.of(load_plugin("provider", _definition(folder, "xarray")))
    assert least <= size.of_coverage(query, native=native) <= most


def test_a_large_request_is_refused_before_anything_is_read(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is answered with as many values as were counted, or a few less, and refused with a smaller limit."""
    paths = (
        "sea/coverage?properties=warmth&subset=lat(45:47),lon(5:7)",
        "sea/coverage?properties=warmth&subset=lat(45:47),lon(5:7)&datetime=2020-02-01/2020-03-01",
        "sea/cube?parameter-name=warmth&bbox=5,45,7,47",
        "sea/position?parameter-name=warmth&coords=POINT(10 50)",
        "heights/coverage?subset=x(410000:419500),y(5290000:5299500)",
        f"heights/coverage?bbox={BOX}",
        f"heights/coverage?bbox=410000,5290000,419500,5299500&bbox-crs={METRES}",
    )
    counts = [_values(client.get(f"/collections/{path}&f=json")) for path in paths]
    assert min(counts) > 0
    for name in (
        "rasterio_.RasterioProvider.query",
        "xarray_.XarrayProvider.query",
        "xarray_edr.XarrayEDRProvider.cube",
    ):
        monkeypatch.setattr(f"pygeoapi.provider.{name}", lambda *_, **__: pytest.fail("it was read"))
    for path, count in zip(paths, counts, strict=True):
        monkeypatch.setattr("routes.pygeoapi.size.MAX_AS_JSON", count - 1)
        answer = client.get(f"/collections/{path}&f=json")
        assert (answer.status_code, path) == (413, path)
        asked = int(answer.json()["detail"].partition(" ")[0])
        assert count <= asked <= count * 3, path
    monkeypatch.setattr("routes.pygeoapi.size.MAX_AS_JSON", 10_000)
    line = ",".join(f"{place / 10} 50" for place in range(80))
    answer = client.get(f"/collections/sea/position?parameter-name=warmth&coords=LINESTRING({line})")
    assert (answer.status_code, "32000 values" in answer.json()["detail"]) == (413, True)


def test_a_netcdf_file_is_served_as_coverage_and_by_edr(client: TestClient, folder: Path) -> None:
    part = client.get("/collections/sea/coverage?f=json&properties=warmth&subset=lat(45:46),lon(5:6)").json()
    np.testing.assert_allclose(part["ranges"]["warmth"]["values"], TEMPERATURES[:, 14:16, 5:7].ravel())
    series = client.get("/collections/sea/position?parameter-name=warmth&coords=POINT(10 50)").json()
    np.testing.assert_allclose(series["ranges"]["warmth"]["values"], TEMPERATURES[:, 10, 10])
    whole = client.get("/collections/sea/coverage?f=NetCDF")
    assert whole.headers["content-type"] == "application/x-netcdf"
    with xarray.open_dataset(BytesIO(whole.content), engine="h5netcdf") as served:
        np.testing.assert_array_equal(served["warmth"], TEMPERATURES)
    assert whole.content == (folder / "sea.nc").read_bytes()
    document = client.get("/collections/sea").json()
    assert set(document["data_queries"]) == {"position", "cube"}


def test_a_provider_that_says_no_size_is_not_limited() -> None:
    size = CoverageSize.of(object())
    assert (size.of_coverage({"bbox": "1,2,3,4"}, native=False), size.of_query("cube", {})) == (0, 0)
