from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pygeoapi.api.collection import gen_collection
from pygeoapi.plugin import load_plugin
from pygeoapi.provider.base import ProviderConnectionError

from plugins.cog import CogProvider
from plugins.crs import CRS84, Box, crs_of
from products.area import read_area
from products.classes import CLASSES
from products.errors import RequestTooLarge
from products.progress import unheard
from products.raster.extract import extract_raster
from products.raster.statistics import count_classes
from tests.odd.rasters import (
    PLACES,
    classes,
    gdal_cog,
    masked_beside,
    place_of,
    plain,
    rio_cog,
    with_alpha,
    with_overviews_beside,
)

SOURCE = Path(__file__).parents[2] / "sample" / "clcplus_2023_parks.tif"
TILED: dict[str, Any] = {"tiled": True, "blockxsize": 256, "blockysize": 256}


def provider(path: Path = SOURCE) -> CogProvider:
    made = load_plugin("provider", {"type": "coverage", "name": "plugins.cog.CogProvider", "data": str(path)})
    assert isinstance(made, CogProvider)
    return made


def test_our_patch_is_the_function_that_pygeoapi_calls() -> None:
    """pygeoapi uses `_coverage_properties` nowhere else."""
    assert "_coverage_properties" in gen_collection.__code__.co_names


def test_the_provider_has_the_grid_of_its_file() -> None:
    cog = provider()
    with rasterio.open(SOURCE) as source:
        assert (cog.grid.width, cog.grid.height) == (source.width, source.height)
        assert cog.whole.bbox == tuple(source.bounds)
    assert cog.native == crs_of(3035)
    assert cog.storage_crs_uri == "http://www.opengis.net/def/crs/EPSG/0/3035"
    assert cog.crs_list[0] == cog.storage_crs_uri
    assert CRS84.uri in cog.crs_list


def test_the_field_has_codes_and_names() -> None:
    classes = provider().fields["class"]["oneOf"]
    assert [(entry["const"], entry["title"]) for entry in classes] == [(entry.value, entry.name) for entry in CLASSES]


@pytest.mark.parametrize("content", [None, b"", b"II*\0 not quite a GeoTIFF"])
def test_a_broken_file_is_noticed_when_it_is_used(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.tif"
    if content is not None:
        path.write_bytes(content)
    cog = provider(path)
    with pytest.raises(ProviderConnectionError):
        cog.get_fields()
    with pytest.raises(ProviderConnectionError):
        cog.read(Box((0, 0, 1, 1), CRS84), (1, 1))


def test_the_default_size_is_about_that_of_the_source() -> None:
    cog = provider()
    assert cog.size_of(cog.whole) == (cog.grid.width, cog.grid.height)
    width, height = cog.size_of(cog.whole.to(CRS84))
    assert width == pytest.approx(65_000, rel=0.05)
    assert height == pytest.approx(54_000, rel=0.05)
    mercator = cog.size_of(cog.whole.to(crs_of(3857)))
    assert mercator == pytest.approx((width, height), rel=0.02)


def test_a_box_snaps_outwards_to_whole_pixels() -> None:
    cog = provider()
    snapped = cog.snap(Box((5_006_003, 2_986_001, 5_006_017, 2_986_008), cog.native))
    assert snapped == Box((5_006_000, 2_986_000, 5_006_020, 2_986_010), cog.native)
    beyond = Box((5_906_003, 2_986_001, 5_906_017, 2_986_008), cog.native)
    assert cog.snap(beyond) is None
    exact = Box((5_006_000, 2_986_000, 5_006_010, 2_986_010), cog.native)
    assert cog.snap(exact) == exact


def test_more_pixels_than_the_limit_are_never_read() -> None:
    cog = provider()
    with pytest.raises(RequestTooLarge):
        cog.read(cog.whole, (cog.grid.width, cog.grid.height))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd rasters")


@pytest.mark.parametrize("epsg", PLACES)
def test_a_box_at_its_own_scale_has_exactly_its_pixels_in_every_system(folder: Path, epsg: int) -> None:
    """1,030 x 773 pixels are not divisible: no overview has square pixels."""
    values = classes(773, 1030)
    cog = provider(gdal_cog(folder / f"{epsg}.tif", values, epsg))
    assert cog.size_of(cog.whole) == (1030, 773)
    side, west, north = PLACES[epsg]
    asked = Box((west + 100.4 * side, north - 300.4 * side, west + 219.6 * side, north - 180.4 * side), cog.native)
    box = cog.snap(asked)
    assert box is not None
    assert box.bbox == pytest.approx(
        (west + 100 * side, north - 301 * side, west + 220 * side, north - 180 * side), rel=1e-9
    )
    assert cog.size_of(box) == (120, 121)
    np.testing.assert_array_equal(cog.read(box, (120, 121)).codes, values[180:301, 100:220])
    for size in ((515, 386), (257, 193)):
        assert set(np.unique(cog.read(cog.whole, size).codes)) <= {*range(1, 12)}


@pytest.mark.parametrize(
    ("epsg", "nominal", "ground"),
    [
        (3035, 10, 10),
        (25832, 20, 20),
        (4326, 9.2766, 9.2766),
        (4258, 9.2766, 9.2766),
        (2263, 9.1440, 9.1440),  # 30 feet of the US survey
        (3857, 10, 6.4627),  # at 49.7 degrees
    ],
)
def test_the_size_of_a_pixel_is_in_metres(folder: Path, epsg: int, nominal: float, ground: float) -> None:
    cog = provider(gdal_cog(folder / f"{epsg} metres.tif", classes(773, 1030), epsg))
    assert cog.scale_denominator == pytest.approx(nominal / 0.00028, rel=1e-4)
    assert cog.grid.metres == pytest.approx(ground, rel=1e-3)


@pytest.mark.parametrize("epsg", [4326, 4258, 3857, 2180])
def test_a_size_in_another_system_is_that_of_the_pixels_there(folder: Path, epsg: int) -> None:
    """100 of its pixels along each side, in degrees: in any system about 100 x 100."""
    cog = provider(gdal_cog(folder / f"{epsg} there.tif", classes(773, 1030), epsg))
    west, south, _, _ = cog.whole.bbox
    side = cog.grid.resolution
    box = Box((west + 300 * side, south + 300 * side, west + 400 * side, south + 400 * side), cog.native)
    for there in (CRS84, crs_of(3857)):
        assert cog.size_of(box.to(there)) == pytest.approx((100, 100), abs=5)


def test_pixels_that_differ_by_a_millionth_are_square(folder: Path) -> None:
    """Real grids have steps such as 8.333333333333425e-05 and ...156e-05; a difference of a percent is refused."""
    for name, height in (("real", 8.333333333333156e-05), ("millionth", 8.3333e-05 * (1 + 9e-7)), ("off", 8.4e-05)):
        side = 8.333333333333425e-05 if name == "real" else 8.3333e-05
        path = plain(
            folder / f"{name}.tif", classes(512, 512), 4326, transform=Affine(side, 0, 9, 0, -height, 50), **TILED
        )
        if name == "off":
            with pytest.raises(ProviderConnectionError, match="not square"):
                provider(path).get_fields()
        else:
            assert provider(path).size_of(provider(path).whole) == (512, 512)


def masked(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(values == 3, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("maker", ["inside", "rio-cogeo", "GDAL", "nodata 3", "no nodata", "nodata 255"])
def test_no_data_becomes_255_and_255_never_becomes_254(folder: Path, maker: str) -> None:
    values = classes(513, 700)
    values[:8, :8] = 255
    path, mask = folder / f"{maker}.tif", masked(values)
    match maker:
        case "inside":
            plain(path, values, mask=mask, **TILED)
        case "rio-cogeo":
            rio_cog(path, values, source={"mask": mask})
        case "GDAL":
            gdal_cog(path, values, mask=mask, nodata=None)
        case "nodata 3":
            plain(path, values, nodata=3, **TILED)
        case "no nodata":
            plain(path, values, **TILED)
        case _:
            plain(path, values, nodata=255, **TILED)
    expected = values if "255" in maker or maker == "no nodata" else np.where(values == 3, 255, values)
    cog = provider(path)
    np.testing.assert_array_equal(cog.read(cog.whole, (700, 513)).codes, expected)
    there = cog.read(cog.whole.to(CRS84), (700, 513)).codes
    assert set(np.unique(there)) == set(np.unique(expected))
    west, south, east, north = cog.whole.to(CRS84).bbox
    area = read_area({"bbox": [west - 1, south - 1, east + 1, north + 1]})
    counts = np.bincount(expected.ravel(), minlength=256)
    assert count_classes(path, area).pixels[:255].tolist() == counts[:255].tolist()
    extract_raster(path, area, folder, name=f"{maker} cut", report=unheard)
    with rasterio.open(folder / f"{maker} cut.tif") as cut:
        np.testing.assert_array_equal(cut.read(1), expected)


@pytest.mark.parametrize(
    ("maker", "said"),
    [
        (lambda path, values: masked_beside(path, values, masked(values)), "its mask is in a file of its own"),
        (lambda path, values: with_alpha(path, values, masked(values)), "2 bands of uint8"),
        (lambda path, values: plain(path, values, scaled=(2, 0), **TILED), "a scale or an offset"),
        (lambda path, values: plain(path, values, scaled=(1, 5), **TILED), "a scale or an offset"),
        (lambda path, values: plain(path, values, transform=place_of(3035) @ Affine.rotation(3)), "north up"),
        (lambda path, values: plain(path, values, transform=place_of(3035) @ Affine.scale(1, -1)), "north up"),
        (lambda path, values: plain(path, values, None), "no CRS"),
        (lambda path, values: plain(path, values, 4979, transform=place_of(4326)), "no CRS"),  # three axes
    ],
)
def test_unsupported_arguments_are_refused(
    tmp_path: Path, maker: Callable[[Path, NDArray[np.uint8]], Path], said: str
) -> None:
    with pytest.raises(ProviderConnectionError, match=said):
        provider(maker(tmp_path / "odd.tif", classes(512, 512))).get_fields()


def test_overviews_beside_the_file_are_used(folder: Path) -> None:
    cog = provider(with_overviews_beside(folder / "beside.tif", classes(700, 900)))
    assert cog.grid.overviews == (2, 4)
    assert cog.read(cog.whole, (225, 175)).codes.shape == (175, 225)


def test_a_box_continues_across_the_antimeridian(folder: Path) -> None:
    """A raster of the world in degrees, one of the Pacific in metres: the same box across 180 degrees."""
    values = classes(180, 360)
    world = provider(
        plain(folder / "world.tif", values, 4326, transform=Affine(1, 0, -180, 0, -1, 90), nodata=255, **TILED)
    )
    box = Box((170, -10, 190, 10), CRS84)
    assert world.inside(box) == box
    assert world.size_of(box) == (20, 20)
    expected = np.hstack([values[80:100, 350:], values[80:100, :10]])
    np.testing.assert_array_equal(world.read(box, (20, 20)).codes, expected)
    np.testing.assert_array_equal(world.read(box.moved(-360), (20, 20)).codes, expected)
    mercator = world.read(box.to(crs_of(3857)), (20, 20)).codes
    np.testing.assert_array_equal(mercator[9:11], expected[9:11])
    assert box.as_written == (170, -10, -170, 10)
    pacific = provider(gdal_cog(folder / "pacific.tif", classes(773, 1030), 3832))
    west, _, east, _ = pacific.whole.to(CRS84).bbox
    assert west < 180 < east
    found = pacific.read(Box((179, 5, 181, 6), CRS84), (50, 25)).codes
    assert (found != 255).all()
    np.testing.assert_array_equal(pacific.read(Box((-181, 5, -179, 6), CRS84), (50, 25)).codes, found)
    assert pacific.inside(Box((-180.5, 5, -179.5, 6), CRS84)) == Box((-180.5, 5, -179.5, 6), CRS84)
    assert pacific.inside(Box((0, 5, 10, 6), CRS84)) is None
    x = pacific.whole.to(crs_of(3857)).bbox
    assert x[2] - x[0] == pytest.approx(1_030_000, rel=0.01)


def test_a_pole_is_the_limit_of_web_mercator(folder: Path) -> None:
    values = classes(180, 360)
    world = provider(
        plain(folder / "poles.tif", values, 4326, transform=Affine(1, 0, -180, 0, -1, 90), nodata=255, **TILED)
    )
    top = 20_048_966
    there = world.whole.to(crs_of(3857))
    assert there.bbox == pytest.approx((-20_037_508, -top, 20_037_508, top), abs=1)
    assert (world.read(there, (100, 100)).codes != 255).all()
    side = Affine(20_000, 0, -2_000_000, 0, -20_000, 2_000_000)
    arctic = provider(plain(folder / "arctic.tif", classes(200, 200), 3995, transform=side, nodata=255, **TILED))
    assert arctic.whole.to(crs_of(3857)).bbox[3] == pytest.approx(top, abs=1)
    assert arctic.whole.to(CRS84).bbox[3] == 90
    with pytest.raises(ValueError, match="outside of where that can be used"):
        Box((0, 86, 1, 90), CRS84).to(crs_of(3857))


def test_a_coverage_beyond_web_mercator_is_in_no_box_of_it(folder: Path) -> None:
    around = Affine(1_000, 0, 1_900_000, 0, -1_000, 2_100_000)  # 100 km from the pole to each side
    north = provider(plain(folder / "north.tif", classes(200, 200), 32661, transform=around, nodata=255, **TILED))
    box = Box((0, 18_000_000, 3_000_000, 20_000_000), crs_of(3857))
    assert north.inside(box) is None
    assert north.size_of(box) == (1, 1)
    assert (north.read(box, (30, 20)).codes == 255).all()
