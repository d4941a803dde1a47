"""The pixels inside an outline, as a whole and by quarters, compared with another library."""

from itertools import pairwise

import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import geometry_mask

from products.raster.fill import Part, centres_inside

_SIDE = 256
_GRID = Affine(10, 0, 4_000_003, 0, -10, 3_000_007)
_BOX = (4_000_003, 3_000_007 - 10 * _SIDE, 4_000_003 + 10 * _SIDE, 3_000_007)


def _mosaic(part: Part | None, box: tuple[float, float, float, float], side: int, least: int) -> NDArray[np.bool_]:
    """Return the mask of a box, assembled from those of its quarters of `least` pixels."""
    west, south, east, north = box
    if part is None:
        return np.zeros((side, side), bool)
    if side == least:
        return part.mask(Affine(10, 0, west, 0, -10, north), (side, side))
    x, y, half = (west + east) / 2, (south + north) / 2, side // 2
    quarters = [[(west, y, x, north), (x, y, east, north)], [(west, south, x, y), (x, south, east, y)]]
    return np.block([[_mosaic(part.within(each), each, half, least) for each in row] for row in quarters])


def _star(chance: np.random.Generator, vertices: int) -> shapely.Polygon:
    angle = np.sort(chance.uniform(0, 2 * np.pi, vertices))
    radius = chance.uniform(200, 2_000, vertices)
    x, y = 4_000_003 + chance.uniform(0, 2_560), 3_000_007 - chance.uniform(0, 2_560)
    return shapely.Polygon(np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)]))


def _outlines() -> list[shapely.Geometry]:
    chance = np.random.default_rng(20261129)
    stars = [star for star in (_star(chance, count) for count in (3, 4, 7, 20, 100, 1_000) * 4) if star.is_valid]
    more = [one.difference(other) for one, other in pairwise(stars)]
    more += [shapely.union(one, other) for one, other in pairwise(stars)]
    return [outline for outline in stars + more if outline.geom_type in {"Polygon", "MultiPolygon"} and outline.area]


@pytest.mark.parametrize("number", range(12))
def test_a_mask_equals_that_of_gdal_whole_and_by_quarters(number: int) -> None:
    outlines = _outlines()
    outline = outlines[number * 7 % len(outlines)]
    expected = ~geometry_mask([outline], (_SIDE, _SIDE), _GRID)
    part = Part.of(outline)
    assert (part.mask(_GRID, (_SIDE, _SIDE)) == expected).all()
    for least in (128, 16):
        assert (_mosaic(part.within(_BOX), _BOX, _SIDE, least) == expected).all()


@pytest.mark.parametrize("low", [2_997_499.0, 2_998_727.0, 2_999_207.0])
@pytest.mark.parametrize("stairs", [False, True])
def test_an_edge_along_a_row_ends_what_it_crosses(low: float, *, stairs: bool) -> None:
    """Such edges are those of a box in longitude and latitude in Mercator; no other edge is in the boxes they cross."""
    outline: shapely.Geometry = shapely.box(3_990_000, low, 4_010_000, low + 777)
    if stairs:
        outline = outline.union(shapely.box(3_980_000, low + 777, 3_995_000, low + 900)).difference(
            shapely.box(4_005_000, low + 300, 4_020_000, low + 500)
        )
    expected = ~geometry_mask([outline], (_SIDE, _SIDE), _GRID)
    for least in (128, 64, 16):
        found = _mosaic(Part.of(outline).within(_BOX), _BOX, _SIDE, least)
        np.testing.assert_array_equal(found, expected)


def test_areas_with_common_edges_divide_the_pixels() -> None:
    """Their edges cross the centres of pixels."""
    centre = 4_000_003 + 5.0
    for step in (10, 20, 70):
        columns = [
            shapely.box(west, 2_990_000, west + step, 3_010_000)
            for west in np.arange(centre - 10 * step, centre + 3_000, step)
        ]
        rows = [
            shapely.box(3_990_000, south, 4_010_000, south + step)
            for south in np.arange(3_000_007 - 3_005, 3_000_007 + 200, step)
        ]
        for parts in (columns, rows):
            masks = [Part.of(each).mask(_GRID, (_SIDE, _SIDE)) for each in parts]
            assert (np.sum(masks, axis=0) == 1).all()


@pytest.mark.parametrize("lean", [0, 10, 400, -400, 1_000, -2_000, 4_000, -4_000, -9_000])
def test_slanted_stripes_divide_the_pixels(lean: float) -> None:
    """Edges cross centres of pixels, with slopes of whole columns per row, of whole rows per column, or others."""
    centre, north, height = 4_000_003 + 5.0, 3_000_007 + 395.0, 4_000
    stripes = [
        shapely.Polygon([(x, north), (x + 210, north), (x + 210 + lean, north - height), (x + lean, north - height)])
        for x in np.arange(centre - max(lean, 0) - 210, centre + 2_560 - min(lean, 0), 210)
    ]
    parts = [Part.of(each) for each in stripes]
    for masks in (
        [part.mask(_GRID, (_SIDE, _SIDE)) for part in parts],
        [_mosaic(part.within(_BOX), _BOX, _SIDE, 128) for part in parts],
    ):
        assert (np.sum(masks, axis=0) == 1).all()
    assert {centres_inside(each, _GRID) for each in stripes} == {21 * 400}


@pytest.mark.parametrize("teeth", [30, 1_500])
@pytest.mark.parametrize("lean", [0, 60, -450, 3_000])
def test_a_comb_of_teeth_finer_than_pixels_is_filled_as_gdal_does(teeth: int, lean: float) -> None:
    west, south, east, north = _BOX
    x, y = np.linspace(west + 33, east - 33, 4 * teeth), np.tile([0.0, 1, 1, 0], teeth)
    points = np.column_stack([x + lean * y, south + 400.3 + y * 1_777])
    comb = shapely.Polygon(np.vstack([points, [(east - 33, south + 9), (west + 33, south + 9)]]))
    assert comb.is_valid
    expected = ~geometry_mask([comb], (_SIDE, _SIDE), _GRID)
    np.testing.assert_array_equal(Part.of(comb).mask(_GRID, (_SIDE, _SIDE)), expected)
    around = Affine(10, 0, west - 10_000, 0, -10, north + 1_000)
    assert centres_inside(comb, _GRID) == (~geometry_mask([comb], (500, 2_500), around)).sum()


def test_a_box_without_an_edge_is_filled_or_empty() -> None:
    ring = shapely.box(*_BOX).buffer(5_000).difference(shapely.box(*_BOX).buffer(1_000))
    hole, around = Part.of(ring), Part.of(shapely.box(*_BOX).buffer(5_000))
    assert hole.within(_BOX) is None
    part = around.within(_BOX)
    assert part is not None
    assert part.whole
    again = part.within((_BOX[0], _BOX[1], _BOX[0] + 10, _BOX[1] + 10))
    assert again is not None
    assert again.mask(_GRID, (3, 3)).all()
    assert Part.of(shapely.box(0, 0, 1, 1)).within(_BOX) is None
    assert Part.of(shapely.MultiPolygon()).within(_BOX) is None


def test_the_pixels_of_an_endless_grid_are_counted() -> None:
    for outline in _outlines()[:20]:
        far = Affine(10, 0, _GRID.c - 3_000, 0, -10, _GRID.f + 3_000)
        assert centres_inside(outline, _GRID) == (~geometry_mask([outline], (900, 900), far)).sum()


@pytest.mark.parametrize("number", range(6))
def test_points_are_inside_as_in_geos(number: int) -> None:
    outline = _outlines()[number * 5]
    west, south, east, north = outline.buffer(50).bounds
    points = np.random.default_rng(number).uniform((west, south), (east, north), (20_000, 2))
    assert (Part.of(outline).holds(points) == shapely.contains_xy(outline, points)).all()


@pytest.mark.parametrize("height", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("teeth", [3, 129, 2_000])
def test_points_at_the_height_of_many_edges_are_inside(height: float, teeth: int) -> None:
    """The outline is a bar with teeth and a hole; points are on the sides of the teeth, inside and beside them."""
    x = np.arange(teeth, dtype=float)
    comb = shapely.union_all([*shapely.box(2 * x, 0, 2 * x + 1, 1), shapely.box(0, -2, 2 * teeth, 0)])
    part = Part.of(comb.difference(shapely.box(0.5, -1.5, 2 * teeth - 0.5, -0.5)))
    across = np.linspace(0, 2 * teeth, 4 * teeth + 1)[np.arange(6_000) * 7 % (4 * teeth + 1)]
    inside = across < 2 * teeth
    found = part.holds(np.column_stack([across, np.full(len(across), height)]))
    np.testing.assert_array_equal(found, inside & (across % 2 < 1) if height else inside)
    found = part.holds(np.column_stack([across, np.full(len(across), -1.0)]))
    np.testing.assert_array_equal(found, inside & ((across < 0.5) | (across >= 2 * teeth - 0.5)))


def test_points_on_the_boundary_of_two_parts_are_inside_once() -> None:
    """Boxes with common sides: a point on a side belongs to the box to the right or below."""
    points = np.array([(x, y) for x in range(6) for y in range(6)] * 1_000, float)
    boxes = [Part.of(shapely.box(x, y, x + 1, y + 1)).holds(points[:36]) for x in range(5) for y in range(5)]
    assert np.sum(boxes, axis=0).tolist() == [int(x < 5 and y > 0) for x, y in points[:36]]
    comb = shapely.union_all(shapely.box(np.arange(0, 5, 2), 0, np.arange(1, 6, 2), 5))
    assert Part.of(comb).holds(points).tolist() == [int(x) % 2 == 0 and x < 5 and y > 0 for x, y in points.tolist()]
    assert not Part.of(comb).holds(np.zeros((0, 2))).size
