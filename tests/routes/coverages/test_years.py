"""Several files as one coverage, one a year: what is answered at which time, and what of the files is refused."""

import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from pygeoapi.provider.base import ProviderNoDataError
from rasterio.io import MemoryFile
from starlette.testclient import TestClient

from plugins.cog import CogProvider
from plugins.cog_map import CogMapProvider
from plugins.crs import CRS84, Box, crs_of
from processes.area_statistics import AreaStatistics
from processes.errors import InvalidInput
from processes.extract_product import ExtractProduct
from products.catalogue import catalogue_of, read_configuration, write_configuration
from products.classes import CLASSES, by_value
from tests.conftest import ROOT, application
from tests.odd.rasters import PLACES, gdal_cog, rio_cog, written

ONE = "/collections/clcplus-raster"
SIDE, WEST, NORTH = PLACES[3035]
VALUE = f"{ONE}/coverage?subset=E({WEST + 505}),N({NORTH - 505})"
FILLED = {2012: 3, 2018: 1, 2021: 2}
"""The class of all pixels of each year."""


def configuration_of(**provider: Any) -> dict[str, Any]:
    configuration = read_configuration(ROOT / "pygeoapi-config.yml")
    configuration["resources"] = {"clcplus-raster": configuration["resources"]["clcplus-raster"]}
    del configuration["products"]
    configuration["resources"]["clcplus-raster"]["providers"][0] |= provider
    return configuration


def client_of(folder: Path, **provider: Any) -> TestClient:
    app = application(configuration_of(**provider), state={"dir": folder / "state"}, tiles={"cache": "16M"})
    return TestClient(app, headers={"accept": "*/*"})


def filled(path: Path, value: int, **options: Any) -> Path:
    maker = rio_cog if value == 1 else gdal_cog
    return maker(path, np.full((700, 600), value, np.uint8), **options)


def years_in(folder: Path) -> list[dict[str, Any]]:
    return [{"year": year, "data": str(folder / f"land-{year}.tif")} for year in FILLED]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("years")
    for year, value in FILLED.items():
        filled(made / f"land-{year}.tif", value)
    return made


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with client_of(folder, data=str(folder / "land-2021.tif"), years=years_in(folder)) as made:
        yield made


TIMES: list[tuple[str, int | None]] = [
    ("", 2021),
    ("2018-06-30", 2018),
    ("2018-12-31T23:59:59Z", 2018),
    ("2019-01-01", None),
    ("../2020-12-31", 2018),
    ("../2017-12-31", 2012),
    ("2012-05-01/..", 2021),
    ("2012-12-31/2018-01-01", 2018),
    ("2021-01-01T00:00:00Z", 2021),
    ("2022-01-01/..", None),
    ("../2011-12-31", None),
]


def pixels(content: bytes) -> set[tuple[int, ...]]:
    with Image.open(BytesIO(content)) as image:
        return set(map(tuple, np.array(image.convert("RGBA")).reshape(-1, 4).tolist()))


def tile_in(client: TestClient) -> str:
    """Return the address of a tile in the middle of the raster."""
    sets = client.get(f"{ONE}/map/tiles").json()["tilesets"]
    limits = next(each for each in sets[1]["tileMatrixSetLimits"] if each["tileMatrix"] == "12")
    row = (limits["minTileRow"] + limits["maxTileRow"]) // 2
    column = (limits["minTileCol"] + limits["maxTileCol"]) // 2
    return f"{ONE}/map/tiles/EuropeanETRS89_LAEAQuad/12/{row}/{column}"


@pytest.mark.parametrize(("time", "year"), TIMES)
def test_the_newest_year_that_meets_the_time_is_answered(client: TestClient, time: str, year: int | None) -> None:
    when = f"datetime={time}" if time else ""
    value, picture = client.get(f"{VALUE}&{when}"), client.get(f"{ONE}/map?width=40&bgcolor=0x010203&{when}")
    tile = client.get(f"{tile_in(client)}?{when}")
    assert tile.status_code == 200
    if year is None:
        assert (value.status_code, picture.status_code, pixels(tile.content)) == (204, 204, {(0, 0, 0, 0)})
        return
    colour = (*by_value(CLASSES)[FILLED[year]].rgb, 255)
    assert (value.json(), pixels(tile.content)) == (FILLED[year], {colour})
    assert pixels(picture.content) - {(1, 2, 3, 255)} == {colour}
    for answer in (value, picture):
        assert answer.headers["content-datetime"] == f"{year}-01-01T00:00:00Z/{year}-12-31T23:59:59Z"


def test_vanilla_handlers_get_the_year_too(folder: Path) -> None:
    definition = {"name": "plugins.cog.CogProvider", "data": str(folder / "land-2021.tif"), "years": years_in(folder)}
    coverage = CogProvider({"type": "coverage", **definition})
    for time, value in (("2018-05-01", 1), ("2012-01-01/2019-01-01", 1), (None, 2)):
        document: Any = coverage.query(datetime_=time)
        assert set(document["ranges"]["class"]["values"]) == {value}
    with pytest.raises(ProviderNoDataError):
        coverage.query(datetime_="2019-01-01")
    drawn = CogMapProvider({"type": "map", **definition})
    box = coverage.whole.to(CRS84).bbox
    assert (*by_value(CLASSES)[3].rgb, 255) in pixels(drawn.query(bbox=box, datetime_="2012-01-01"))


def test_a_geotiff_has_the_pixels_of_the_year(client: TestClient) -> None:
    content = client.get(f"{ONE}/coverage?f=tiff&datetime=2012-01-01").content
    with MemoryFile(content) as memory, memory.open() as read:
        assert (read.shape, np.unique(read.read(1)).tolist()) == ((700, 600), [3])


@pytest.fixture(scope="module")
def ordered(folder: Path) -> Path:
    """Return a configuration in which the raster is a product of 2021, and processes order it."""
    document = configuration_of(data=str(folder / "land-2021.tif"), years=years_in(folder))
    product = {"title": "Land 2021", "year": 2021, "raster": "clcplus-raster", "attribution": "Somebody"}
    document["products"] = {"land-2021": product}
    path = folder / "ordered.yml"
    path.write_bytes(write_configuration(document))
    return path


AREA = {"bbox": list(Box((WEST + 400, NORTH - 900, WEST + 900, NORTH - 400), crs_of(3035)).to(CRS84).bbox)}


def test_an_order_delivers_the_year_that_it_names(ordered: Path) -> None:
    process = ExtractProduct({"name": "extract-product", "configuration": str(ordered)})
    for year in (None, 2018, 2012):
        named = {} if year is None else {"year": year}
        _, content = process.execute({"product": "Raster", "aoi": AREA, **named})
        with zipfile.ZipFile(BytesIO(content)) as package:
            [name] = [each for each in package.namelist() if each.endswith(".tif")]
            with MemoryFile(package.read(name)) as memory, memory.open() as read:
                values = np.unique(read.read(1))
        assert set(values.tolist()) - {255} == {FILLED[year or 2021]}
    with pytest.raises(InvalidInput, match="no year 2015 of clcplus; allowed: 2021, 2018, 2012"):
        process.check({"product": "Raster", "aoi": AREA, "year": 2015}, catalogue_of(read_configuration(ordered)))


def test_two_years_of_one_coverage_are_compared(ordered: Path) -> None:
    process = AreaStatistics({"name": "area-statistics", "configuration": str(ordered)})
    _, document = process.execute({"aoi": AREA, "year": 2018, "since": 2012})
    [change] = document["features"][0]["changes"]
    assert (change["from"]["value"], change["to"]["value"], change["percent"]) == (3, 1, 100)


def test_a_too_large_request_of_a_year_names_the_order_of_that_year(folder: Path, ordered: Path) -> None:
    document = read_configuration(ordered)
    document["resources"]["extract-product"] = read_configuration(ROOT / "pygeoapi-config.yml")["resources"][
        "extract-product"
    ]
    with TestClient(application(document, state={"dir": folder / "large"}), headers={"accept": "*/*"}) as client:
        answer = client.get(f"{ONE}/coverage?datetime=2018-01-01&width=20000&height=20000")
    assert (answer.status_code, answer.json()["order"]["body"]["inputs"]["year"]) == (413, 2018)


def test_what_is_no_time_is_refused(client: TestClient) -> None:
    for path in (VALUE, f"{ONE}/map?width=9", f"{tile_in(client)}?f=png"):
        answer = client.get(f"{path}&datetime=2018")
        assert (answer.status_code, "datetime" in answer.json()["detail"]) == (400, True)


def test_the_metadata_have_the_years_and_their_files(client: TestClient, folder: Path) -> None:
    document = client.get(ONE).json()
    assert document["extent"]["temporal"] == {
        "interval": [["2012-01-01T00:00:00Z", "2021-12-31T23:59:59Z"]],
        "grid": {
            "cellsCount": 3,
            "coordinates": ["2012-01-01T00:00:00Z", "2018-01-01T00:00:00Z", "2021-01-01T00:00:00Z"],
        },
    }
    links = {each["title"]: each["href"] for each in document["links"] if each["rel"] == "enclosure"}
    assert list(links) == [f"The whole as one file, {year}" for year in FILLED]
    paths = client.get("/openapi?f=json").json()["paths"]
    for year, href in zip(FILLED, links.values(), strict=True):
        path = href.removeprefix("https://maps.example.org/land")
        assert client.get(path).content == (folder / f"land-{year}.tif").read_bytes()
        assert path in paths
    assert client.get(f"{ONE}/files/land-2015.tif").status_code == 404


def test_a_replaced_file_of_an_earlier_year_is_served(tmp_path: Path) -> None:
    for year, value in FILLED.items():
        filled(tmp_path / f"land-{year}.tif", value)
    with client_of(tmp_path, data=str(tmp_path / "land-2021.tif"), years=years_in(tmp_path)) as client:
        tile = tile_in(client)
        before = client.get(f"{tile}?datetime=2018-01-01")
        assert client.get(f"{VALUE}&datetime=2018-01-01").json() == 1
        filled(tmp_path / "new.tif", 10).replace(tmp_path / "land-2018.tif")
        assert client.get(f"{VALUE}&datetime=2018-01-01").json() == 10
        after = client.get(f"{tile}?datetime=2018-01-01", headers={"if-none-match": before.headers["etag"]})
        assert pixels(after.content) == {(*by_value(CLASSES)[10].rgb, 255)}
        (tmp_path / "land-2012.tif").unlink()
        assert client.get(VALUE).status_code == 503


def test_values_of_all_years_have_the_limits_of_the_newest(tmp_path: Path) -> None:
    """So that a colour is one value: the newest year has 0 to 8, the other 4 alone."""
    newest = np.zeros((1, 300, 300), np.float32)
    newest[:, 150:] = 8
    written(tmp_path / "new.tif", newest)
    written(tmp_path / "old.tif", np.full((1, 300, 300), 4, np.float32))
    years = [{"year": year, "data": str(tmp_path / f"{name}.tif")} for year, name in ((2018, "old"), (2021, "new"))]
    bands = [{"name": "height"}]
    with client_of(tmp_path, data=str(tmp_path / "new.tif"), years=years, bands=bands) as client:
        picture = client.get(f"{ONE}/map?width=30&colormap_name=gray&datetime=2018-01-01&bgcolor=0xff0000")
        assert pixels(picture.content) - {(255, 0, 0, 255)} == {(128, 128, 128, 255)}
        assert client.get(f"{ONE}/coverage?subset=E(4900050),N(3099950)&datetime=2018-01-01").json() == 4


@pytest.mark.parametrize(
    ("years", "said"),
    [
        ({2021: "land-2021.tif", 2018: "narrow.tif"}, "years: 2018: narrow.tif is not on the grid of the others"),
        ({2021: "land-2021.tif", 2018: "beside.tif"}, "years: 2018: beside.tif is not on the grid of the others"),
        ({2018: "land-2018.tif"}, "years: the file of `data` is not among them"),
        ({2021: "land-2021.tif", 2018: "more/land-2021.tif"}, "a year or a name is twice"),
    ],
)
def test_files_that_do_not_fit_have_a_reason(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, years: dict[int, str], said: str
) -> None:
    (folder / "more").mkdir(exist_ok=True)
    filled(folder / "more" / "land-2021.tif", 2)
    gdal_cog(folder / "narrow.tif", np.full((700, 599), 2, np.uint8))
    moved = rasterio.Affine(SIDE, 0, WEST + SIDE / 2, 0, -SIDE, NORTH)
    filled(folder / "beside.tif", 2, transform=moved)
    entries = [{"year": year, "data": str(folder / name)} for year, name in years.items()]
    with client_of(tmp_path, data=str(folder / "land-2021.tif"), years=entries) as client:
        assert client.get(VALUE).status_code == 503
    assert said in caplog.text
