from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.features import geometry_mask
from rasterio.mask import mask
from rasterio.transform import from_origin
from rasterio.warp import reproject
from rasterio.warp import transform as transform_points

from products.area import Area, read_area
from products.classes import NODATA
from products.errors import BrokenSource, RequestTooLarge
from products.nations import Nation, find_nation
from products.nations.outline import outline_of
from products.raster.fill import centres_inside
from products.raster.statistics import count_changes, count_classes, same_grid

WHOLE = {"bbox": [14, 48, 25, 55]}
PARK = "Ojcowski National Park"


def counted(raster: Path, area: Area) -> tuple[NDArray[np.int64], int]:
    """Count all pixels of the area independently: with finer edges, rasterio's transformation, one mask."""
    fine = shapely.segmentize(area.geometry, 0.0005)
    outline = shapely.transform(
        fine, lambda points: np.column_stack(transform_points("EPSG:4326", "EPSG:3035", *points.T))
    )
    with rasterio.open(raster) as source:
        pixels, transform = mask(source, [outline], crop=True, filled=True, nodata=NODATA)
    inside = ~geometry_mask([outline], pixels.shape[1:], transform)
    return np.bincount(pixels.ravel(), minlength=256)[:NODATA], int(inside.sum())


def test_every_park_has_the_counts_of_an_independent_program(raster: Path, parks: dict[str, Area]) -> None:
    assert len(parks) == 9
    for name, area in parks.items():
        counts = count_classes(raster, area)
        expected, inside = counted(raster, area)
        assert counts.exact
        assert counts.pixels[:NODATA].tolist() == expected.tolist(), name
        assert counts.pixels.sum() == inside, name
        assert counts.square_metres.tolist() == (counts.pixels * 100).tolist(), name
        assert not counts.margin.any(), name
        assert counts.square_metres.sum() / 1e6 == pytest.approx(area.km2, rel=3e-4), name


def test_pixels_outside_of_the_raster_have_no_data(raster: Path) -> None:
    area = read_area({"bbox": [0, 0, 1, 1]})
    counts = count_classes(raster, area)
    assert counts.pixels[:NODATA].sum() == 0
    assert counts.square_metres[NODATA] / 1e6 == pytest.approx(area.km2)
    whole = read_area(WHOLE)
    counts = count_classes(raster, whole)
    assert counts.exact
    assert counts.square_metres.sum() / 1e6 == pytest.approx(whole.km2, rel=1e-5)
    with rasterio.open(raster) as source:
        assert counts.pixels[:NODATA].sum() > 11_000_000
        assert counts.square_metres[NODATA] > source.width * source.height * 100 / 1e6


def test_an_overview_is_read_above_the_bound_with_its_margin(raster: Path) -> None:
    poland = outline_of(_poland())
    full = count_classes(raster, poland)
    held = []
    for most in (8_000_000, 4_000_000, 2_000_000, 600_000):
        counts = count_classes(raster, poland, most=most, checked=24)
        assert (counts.exact, counts.checked) == (False, 24)
        assert counts.overview > 1
        some = full.pixels > 0
        off = np.abs(counts.square_metres - full.square_metres)
        assert off.max() > 0
        assert counts.square_metres.sum() == pytest.approx(full.square_metres.sum(), rel=1e-3)
        held += (off <= counts.margin)[some].tolist()
        assert counts.margin[:NODATA].max() < full.square_metres[:NODATA].sum() / 2
    assert np.mean(held) >= 0.95


def test_the_finest_overview_within_the_bound_is_read(raster: Path, parks: dict[str, Area]) -> None:
    area = parks["Białowieski National Park"]
    read = [count_classes(raster, area, most=most).overview for most in (10**9, 3_000_000, 1_000_000, 300_000)]
    assert read == sorted(read)
    assert read[0] == 1
    assert len(set(read)) > 2


def test_a_raster_without_overviews_is_refused_above_the_bound(tmp_path: Path) -> None:
    cog = _write(tmp_path / "a.tif", np.ones((2048, 2048), np.uint8), overviews="none")
    with pytest.raises(RequestTooLarge, match="1,000,000"):
        count_classes(cog, read_area(WHOLE), most=1_000_000)


@pytest.mark.parametrize("epsg", [3857, 4326, 2180, 32631])
def test_the_area_is_that_of_the_ellipsoid_in_every_crs(
    raster: Path, parks: dict[str, Area], tmp_path: Path, epsg: int
) -> None:
    """The area in Web Mercator is 2.4 times as large; Poland is far from the meridian of EPSG:32631."""
    area = parks[PARK]
    expected = count_classes(raster, area)
    counts = count_classes(_warped(raster, area, epsg, tmp_path / "warped.tif"), area)
    assert counts.exact
    assert counts.square_metres.sum() / 1e6 == pytest.approx(area.km2, rel=1e-3)
    assert counts.square_metres == pytest.approx(expected.square_metres, abs=0.01 * area.km2 * 1e6)
    assert counts.square_metres[NODATA] == 0


@pytest.mark.parametrize("block", [128, 512, 1024])
@pytest.mark.parametrize("side", [2048, 1537])
def test_each_pixel_is_counted_with_blocks_of_any_size(tmp_path: Path, block: int, side: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 4, (side, side), np.uint8)
    cog = _write(tmp_path / "a.tif", pixels, blocksize=block)
    counts = count_classes(cog, read_area(WHOLE))
    assert counts.pixels[:NODATA].tolist() == np.bincount(pixels.ravel(), minlength=256)[:NODATA].tolist()
    coarse = count_classes(cog, read_area(WHOLE), most=4 * 512**2)
    assert coarse.overview == 2
    assert coarse.pixels[:NODATA].sum() == pytest.approx(side**2, rel=0.01)


def test_the_centres_inside_are_those_of_a_mask() -> None:
    transform = from_origin(4_900_000, 3_100_000, 10, 10)
    holed = shapely.Point(4_905_000, 3_095_000).buffer(4001).difference(shapely.Point(4_904_000, 3_096_000).buffer(777))
    many = shapely.MultiPolygon([holed, shapely.Point(4_909_500, 3_090_700).buffer(312)])
    for outline in (holed, many):
        assert centres_inside(outline, transform) == (~geometry_mask([outline], (1024, 1024), transform)).sum() > 10_000


def test_changes_are_pairs_of_pixels(tmp_path: Path) -> None:
    before = np.random.default_rng(1).integers(1, 4, (1100, 1100), np.uint8)
    after = before.copy()
    after[:600, :600][before[:600, :600] == 1] = 10
    before[700:] = NODATA
    paths = _write(tmp_path / "a.tif", before, sparse_ok=True), _write(tmp_path / "b.tif", after)
    changes = count_changes(paths, read_area(WHOLE))
    expected = np.bincount(before.ravel() * np.uint16(256) + after.ravel(), minlength=65536).reshape(256, 256)
    expected[NODATA, NODATA] = changes.pixels[NODATA, NODATA]
    assert changes.pixels.tolist() == expected.tolist()
    assert changes.square_metres[1, 10] == 100 * changes.pixels[1, 10] > 0
    assert changes.pixels[NODATA].sum() > 100_000
    assert count_changes(paths, read_area(WHOLE), most=512**2).overview == 4


def test_rasters_on_different_grids_are_detected(raster: Path, tmp_path: Path) -> None:
    one = _write(tmp_path / "a.tif", np.ones((1024, 1024), np.uint8))
    assert same_grid(one, _write(tmp_path / "b.tif", np.full((1024, 1024), 2, np.uint8)))
    assert not same_grid(one, _write(tmp_path / "c.tif", np.ones((1024, 1023), np.uint8)))
    assert not same_grid(one, _write(tmp_path / "d.tif", np.ones((1023, 1024), np.uint8)))
    assert not same_grid(one, raster)


def test_a_broken_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(BrokenSource, match=r"text\.tif"):
        count_classes(tmp_path / "text.tif", read_area(WHOLE))


def _poland() -> Nation:
    poland = find_nation("poland")
    assert poland
    return poland


def _write(path: Path, pixels: NDArray[np.uint8], **options: object) -> Path:
    height, width = pixels.shape
    place = {"crs": "EPSG:3035", "transform": from_origin(4_900_000, 3_100_000, 10, 10)}
    settings = {"blocksize": 512, "overview_resampling": "mode", "nodata": NODATA} | place | options
    with rasterio.open(
        path, "w", driver="COG", width=width, height=height, count=1, dtype="uint8", **settings
    ) as target:
        target.write(pixels, 1)
    return path


def _warped(raster: Path, area: Area, epsg: int, path: Path) -> Path:
    """Write the surroundings of an area in another CRS, at about 10 m."""
    west, south, east, north = area.project(epsg).bounds
    side = {4326: 0.0001, 3857: 15}.get(epsg, 10)
    width, height = int((east - west) / side) + 40, int((north - south) / side) + 40
    transform = from_origin(west - 20 * side, north + 20 * side, side, side)
    pixels = np.full((height, width), NODATA, np.uint8)
    with rasterio.open(raster) as source:
        reproject(
            rasterio.band(source, 1),
            pixels,
            dst_transform=transform,
            dst_crs=f"EPSG:{epsg}",
            dst_nodata=NODATA,
            resampling=Resampling.nearest,
        )
    return _write(path, pixels, crs=f"EPSG:{epsg}", transform=transform)
