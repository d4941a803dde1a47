"""Several files as one coverage by a VRT, a tile index or a folder: pixels, tiles, years, replaced and odd files."""

import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from pygeoapi.provider.base import ProviderConnectionError
from starlette.testclient import TestClient

from plugins.cog import CogProvider
from products.catalogue import InvalidConfiguration, catalogue_of
from products.whole import version_of
from tests.conftest import application
from tests.odd.rasters import PLACES, classes, gdal_cog, plain, surface, written
from tests.routes.tiles.conftest import raster_alone

ONE = "/collections/clcplus-raster"
SIDE, WEST, NORTH = PLACES[3035]
PARTS = {"a": (0, 0), "b": (0, 512), "c": (512, 0)}
"""The files by their first row and column; there is none for the fourth quarter."""
FORMS = ("vrt", "index", "folder")
INDEX = """<GDALTileIndexDataset><IndexDataset>{}</IndexDataset><LocationField>location</LocationField>
<Overview><Factor>2</Factor></Overview></GDALTileIndexDataset>"""


def quarters() -> NDArray[np.uint8]:
    values = classes(1024, 1024)
    values[512:, 512:] = 255
    return values


def place(row: int, column: int) -> Affine:
    return Affine(SIDE, 0, WEST + column * SIDE, 0, -SIDE, NORTH - row * SIDE)


def parts(folder: Path, values: NDArray[np.uint8]) -> list[str]:
    folder.mkdir(exist_ok=True)
    for name, (row, column) in PARTS.items():
        part = values[row : row + 512, column : column + 512]
        gdal_cog(folder / f"{name}.tif", part, nodata=255, blocksize=256, transform=place(row, column))
    return [f"land/{name}.tif" for name in PARTS]


def run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, timeout=60, stdout=subprocess.DEVNULL)


def several(folder: Path, form: str, values: NDArray[np.uint8] | None = None) -> Path:
    files = parts(folder / "land", quarters() if values is None else values)
    if form == "vrt":
        run(folder, "gdalbuildvrt", "-q", "land.vrt", *files)
        run(folder, "gdaladdo", "-q", "-r", "mode", "land.vrt", "2")
        return folder / "land.vrt"
    if form == "index":
        run(folder, "gdaltindex", "-f", "GPKG", "files.gpkg", *files)
        (folder / "land.gti").write_text(INDEX.format(folder / "files.gpkg"))
        return folder / "land.gti"
    return folder / "land"


def provider(path: Path, **given: object) -> CogProvider:
    return CogProvider({"type": "coverage", "name": "plugins.cog.CogProvider", "data": str(path), **given})


def client_of(path: Path, state: Path, **given: object) -> TestClient:
    configuration = raster_alone()
    del configuration["products"]
    configuration["resources"]["clcplus-raster"]["providers"][0] |= {"data": str(path), **given}
    return TestClient(application(configuration, state={"dir": state}), headers={"accept": "*/*"})


@pytest.mark.parametrize("form", FORMS)
def test_pixels_and_overviews_are_those_of_the_files(form: str, tmp_path: Path) -> None:
    cog = provider(several(tmp_path, form))
    assert (cog.grid.width, cog.grid.height, cog.grid.overviews) == (1024, 1024, (2,))
    np.testing.assert_array_equal(cog.read(cog.whole, (1024, 1024)).codes, quarters())
    with rasterio.open(tmp_path / "land" / "b.tif", overview_level=0) as overview:
        expected = overview.read(1)
    np.testing.assert_array_equal(cog.read(cog.whole, (512, 512)).codes[:256, 256:], expected)


@pytest.mark.parametrize("form", FORMS[1:])
def test_answers_are_those_of_one_file_and_there_is_no_download(form: str, tmp_path: Path) -> None:
    path = several(tmp_path, form)
    whole = gdal_cog(tmp_path / "one.tif", quarters(), nodata=255, blocksize=256)
    with client_of(path, tmp_path / "many") as many, client_of(whole, tmp_path / "one") as one:
        sets = many.get(f"{ONE}/map/tiles").json()["tilesets"]
        limits = next(each for each in sets[0]["tileMatrixSetLimits"] if each["tileMatrix"] == "14")
        row = (limits["minTileRow"] + limits["maxTileRow"]) // 2
        column = (limits["minTileCol"] + limits["maxTileCol"]) // 2
        tile = f"{ONE}/map/tiles/WebMercatorQuad/14/{row}/{column}"
        found, expected = (
            np.array(Image.open(BytesIO(each.get(tile).content)).convert("RGBA")) for each in (many, one)
        )
        assert (found == expected).all(axis=2).mean() > 0.999
        assert len(np.unique(found.reshape(-1, 4), axis=0)) > 5
        box = f"&bbox-crs=EPSG:3035&bbox={NORTH - 6_000},{WEST + 4_000},{NORTH - 4_000},{WEST + 6_000}"
        answers = [each.get(f"{ONE}/coverage?f=png{box}") for each in (many, one)]
        assert [each.status_code for each in answers] == [200, 200]
        assert answers[0].content == answers[1].content
        assert not [each for each in many.get(ONE).json()["links"] if each["rel"] == "enclosure"]
        assert many.get(f"{ONE}/files/{path.name}").status_code == 404
        assert "Link" not in many.get(f"{ONE}/coverage").headers
        assert not [each for each in many.get("/openapi?f=json").json()["paths"] if "/files/" in each]


@pytest.mark.parametrize("form", FORMS)
def test_a_replaced_file_is_served_and_a_missing_one_is_no_crash(form: str, tmp_path: Path) -> None:
    path = several(tmp_path, form)
    value = f"{ONE}/coverage?subset=E({WEST + 5 * SIDE}),N({NORTH - 5 * SIDE})"
    with client_of(path, tmp_path / "state") as client:
        before = client.get(value).json()
        new = gdal_cog(tmp_path / "new.tif", np.full((512, 512), before % 11 + 1, np.uint8), nodata=255)
        new.replace(tmp_path / "land" / "a.tif")
        assert client.get(value).json() == before % 11 + 1
        (tmp_path / "land" / "a.tif").write_bytes(b"II*\0")
        answer = client.get(value)
        assert answer.status_code == 503
        assert "a.tif" not in answer.text
        assert client.get("/collections").status_code == 200


def test_each_year_can_be_of_several_files(tmp_path: Path) -> None:
    paths = {}
    for year in (2018, 2023):
        (tmp_path / str(year)).mkdir()
        paths[year] = parts(tmp_path / str(year), np.full((1024, 1024), year % 10, np.uint8))
    years = [{"year": year, "data": str(tmp_path / str(year))} for year in paths]
    with client_of(tmp_path / "2023", tmp_path / "state", years=years) as client:
        value = f"{ONE}/coverage?subset=E({WEST + 5 * SIDE}),N({NORTH - 5 * SIDE})&datetime="
        assert [client.get(f"{value}{year}-06-01").json() for year in (2018, 2023)] == [8, 3]


def test_the_version_has_the_files_by_their_paths(tmp_path: Path) -> None:
    for name in ("a & b.tif", "c.tif"):
        (tmp_path / name).write_bytes(b"x")
    sources = (
        '<SourceFilename relativeToVRT="1" shared="0">a &amp; b.tif</SourceFilename>'
        f"<SourceFilename>{tmp_path}/c.tif</SourceFilename>"
    )
    (tmp_path / "x.vrt").write_text(f"<VRTDataset>{sources}</VRTDataset>")
    version = version_of(tmp_path / "x.vrt", ())
    assert len(version) == 3
    assert all(version)
    (tmp_path / "c.tif").write_bytes(b"xy")
    assert version_of(tmp_path / "x.vrt", ())[:2] == version[:2]
    assert version_of(tmp_path / "x.vrt", ()) != version


def test_values_can_be_of_several_files(tmp_path: Path) -> None:
    values = surface(1, "float32")
    for name, half in (("a", values[:, :, :200]), ("b", values[:, :, 200:])):
        east = 4_900_000 + (200 * 20 if name == "b" else 0)
        written(tmp_path / f"{name}.tif", half, nodata=-1, transform=(20, 0, east, 0, -20, 3_100_000))
    subprocess.run(["gdalbuildvrt", "-q", "v.vrt", "a.tif", "b.tif"], cwd=tmp_path, check=True, timeout=60)
    cog = provider(tmp_path / "v.vrt", bands=[{"name": "height"}])
    np.testing.assert_array_equal(cog.read(cog.whole, (411, 300)).values, values)


def test_a_product_is_one_file() -> None:
    resources = {"pixels": {"providers": [{"data": "a.vrt"}]}}
    product = {"title": "Land", "year": 2023, "raster": "pixels", "attribution": "Somebody"}
    with pytest.raises(
        InvalidConfiguration, match=r"products\.land\.raster: a\.vrt is not one file; allowed: a GeoTIFF"
    ):
        catalogue_of({"products": {"land": product}, "resources": resources})


@pytest.mark.parametrize("content", ["", "<VRTDataset>", "no xml", "<VRTDataset rasterXSize='10' rasterYSize='10'/>"])
def test_a_broken_vrt_has_a_reason(tmp_path: Path, content: str) -> None:
    (tmp_path / "broken.vrt").write_text(content)
    with client_of(tmp_path / "broken.vrt", tmp_path / "state") as client:
        assert client.get(f"{ONE}/coverage").status_code == 503


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ({"transform": place(512, 512) @ Affine.translation(0.5, 0)}, "d.tif is not on the grid of a.tif"),
        ({"nodata": 0}, "d.tif differs from a.tif in CRS, type, nodata or bands"),
        ({"epsg": 25832}, "d.tif differs from a.tif in CRS, type, nodata or bands"),
    ],
)
def test_files_of_a_folder_that_do_not_fit_are_named(odd: dict[str, Any], why: str, tmp_path: Path) -> None:
    parts(tmp_path / "land", quarters())
    plain(tmp_path / "land" / "d.tif", classes(16, 16), **{"transform": place(512, 512), "nodata": 255, **odd})
    with pytest.raises(ProviderConnectionError, match=f"land: {why}"):
        provider(tmp_path / "land").get_fields()


def test_a_vrt_of_files_elsewhere_is_refused(tmp_path: Path) -> None:
    source = "<SourceFilename>/vsicurl/https://example.org/a.tif</SourceFilename>"
    (tmp_path / "far.vrt").write_text(f"<VRTDataset>{source}</VRTDataset>")
    with pytest.raises(ProviderConnectionError, match=r"far\.vrt names a file that is not on this machine"):
        provider(tmp_path / "far.vrt").get_fields()
