import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from starlette.testclient import TestClient

SOURCE = Path(__file__).parents[2] / "sample" / "clcplus_2023_parks.tif"
FILE = f"/collections/clcplus-raster/files/{SOURCE.name}"


def test_the_file_is_the_source(client: TestClient) -> None:
    answer = client.get(FILE)
    assert answer.content == SOURCE.read_bytes()
    assert answer.headers["content-type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert answer.headers["content-disposition"] == f'attachment; filename="{SOURCE.name}"'


@pytest.mark.parametrize(
    "path",
    [
        "/collections/clcplus-raster/files/parks.geojson",
        "/collections/clcplus-raster/files/..%2Fparks.geojson",
        "/collections/clcplus-raster/files/%2Fetc%2Fpasswd",
        "/collections/clcplus-raster/files/%00",
        "/collections/parks/files/parks.gpkg",
        "/collections/nowhere/files/clcplus_2023_parks.tif",
    ],
)
def test_no_other_name_leads_to_a_file(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_gdal_and_rasterio_read_it_in_place(live_server: Callable[..., str]) -> None:
    address = f"/vsicurl/{live_server()}{FILE}"
    answer = subprocess.run(["gdalinfo", "-json", address], check=True, capture_output=True, text=True, timeout=60)
    document = json.loads(answer.stdout)
    assert document["size"] == [58_880, 47_104]
    assert document["bands"][0]["overviews"]
    window = rasterio.windows.Window(33_656, 45_127, 456, 333)
    with rasterio.open(address) as remote, rasterio.open(SOURCE) as local:
        expected = local.read(1, window=window)
        assert (expected != 255).any()
        assert np.array_equal(remote.read(1, window=window), expected)
