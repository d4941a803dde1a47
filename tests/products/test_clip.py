"""A cut with the nearby parts of an outline equals one with all of it, at a cost linear in its size."""

from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.features import shapes
from shapely.affinity import scale

from bench.areas import SHAPES
from products.area import measure_area
from products.errors import AreaTooLarge
from products.vector.clip import Clip

_SIDE = 1_000


def _outline(name: str, vertices: int) -> shapely.MultiPolygon:
    """Return a shape over most of 1,000 by 1,000 with a point every few units, like a densified one."""
    polygons = shapely.multipolygons(list(map(shapely.Polygon, SHAPES[name](vertices))))
    west, south, east, north = polygons.bounds
    factor = _SIDE / np.array([east - west, north - south])
    moved = shapely.transform(polygons, lambda points: (points - (west, south)) * factor)
    dense: shapely.MultiPolygon = shapely.segmentize(moved, 20)
    return dense


def _with_holes(*, islands: bool) -> shapely.Geometry:
    """Return the square without many small polygons, with or without a smaller polygon in each of them."""
    holes = shapely.get_parts(_outline("parts", 2_000))
    inner = [scale(hole, 0.5, 0.5) for hole in holes] if islands else []
    return shapely.union_all([shapely.box(0, 0, _SIDE, _SIDE).difference(shapely.union_all(holes)), *inner])


def _features(count: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """Return boxes, some large, with holes or in several parts, inside and around 1,000 by 1,000."""
    chance = np.random.default_rng(seed)
    x, y = chance.uniform(-50, _SIDE, (2, count))
    width, height = chance.choice([2, 10, 50, 400], (2, count), p=[0.4, 0.4, 0.17, 0.03])
    boxes = shapely.box(x, y, x + width, y + height)
    holes = shapely.box(x + width / 4, y + height / 4, x + width / 2, y + height / 2)
    boxes[::3] = shapely.difference(boxes[::3], holes[::3])
    boxes[1::3] = shapely.union(boxes[1::3], shapely.box(x[1::3] + 2 * width[1::3], y[1::3], x[1::3] + 60, y[1::3] + 3))
    return np.asarray(boxes)


@pytest.mark.parametrize("name", [*SHAPES, "holes", "holes with islands"])
def test_features_are_cut_as_with_the_whole_outline(name: str) -> None:
    outline = _outline(name, 600) if name in SHAPES else _with_holes(islands="islands" in name)
    features = _features(150, len(name))
    expected = shapely.intersection(features, outline)
    clip = Clip.of(outline)
    found, _ = clip.cut(features)
    assert shapely.is_valid(found).all()
    assert np.abs(shapely.area(found) - shapely.area(expected)).max() < 1e-6
    assert shapely.area(shapely.symmetric_difference(found, expected)).max() < 1e-6
    assert 0 < shapely.area(found).sum() < shapely.area(features).sum()
    assert (clip.meets(features) == (shapely.area(expected) > 0)).all()
    meeting, inside = clip.relate(features)
    assert (meeting == shapely.intersects(outline, features)).all()
    assert (inside == shapely.contains_properly(outline, features)).all()


def test_features_that_only_touch_the_outline_have_no_area_in_it() -> None:
    outline = shapely.box(0, 0, 10, 10).difference(shapely.box(4, 4, 6, 6))
    beside = np.array([shapely.box(10, 0, 12, 2), shapely.box(10, 10, 11, 11), shapely.box(4, 4, 6, 6)])
    clip = Clip.of(shapely.segmentize(outline, 0.01))
    assert shapely.is_empty(clip.cut(beside)[0]).all()
    assert not clip.meets(beside).any()
    meeting, inside = clip.relate(beside)
    assert meeting.all()
    assert not inside.any()


@pytest.mark.parametrize("ulps", [-3, -2, -1, 0, 1, 2, 3])
@pytest.mark.parametrize("west", [3.0, 18.505158407254054, 4_612_340.0])
def test_sides_that_are_a_rounding_apart_make_no_part(west: float, ulps: int) -> None:
    """A part as narrow as that has no place for a point: whether it is in the outline cannot be said."""
    outline = shapely.Polygon([(west, -3.3), (west + 12.7, -4.1), (west + 12.9, 9.6), (west, 9.1)])
    side = west + ulps * float(np.spacing(west))
    feature = np.array([shapely.box(side, 1, west + 2, 2), shapely.box(west - 2, 1, side, 2)])
    found, _ = Clip.of(outline).cut(feature)
    assert shapely.is_valid(found).all()
    assert shapely.area(found) == pytest.approx([2, 0], abs=1e-8)
    assert shapely.get_num_geometries(found[0]) == 1


def test_an_empty_outline_has_no_features() -> None:
    clip = Clip.of(shapely.MultiPolygon())
    assert shapely.is_empty(clip.cut(_features(3, 1))[0]).all()
    assert not clip.meets(_features(3, 1)).any()


@pytest.mark.parametrize("name", SHAPES)
def test_an_outline_with_too_many_pieces_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outline, features = _outline(name, 600), _features(150, 1)
    clip = Clip.of(outline)
    found, made = clip.cut(features)
    crossed = shapely.intersects(features, shapely.boundary(outline))
    assert 0 < made <= shapely.get_num_geometries(found[crossed]).sum()
    assert clip.cut(features, most=made)[1] == made
    with pytest.raises(AreaTooLarge, match="too many pieces"):
        clip.cut(features, most=made - 1)
    monkeypatch.setattr("products.vector.clip._CROSSINGS", 1)
    with pytest.raises(AreaTooLarge, match="too many pieces"):
        clip.cut(features)


@pytest.mark.parametrize("epsg", [3035, 3857, 32634])
def test_touching_parts_are_cut_in_place(epsg: int) -> None:
    """A corner of each triangle is on a side of another polygon: projected, they may overlap by nanometres."""
    chance = np.random.default_rng(3)
    parts = []
    for x, y in np.array([(19 + i / 100, 49 + j * 0.013) for i in range(9) for j in range(9)]):
        end, height = x + 0.009, chance.uniform(0.001, 0.004)
        along = chance.uniform(0.2, 0.8)
        corner = (x + 0.009 * along, y + height * along)
        parts.append(shapely.Polygon([(x, y), (end, y + height), (x + 0.008, y - 0.003), (x + 0.001, y - 0.003)]))
        parts.append(shapely.Polygon([corner, (x + 0.002, y + 0.0075), (x + 0.007, y + 0.0078)]))
    outline = measure_area(shapely.to_wkt(shapely.multipolygons(parts), rounding_precision=-1)).project(epsg)
    west, south, east, north = outline.bounds
    x, y = chance.uniform((west, south), (east, north), (60, 2)).T
    features = np.append(shapely.box(x, y, x + 900, y + 700), shapely.box(*outline.bounds))
    found, _ = Clip.of(outline).cut(features)
    assert shapely.is_valid(found).all()
    expected = sum(shapely.area(shapely.intersection(features, part)) for part in shapely.get_parts(outline))
    assert np.abs(shapely.area(found) - expected).max() < 1e-4


def test_features_are_compared_only_with_nearby_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing all 250,000 edges with each feature takes 20 times as long; the test counts GEOS's comparisons."""
    compared = 0
    counted: Any = shapely.intersects

    def intersects(features: np.ndarray[Any, Any], lines: np.ndarray[Any, Any]) -> Any:
        nonlocal compared
        compared += int(shapely.get_num_coordinates(lines).sum())
        return counted(features, lines)

    outline = _outline("comb", 20_000)
    x, y = np.random.default_rng(1).uniform(0, _SIDE - 10, (2, 1_000))
    features = shapely.box(x, y, x + 1, y + 1)
    clip = Clip.of(outline)
    monkeypatch.setattr("shapely.intersects", intersects)
    for work in (clip.meets, clip.relate):
        compared = 0
        work(features)
        assert 0 < compared < 500 * len(features)


@pytest.mark.parametrize("seed", range(6))
def test_odd_features_are_cut_as_geos_cuts_them(seed: int) -> None:
    """Stars of many spikes cut by stars, some with holes or in several parts, and geometries without an area."""
    chance = np.random.default_rng(seed)

    def star(size: float) -> shapely.Polygon:
        angle, (x, y) = np.sort(chance.uniform(0, 2 * np.pi, 60)), chance.uniform(0, _SIDE, 2)
        points = chance.uniform(size / 10, size, 60)[:, np.newaxis] * np.column_stack([np.cos(angle), np.sin(angle)])
        found: shapely.Polygon = shapely.Polygon(points + np.array([x, y])).buffer(0)
        return found

    outline = shapely.union_all([star(400) for _ in range(4)]).difference(
        shapely.union_all([star(90) for _ in range(9)])
    )
    features = np.array([shapely.union(star(150), star(40)).difference(star(60)) for _ in range(60)])
    clip = Clip.of(outline)
    expected = shapely.intersection(outline, features)
    found, _ = clip.cut(features)
    assert shapely.is_valid(found).all()
    assert shapely.area(shapely.symmetric_difference(found, expected)).max() < 1e-6
    assert (clip.meets(features) == (shapely.area(expected) > 0)).all()
    meeting, inside = clip.relate(features)
    assert (meeting == shapely.intersects(outline, features)).all()
    assert (inside == shapely.contains_properly(outline, features)).all()
    others = np.array([shapely.Point(0, 0), shapely.LineString([(0, 0), (_SIDE, _SIDE)]), shapely.Polygon(), None])
    assert shapely.is_empty(clip.cut(others)[0]).all()
    assert not clip.meets(others).any()


def _patches(seed: int, *, west: float, south: float, pixel: float) -> np.ndarray[Any, Any]:
    """Return polygons of pixels of five classes, whose shells and holes touch at corners of pixels."""
    chance = np.random.default_rng(seed)
    classes = np.where(chance.uniform(size=(60, 60)) < 0.65, 4, chance.integers(0, 4, (60, 60))).astype(np.uint8)
    placed = Affine.translation(west, south) @ Affine.scale(pixel, pixel)
    made = [shapely.geometry.shape(each) for each, _ in shapes(classes, transform=placed)]
    return np.array(made)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("epsg", "pixel"), [(4326, 0.0042), (5514, 311.0), (3857, 547.0)], ids=["degrees", "Krovak", "Mercator"]
)
def test_patches_of_pixels_in_other_systems_are_cut_as_geos_cuts_them(
    name: str, epsg: int, pixel: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where edges cross clearly, GEOS need not put parts together, though their boundaries touch themselves."""
    rings = [scale(shapely.Polygon(points), 0.8, 0.8, origin=(23.83, 52.76)) for points in SHAPES[name](800)]
    outline = measure_area(shapely.to_wkt(shapely.multipolygons(rings), rounding_precision=-1)).project(epsg)
    west, south, *_ = outline.bounds
    patches = _patches(epsg, west=west - 0.31 * pixel, south=south - 0.17 * pixel, pixel=pixel)
    assert shapely.get_num_interior_rings(patches).max() > 20
    whole = shapely.area(shapely.intersection(patches, outline))
    monkeypatch.setattr("shapely.polygonize", _no_more)
    monkeypatch.setattr("products.vector.overlay._LONG", 0)
    found, _ = Clip.of(outline).cut(patches)
    assert shapely.is_valid(found).all()
    assert np.abs(shapely.area(found) - whole).max() < 1e-9 * whole.sum()
    assert shapely.area(shapely.difference(found, patches)).max() < 1e-9 * whole.sum()
    assert shapely.area(shapely.difference(found, outline)).max() < 1e-9 * whole.sum()


def _no_more(lines: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    assert not len(lines)
    return np.array([], dtype=object)


def _steps(*, slope: float = 0) -> shapely.Polygon:
    """Return a square of 10 with three holes of 2 from corner to corner, which touch each other there."""
    steps = [shapely.box(low, low, low + 2, low + 2).exterior for low in (2, 4, 6)]
    square: shapely.Polygon = shapely.Polygon([(0, 0), (10, slope), (10, 10), (0, 10)], steps)
    return square


@pytest.mark.parametrize(
    ("outline", "areas"),
    [
        (shapely.box(3, -1, 7, 11), [16, 16]),  # the first and the last hole become sides: the second divides them
        (shapely.box(3, -1, 9.5, 11), [55]),
        (shapely.box(-1, 3, 9.5, 11), [56.5]),
        (shapely.box(-1, -1, 5, 5), [20]),
        (shapely.box(3, 3, 7, 11), [5, 16]),
        (shapely.box(3, -1, 7, 11) - shapely.box(5, 8, 6, 9), [15, 16]),
    ],
    ids=str,
)
def test_holes_that_touch_divide_a_part(
    outline: shapely.Polygon, areas: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a square of pixels, and of one that has an oblique side."""
    monkeypatch.setattr("products.vector.overlay._LONG", 0)
    features = np.array([_steps(), _steps(slope=-0.5)])
    found, _ = Clip.of(outline).cut(features)
    assert shapely.is_valid(found).all()
    assert sorted(shapely.area(shapely.get_parts(found[0]))) == pytest.approx(areas)
    expected = shapely.get_parts(shapely.intersection(features[1], outline))
    assert sorted(shapely.area(shapely.get_parts(found[1]))) == pytest.approx(sorted(shapely.area(expected)))


def test_a_hole_that_touches_sides_divides_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its corners are on the sides of two others, where these have none."""
    monkeypatch.setattr("products.vector.overlay._LONG", 0)
    holes = [shapely.box(2, 3, 4, 7), shapely.Polygon([(4, 5), (5, 4), (6, 5), (5, 6)]), shapely.box(6, 3, 8, 7)]
    feature = shapely.Polygon(shapely.box(0, 0, 10, 10).exterior, [hole.exterior for hole in holes])
    (found,), _ = Clip.of(shapely.box(3, -1, 7, 11)).cut(np.array([feature]))
    assert shapely.is_valid(found)
    assert shapely.area(shapely.get_parts(found)).tolist() == pytest.approx([15, 15])


def test_validity_of_many_holes_of_pixels_is_not_left_to_geos(monkeypatch: pytest.MonkeyPatch) -> None:
    """GEOS compares each hole with the whole shell: 0.4 of 2 s of an order that a star of 24,750 vertices cuts."""
    holes = shapely.box(*np.array([(x, y, x + 1, y + 1) for x in range(1, 60, 2) for y in range(1, 60, 2)]).T)
    field = np.array([shapely.Polygon(shapely.box(0, 0, 61, 61).exterior, shapely.get_exterior_ring(holes).tolist())])
    outline, asked = shapely.box(0.5, 0.3, 70, 70), []
    is_valid: Any = shapely.is_valid

    def valid(geometries: Any) -> Any:
        asked.append(shapely.get_num_interior_rings(shapely.get_parts(geometries)).sum())
        return is_valid(geometries)

    monkeypatch.setattr("products.vector.overlay._LONG", 1_000_000)
    monkeypatch.setattr("shapely.is_valid", valid)
    (found,), _ = Clip.of(outline).cut(field)
    assert sum(asked) == 0
    assert is_valid(found)
    assert found.area == pytest.approx(60.5 * 60.7 - 900)
    assert shapely.get_num_interior_rings(shapely.get_parts(found)).tolist() == [900]
