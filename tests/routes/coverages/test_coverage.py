import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.io import DatasetReader, MemoryFile
from rasterio.windows import from_bounds
from starlette.applications import Starlette
from starlette.testclient import TestClient

from plugins.coverage_netcdf import HAS_NETCDF
from products.classes import CLASSES
from products.limits import MAX_PIXELS

SOURCE = Path(__file__).parents[3] / "sample" / "clcplus_2023_parks.tif"
COVERAGE = "/collections/clcplus-raster/coverage"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG = "http://www.opengis.net/def/crs/EPSG/0"
BABIA = "19.47,49.56,19.6,49.64"


@contextmanager
def opened(content: bytes) -> Iterator[DatasetReader]:
    with MemoryFile(content) as memory, memory.open() as dataset:
        yield dataset


def test_without_parameters_the_coverage_is_scaled_down_with_a_header(client: TestClient) -> None:
    answer = client.get(COVERAGE)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/tiff; application=geotiff"
    assert answer.elapsed.total_seconds() < 30
    assert 'rel="enclosure"' in answer.headers["link"]
    with opened(answer.content) as dataset, rasterio.open(SOURCE) as source:
        assert dataset.width * dataset.height <= MAX_PIXELS // 4
        assert dataset.bounds == pytest.approx(source.bounds, abs=1)
        assert round(source.width / dataset.width) == int(answer.headers["scale-factor"])
        assert set(np.unique(dataset.read(1))) <= {entry.value for entry in CLASSES} | {255}
        assert (dataset.read(1) != 255).any()


def test_strict_refuses_scaling_down_with_alternatives(client: TestClient) -> None:
    answer = client.get(COVERAGE, headers={"prefer": "handling=strict"})
    assert answer.status_code == 413
    document = answer.json()
    assert document["bound"] == 134_217_728
    assert document["pixels"] == 58_880 * 47_104
    for advice in ("scale-factor=5", "smaller bbox", "enclosure", "extract-product"):
        assert advice in document["detail"]
    assert client.get(f"{COVERAGE}?scale-factor=5", headers={"prefer": "handling=strict"}).status_code == 200


def test_strict_does_not_affect_answers_that_fit(client: TestClient) -> None:
    answer = client.get(f"{COVERAGE}?bbox={BABIA}", headers={"prefer": "handling=strict"})
    assert answer.status_code == 200
    assert "scale-factor" not in answer.headers


def test_the_pixels_of_a_window_are_those_of_the_source(client: TestClient) -> None:
    window = (5_006_000.0, 2_986_000.0, 5_010_560.0, 2_989_330.0)
    west, south, east, north = window
    answer = client.get(COVERAGE, params={"bbox": f"{south},{west},{north},{east}", "bbox-crs": f"{EPSG}/3035"})
    assert answer.headers["content-crs"] == f"<{EPSG}/3035>"
    with opened(answer.content) as dataset, rasterio.open(SOURCE) as source:
        expected = source.read(1, window=from_bounds(*window, transform=source.transform))
        assert (expected != 255).any()
        assert tuple(dataset.bounds) == window
        assert np.array_equal(dataset.read(1), expected)


def test_a_box_is_widened_to_whole_pixels(client: TestClient) -> None:
    answer = client.get(COVERAGE, params={"subset": "E(5006003:5006017),N(2986001:2986008)"})
    with opened(answer.content) as dataset:
        assert tuple(dataset.bounds) == (5_006_000, 2_986_000, 5_006_020, 2_986_010)
        assert dataset.shape == (1, 2)


def test_the_geotiff_has_colours_and_no_data(client: TestClient) -> None:
    with opened(client.get(f"{COVERAGE}?bbox={BABIA}").content) as dataset:
        assert dataset.nodata == 255
        colours = dataset.colormap(1)
        assert {entry.value: colours[entry.value] for entry in CLASSES} == {
            entry.value: (*entry.rgb, 255) for entry in CLASSES
        }
        assert dataset.crs.to_epsg() == 3035


@pytest.mark.parametrize(
    ("query", "epsg", "shape"),
    [
        ("subset=Long(19.47:19.6),Lat(49.56:49.64)&scaleSize=Long(256),Lat(128)", 4326, (128, 256)),
        ("subset=Lat(49.56:49.64),Lon(19.47:19.6)&scale-size=Lon(256),Lat(128)", 4326, (128, 256)),
        ("subset=Lat(49.56:49.64)&subset=Lon(19.47:19.6)&width=100&height=50", 3035, (50, 100)),
        ("subset=E(5006000:5010000),N(2986000:2988000)&scale-factor=4", 3035, (50, 100)),
        ("subset=E(5006000:5010000),N(2986000:2988000)&scale-axes=E(2),N(4)", 3035, (50, 200)),
        ("subset=E(5006000:5010000),N(2986000:2988000)&width=40", 3035, (20, 40)),
        ("subset=E(5006000:5010000),N(2986000:2988000)&scale-size=N(20)", 3035, (20, 40)),
        (f"bbox={BABIA}&crs={EPSG}/3857&width=64&height=64", 3857, (64, 64)),
        (f"bbox={BABIA}&crs={CRS84}&width=64&height=64", 4326, (64, 64)),
        (f"bbox={BABIA}&crs=[EPSG:3857]&width=64&height=64", 3857, (64, 64)),
        (f"bbox=49.56,19.47,49.64,19.6&bbox-crs={EPSG}/4326&crs=[OGC:CRS84]&width=64&height=64", 4326, (64, 64)),
    ],
)
def test_size_and_system_are_as_requested(client: TestClient, query: str, epsg: int, shape: tuple[int, int]) -> None:
    answer = client.get(f"{COVERAGE}?{query}")
    assert answer.status_code == 200, answer.text
    with opened(answer.content) as dataset:
        assert dataset.crs.to_epsg() == epsg
        assert dataset.shape == shape
        assert (dataset.read(1) != 255).any()
        if epsg == 4326:
            assert tuple(dataset.bounds) == pytest.approx((19.47, 49.56, 19.6, 49.64))


def test_both_orders_of_axes_return_the_same(client: TestClient) -> None:
    longitude_first = client.get(f"{COVERAGE}?bbox={BABIA}")
    latitude_first = client.get(COVERAGE, params={"bbox": "49.56,19.47,49.64,19.6", "bbox-crs": f"{EPSG}/4326"})
    assert longitude_first.content == latitude_first.content


def test_a_sized_box_partly_outside_is_filled_with_no_data(client: TestClient) -> None:
    answer = client.get(f"{COVERAGE}?subset=Long(10:25),Lat(45:55)&scale-size=Lon(900),Lat(600)")
    with opened(answer.content) as dataset:
        assert dataset.shape == (600, 900)
        values = dataset.read(1)
    assert (values[:, :280] == 255).all()
    assert (values != 255).any()


def test_without_a_size_the_outside_is_cut_off(client: TestClient) -> None:
    with opened(client.get(f"{COVERAGE}?bbox=-60,0,60,80").content) as dataset, rasterio.open(SOURCE) as source:
        assert dataset.bounds == pytest.approx(source.bounds, abs=10)


@pytest.mark.parametrize(
    "query",
    [
        "bbox=0,0,1,1",
        "bbox=170,-10,-170,80",
        "subset=Lon(170:-170)",
        "subset=Lat(0:1)",
        "subset=Lat(80:*)",
        "datetime=1999-01-01",
        "datetime=2024-01-01/..",
    ],
)
def test_a_box_outside_of_the_coverage_is_204(client: TestClient, query: str) -> None:
    answer = client.get(f"{COVERAGE}?{query}")
    assert answer.status_code == 204
    assert answer.content == b""


@pytest.mark.parametrize(
    "when", ["2023-06-01", "2023-06-01T00:00:00Z", "../2023-01-01", "2023-12-31/..", "2020-01-01/2030-01-01"]
)
def test_datetime_of_its_year_matches(client: TestClient, when: str) -> None:
    assert client.get(COVERAGE, params={"datetime": when, "width": "50"}).status_code == 200


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("bbox=1,2,3", "bbox"),
        ("bbox=a,b,c,d", "bbox"),
        ("bbox=nan,0,1,1", "bbox"),
        ("bbox=inf,0,1,1", "bbox"),
        ("bbox=1,2,2,1", "bbox"),
        ("bbox=200,0,1,1", "bbox"),
        ("bbox=1_9,49,20,50", "bbox"),
        ("bbox=١٩,49,20,50", "bbox"),
        ("subset=Lat(5_0:51)", "subset"),
        ("subset=Lon(١٩:20)", "subset"),
        ("scale-factor=1_0", "scale-factor"),
        ("scale-size=Lon(1_0),Lat(10)", "scale-size"),
        ("scale-axes=Lat(1_0)", "scale-axes"),
        ("width=1_0", "width"),
        (f"bbox=5000000,3000000,4000000,3100000&bbox-crs={EPSG}/3857", "bbox"),
        ("bbox=1,1,1,1", "bbox"),
        ("bbox=1,1,2,2&bbox=1,1,2,2", "bbox"),
        (f"bbox={BABIA}&bbox-crs=EPSG:9999", "bbox-crs"),
        (f"bbox={BABIA}&crs=nonsense", "crs"),
        ("subset=Lat(50:)", "subset"),
        ("subset=Lat(51:50)", "subset"),
        ("subset=E(5010000:5006000)", "subset"),
        ("subset=Lon(20:20)", "subset"),
        ("subset=Height(1:2)", "subset"),
        ("subset=Lat(50:51),Lat(50:51)", "subset"),
        ("subset=Lat(50:51),E(1:2)", "subset"),
        ("subset=Lat", "subset"),
        ("subset=", "subset"),
        (f"subset=Lat(50:51)&bbox={BABIA}", "subset"),
        ("scale-factor=0", "scale-factor"),
        ("scale-factor=-1", "scale-factor"),
        ("scale-factor=1e-320", "scale-factor"),
        ("scale-factor=inf", "scale-factor"),
        ("scale-factor=nan", "scale-factor"),
        ("scale-axes=Lat(0)", "scale-axes"),
        ("scale-axes=Lat(1e-320)", "scale-axes"),
        ("scale-size=Lat(1.5)", "scale-size"),
        ("scale-size=Lat(-1)", "scale-size"),
        ("width=0", "width"),
        ("width=ten", "width"),
        ("height=99999999999999999999", "height"),
        ("scale-factor=2&width=5", "scale-factor"),
        ("datetime=yesterday", "datetime"),
        ("datetime=2024-01-01/2023-01-01", "datetime"),
        ("datetime=../..", "datetime"),
        ("f=grib", "f"),
    ],
)
def test_malformed_parameters_are_400_and_named(client: TestClient, query: str, named: str) -> None:
    answer = client.get(f"{COVERAGE}?{query}")
    assert answer.status_code == 400, answer.text
    assert named in answer.json()["detail"]


@pytest.mark.parametrize("query", ["width=12000&height=12000", "scale-factor=1", "scale-size=Lon(100000),Lat(100000)"])
def test_more_pixels_than_the_limit_are_413(client: TestClient, query: str) -> None:
    assert client.get(f"{COVERAGE}?{query}").status_code == 413


@pytest.mark.skipif(not HAS_NETCDF, reason="landcast[netcdf] is not installed")
@pytest.mark.parametrize("query", [f"bbox={BABIA}", "bbox=19.2,49.4,19.9,49.8"])
def test_netcdf_has_the_pixels_of_the_geotiff(client: TestClient, tmp_path: Path, query: str) -> None:
    """The larger one goes by way of a file."""
    answer = client.get(f"{COVERAGE}?{query}", headers={"accept": "application/x-netcdf"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-netcdf")
    assert answer.headers["content-disposition"] == 'inline; filename="clcplus-raster.nc"'
    path = tmp_path / "class.nc"
    path.write_bytes(answer.content)
    with opened(client.get(f"{COVERAGE}?f=tiff&{query}").content) as expected, rasterio.open(path) as found:
        np.testing.assert_array_equal(found.read(1), expected.read(1))
        assert (found.crs.to_epsg(), found.transform) == (3035, expected.transform)
        assert found.width * found.height > (4_194_304 if "19.2" in query else 0)


@pytest.mark.skipif(not HAS_NETCDF, reason="landcast[netcdf] is not installed")
def test_netcdf_is_bounded_like_a_geotiff(client: TestClient) -> None:
    answer = client.get(f"{COVERAGE}?f=netcdf&width=12000&height=12000")
    assert (answer.status_code, answer.json()["bound"]) == (413, 134_217_728)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "image/tiff; application=geotiff"),
        ("image/tiff;application=geotiff", "image/tiff; application=geotiff"),
        ("image/png", "image/png"),
        ("application/prs.coverage+json", "application/prs.coverage+json"),
        ("text/html", "text/html; charset=utf-8"),
    ],
)
def test_the_format_is_negotiated(client: TestClient, accept: str, media_type: str) -> None:
    answer = client.get(f"{COVERAGE}?bbox={BABIA}", headers={"accept": accept})
    assert answer.headers["content-type"] == media_type


def test_coverage_json_has_the_same_values(client: TestClient) -> None:
    query = "subset=E(5006000:5008000),N(2986000:2988000)"
    document = json.loads(client.get(f"{COVERAGE}?{query}&f=json").text)
    with opened(client.get(f"{COVERAGE}?{query}&f=tiff").content) as dataset:
        expected = dataset.read(1)
        transform = dataset.transform
    ranges = document["ranges"]["class"]
    values = [255 if value is None else value for value in ranges["values"]]
    assert np.array_equal(np.array(values).reshape(ranges["shape"]), expected)
    assert document["domain"]["axes"]["x"]["start"] == transform.c + 5
    assert document["domain"]["axes"]["y"]["start"] == transform.f - 5
    categories = document["parameters"]["class"]["observedProperty"]["categories"]
    assert len(categories) == len(CLASSES)


def test_coverage_json_of_the_whole_is_bounded(client: TestClient) -> None:
    document = client.get(f"{COVERAGE}?f=json").json()
    assert len(document["ranges"]["class"]["values"]) <= 65_536


def test_gdal_finds_the_needed_metadata(client: TestClient) -> None:
    grid = client.get(f"{COVERAGE}/domainset").json()["generalGrid"]
    assert grid["axisLabels"] == ["Long", "Lat"]
    assert grid["srsName"] == CRS84
    field = client.get(f"{COVERAGE}/rangetype").json()["field"][0]
    assert field["definition"] == field["encodingInfo"]["dataType"] == "ogcType:unsignedByte"


def test_the_headers_have_place_and_time(client: TestClient) -> None:
    """Requirement response-headers of OGC API Coverages; northing before easting."""
    headers = client.get(f"{COVERAGE}?subset=E(5006000:5006100),N(2986000:2986200)").headers
    assert [float(number) for number in headers["content-bbox"].split(",")] == [2986000, 5006000, 2986200, 5006100]
    assert headers["content-datetime"] == "2023-01-01T00:00:00Z/2023-12-31T23:59:59Z"


def test_the_collection_has_its_box_in_its_own_system(client: TestClient) -> None:
    """Requirement collection-description D of OGC API Coverages; northing before easting."""
    spatial = client.get("/collections/clcplus-raster").json()["extent"]["spatial"]
    assert spatial["storageCrsBbox"] == [[2969600, 4669440, 3440640, 5258240]]


def test_days_alone_are_whole_in_a_configured_extent(
    make_app: Callable[..., Starlette], configuration: dict[str, Any]
) -> None:
    """YAML reads `begin: 2023-01-01` as a date."""
    temporal = {"begin": date(2023, 1, 1), "end": date(2023, 12, 31)}
    configuration["resources"]["clcplus-raster"]["extents"]["temporal"] = temporal
    with TestClient(make_app(configuration), base_url="http://inside.invalid") as client:
        assert client.get(f"{COVERAGE}?scale-factor=64&datetime=2023-12-31T23:00:00Z").status_code == 200
        assert client.get(f"{COVERAGE}?scale-factor=64&datetime=2024-01-01").status_code == 204
        assert client.get("/collections/clcplus-raster").status_code == 200
        assert client.get("/collections/clcplus-raster?f=html").status_code == 200
        assert client.get("/collections").status_code == 200


def test_a_single_row_is_not_filled_up_to_tiles(client: TestClient) -> None:
    """16 million pixels in one row would be 4 GB of tiles, which take 7 s."""
    with opened(client.get(f"{COVERAGE}?bbox={BABIA}&width=100000&height=1").content) as dataset:
        assert dataset.shape == (1, 100_000)
        assert dataset.block_shapes[0][0] == 1
    with opened(client.get(f"{COVERAGE}?bbox={BABIA}&width=256&height=256").content) as dataset:
        assert dataset.block_shapes == [(256, 256)]


def test_a_file_of_any_name_is_linked(
    make_app: Callable[..., Starlette], configuration: dict[str, Any], tmp_path: Path
) -> None:
    """A header is Latin-1 and an address has no space; a product can have any name."""
    source = tmp_path / "Łódź 2023.tif"
    source.symlink_to(SOURCE)
    configuration["resources"]["clcplus-raster"]["providers"][0]["data"] = str(source)
    with TestClient(make_app(configuration), base_url="http://inside.invalid") as client:
        document = client.get(COVERAGE).headers["link"]
        links = client.get("/collections/clcplus-raster").json()["links"]
        [link] = [entry["href"] for entry in links if entry["rel"] == "enclosure"]
        assert link.endswith("/files/%C5%81%C3%B3d%C5%BA%202023.tif")
        assert f"<{link}>" in document
        assert client.head(link).status_code == 200
