"""Features are cut with what of an outline is near them as they are with all of it, at a cost that is linear in it."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import shapely

from bench.areas import SHAPES
from products.vector.clip import Clip

_SIDE = 1_000


def _outline(name: str, vertices: int) -> shapely.MultiPolygon:
    """Return a shape that reaches over most of 1,000 by 1,000 and has a point every few units, as densified ones do."""
    polygons = shapely.multipolygons(list(map(shapely.Polygon, SHAPES[name](vertices))))
    west, south, east, north = polygons.bounds
    scale = _SIDE / np.array([east - west, north - south])
    moved = shapely.transform(polygons, lambda points: (points - (west, south)) * scale)
    dense: shapely.MultiPolygon = shapely.segmentize(moved, 20)
    return dense


def _features(count: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """Return boxes, some of them large, with holes and of several parts, within and round 1,000 by 1,000."""
    chance = np.random.default_rng(seed)
    x, y = chance.uniform(-50, _SIDE, (2, count))
    width, height = chance.choice([2, 10, 50, 400], (2, count), p=[0.4, 0.4, 0.17, 0.03])
    boxes = shapely.box(x, y, x + width, y + height)
    holes = shapely.box(x + width / 4, y + height / 4, x + width / 2, y + height / 2)
    boxes[::3] = shapely.difference(boxes[::3], holes[::3])
    boxes[1::3] = shapely.union(boxes[1::3], shapely.box(x[1::3] + 2 * width[1::3], y[1::3], x[1::3] + 60, y[1::3] + 3))
    return np.asarray(boxes)


@pytest.mark.parametrize("name", [*SHAPES, "with holes"])
def test_features_are_cut_as_with_all_of_the_outline(name: str) -> None:
    if name == "with holes":
        outline = shapely.box(0, 0, _SIDE, _SIDE).difference(_outline("parts", 2_000))
    else:
        outline = _outline(name, 600)
    features = _features(150, len(name))
    expected = shapely.intersection(features, outline)
    clip = Clip.of(outline)
    found = clip.cut(features)
    assert shapely.is_valid(found).all()
    assert np.abs(shapely.area(found) - shapely.area(expected)).max() < 1e-6
    assert shapely.area(shapely.symmetric_difference(found, expected)).max() < 1e-6
    assert 0 < shapely.area(found).sum() < shapely.area(features).sum()
    assert (clip.meets(features) == (shapely.area(expected) > 0)).all()
    meeting, inside = clip.relate(features)
    assert (meeting == shapely.intersects(outline, features)).all()
    assert (inside == shapely.contains_properly(outline, features)).all()


def test_what_only_touches_the_outline_has_no_surface_in_it() -> None:
    outline = shapely.box(0, 0, 10, 10).difference(shapely.box(4, 4, 6, 6))
    beside = np.array([shapely.box(10, 0, 12, 2), shapely.box(10, 10, 11, 11), shapely.box(4, 4, 6, 6)])
    clip = Clip.of(shapely.segmentize(outline, 0.01))
    assert shapely.is_empty(clip.cut(beside)).all()
    assert not clip.meets(beside).any()
    meeting, inside = clip.relate(beside)
    assert meeting.all()
    assert not inside.any()


def test_nothing_meets_an_empty_outline() -> None:
    clip = Clip.of(shapely.MultiPolygon())
    assert shapely.is_empty(clip.cut(_features(3, 1))).all()
    assert not clip.meets(_features(3, 1)).any()


def _seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def test_a_feature_costs_what_is_near_it_of_many_vertices() -> None:
    """All 250,000 for each of the features took 20 times as long."""
    outline = _outline("comb", 20_000)
    x, y = np.random.default_rng(1).uniform(0, _SIDE - 10, (2, 1_000))
    features = shapely.box(x, y, x + 1, y + 1)
    clip = Clip.of(outline)
    for work in (clip.cut, clip.meets, clip.relate):
        assert _seconds(partial(work, features)) < 5
