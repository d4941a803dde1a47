"""Boxes in another CRS than the features: the part of an extent that they cover, also of invalid extents."""

import pytest
import shapely

from plugins.crs import CRS84, Box, crs_of
from plugins.geojson import area_of
from products.operation import Bounds

WARSAW = (21.0, 52.2)
SVALBARD = (16.0, 78.5)


@pytest.mark.parametrize(
    "extent",
    [
        (-180, -90, 180, 90),
        (-1e9, -1e9, 1e9, 1e9),
        (-200, -100, 200, 100),
        (0, 0, 1e30, 91),
        (16, 52, 21, 1e9),
        (16, 52, 21.5, 90),
    ],
)
@pytest.mark.parametrize(
    ("bbox", "epsg", "there"),
    [
        ((5_000_000, 3_200_000, 5_150_000, 3_400_000), 3035, WARSAW),
        ((4_300_000, 5_900_000, 4_700_000, 6_400_000), 3035, SVALBARD),
        ((2_300_000, 6_800_000, 2_400_000, 6_900_000), 3857, WARSAW),
        ((500_000, 400_000, 800_000, 600_000), 2180, WARSAW),
        ((-1e9, -1e9, 1e9, 1e9), 3857, WARSAW),
    ],
)
def test_a_box_covers_its_part_of_an_extent_with_damaged_features(
    extent: Bounds, bbox: Bounds, epsg: int, there: tuple[float, float]
) -> None:
    """One feature at 1e9 degrees, or one at a pole, must not hide the others from a box in metres."""
    area = area_of([Box(bbox, crs_of(epsg))], Box(extent, CRS84))
    assert area.is_valid
    assert shapely.contains_xy(area, *there)


def test_a_box_far_from_the_extent_covers_nothing_of_it() -> None:
    poles = Box((-170, -90, -160, -89), CRS84)
    small = Box((2_170_000, 6_380_000, 2_170_000.3, 6_380_000.3), crs_of(3035))
    assert not shapely.intersects(area_of([small], poles), shapely.box(*poles.bbox))
