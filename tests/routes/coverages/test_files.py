from pathlib import Path

import pytest
from starlette.testclient import TestClient

SOURCE = Path(__file__).parents[3] / "sample" / "clcplus_2023_parks.tif"
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
def test_other_names_are_404(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
