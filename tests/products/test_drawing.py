"""Geometries as commands of a vector tile: examples of the specification, and outlines that rounding makes invalid."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapely

from products.vector import mending
from products.vector.drawing import drawn
from products.vector.mending import mended
from products.vector.mvt import Encoder

WHOLE = (0.0, 0.0, 4096.0, 4096.0)


def drawn_at(*geometries: Any) -> dict[int, tuple[int, list[int]]]:
    """Return kind and commands of geometries whose y is downwards, as in a tile."""
    upwards = shapely.transform(np.array(geometries, dtype=object), lambda xy: xy * (1, -1) + (0, 4096))
    return {number: (kind, numbers(content)) for number, kind, content in drawn(upwards, WHOLE).commands()}


def numbers(content: bytes) -> list[int]:
    found, number, bits = list[int](), 0, 0
    for byte in content:
        number |= (byte & 127) << bits
        bits = bits + 7 if byte & 128 else 0
        if not byte & 128:
            found.append(number)
            number = 0
    return found


@pytest.mark.parametrize(("text", "kind", "commands"), [
    ("POINT (25 17)", 1, [9, 50, 34]),
    ("MULTIPOINT (5 7, 3 2)", 1, [17, 10, 14, 3, 9]),
    ("LINESTRING (2 2, 2 10, 10 10)", 2, [9, 4, 4, 18, 0, 16, 16, 0]),
    ("MULTILINESTRING ((2 2, 2 10, 10 10), (1 1, 3 5))", 2, [9, 4, 4, 18, 0, 16, 16, 0, 9, 17, 17, 10, 4, 8]),
    ("POLYGON ((3 6, 8 12, 20 34, 3 6))", 3, [9, 6, 12, 18, 10, 12, 24, 44, 15]),
    ("MULTIPOLYGON (((0 0,10 0,10 10,0 10,0 0)), ((11 11,20 11,20 20,11 20,11 11), (13 13,13 17,17 17,17 13,13 13)))",
     3,
     [9, 0, 0, 26, 20, 0, 0, 20, 19, 0, 15, 9, 22, 2, 26, 18, 0, 0, 18, 17, 0, 15, 9, 4, 13, 26, 0, 8, 8, 0, 0, 7, 15]),
])  # fmt: skip
def test_the_examples_of_the_specification(text: str, kind: int, commands: list[int]) -> None:
    """Those of Mapbox Vector Tile 2.1, 4.3.5; two features do not know each other's places."""
    one = shapely.from_wkt(text)
    found = drawn_at(one, shapely.Point(25, 17), shapely.reverse(one) if kind == 3 else one)
    assert found[0] == (kind, commands)
    assert found[1] == (1, [9, 50, 34])
    assert found[2][0] == kind
    assert len(found[2][1]) == len(commands)


def test_what_has_no_size_is_not_drawn_and_steps_on_a_line_are_one() -> None:
    texts = ("POLYGON ((1 1, 1.2 1, 1.2 1.2, 1 1))", "LINESTRING (1 1, 1.3 1.2)", "POINT EMPTY", "POINT (9000 1)",
             "POLYGON ((0 0, 2 0, 6 0, 10 0, 10 10, 0 10, 0 0))", "LINESTRING (-900 5, -800 5)",
             "GEOMETRYCOLLECTION (POINT (1 1), LINESTRING (0 0, 5 0))", "POINT (nan 1)")  # fmt: skip
    found = drawn_at(*map(shapely.from_wkt, texts), None)
    assert found == {4: (3, [9, 0, 0, 26, 20, 0, 0, 20, 19, 0, 15]), 6: (2, [9, 0, 0, 10, 10, 0])}


def one_mended(rounded: Any, exact: Callable[[int], Any]) -> Any:
    """Return what one is mended to among others that are on the same places."""
    others = [
        shapely.box(0, 0, 10, 10),
        rounded,
        shapely.from_wkt("POLYGON ((0 0, 9 0, 9 4, 12 4, 9 4, 9 9, 0 9, 0 0))"),
    ]
    found = mended(np.array(others), lambda _: exact(1))
    assert shapely.area(found[[0, 2]]).tolist() == [100, 81]
    return found[1]


def never(_: int) -> Any:
    raise AssertionError("what it was before it was rounded is not needed")


@pytest.mark.parametrize(("text", "areas"), [
    # two squares with a line between them, there and back
    ("POLYGON ((0 0, 10 0, 10 4, 20 4, 20 0, 30 0, 30 10, 20 10, 20 4, 10 4, 10 10, 0 10, 0 0))", [100, 100]),
    # a square with a hair to the outside, one to the inside, and a hair whose end meets no other place
    ("POLYGON ((0 0, 10 0, 10 5, 15 5, 10 5, 10 10, 0 10, 0 5, 3 5, 0 5, 0 0))", [100]),
    # a hole that touches the outline at two places parts the surface
    ("POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0), (5 0, 8 5, 5 10, 2 5, 5 0))", [35, 35]),
    # a hole along a part of an edge that has no place there
    ("POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0), (2 0, 2 4, 6 4, 6 0, 2 0))", [84]),
    # two squares that touch along an edge become one; one in the hole of another stays
    ("MULTIPOLYGON (((0 0, 10 0, 10 10, 0 10, 0 0)), ((10 2, 20 2, 20 8, 10 8, 10 2)))", [160]),
    ("MULTIPOLYGON (((0 0,30 0,30 30,0 30,0 0), (5 5,5 25,25 25,25 5,5 5)), ((10 10,20 10,20 20,10 20,10 10)))",
     [100, 500]),
    # everything lies there and back
    ("POLYGON ((0 0, 10 0, 20 0, 0 0))", []),
])  # fmt: skip
def test_a_polygon_is_mended(text: str, areas: list[float]) -> None:
    found = one_mended(shapely.from_wkt(text), never)
    assert found.is_valid
    assert sorted(part.area for part in shapely.get_parts(found) if not part.is_empty) == areas


def test_edges_that_cross_are_made_of_what_was_before() -> None:
    """A bow tie has no surface of its own to trace."""
    tie = shapely.from_wkt("POLYGON ((0 0, 10 10, 10 0, 0 10, 0 0))")
    found = one_mended(tie, lambda _: shapely.make_valid(tie))
    assert (found.is_valid, found.area) == (True, 50)


def test_a_sliver_that_was_turned_over_is_left_out() -> None:
    flipped = shapely.from_wkt("POLYGON ((0 0, 100 0, 100 100, 51 100, 50 101, 50 99, 0 100, 0 0))")
    crossing = shapely.from_wkt("POLYGON ((0 0, 99 0, 99 99, 50 99, 49 100, 51 100, 50 98, 0 99, 0 0))")
    for each in (flipped, crossing):
        found = one_mended(each, never)
        assert found.is_valid
        assert found.area == pytest.approx(each.area, abs=4)
        assert (shapely.get_coordinates(found) % 1 == 0).all()


def star(chance: np.random.Generator, radius: float) -> Any:
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    away = radius * (0.6 + 0.4 * chance.random(60))
    middle = chance.uniform(0, 4096, 2)
    ring = middle + away[:, None] * np.column_stack((np.cos(angles), np.sin(angles)))
    return shapely.Polygon(ring, [middle + (ring[::-1] - middle) / 3])


def test_outlines_are_those_of_geos_within_a_unit() -> None:
    """Beside `clip_by_rect` and `set_precision`: what is cut, rounded and mended by us, also invalid polygons."""
    chance = np.random.default_rng(17)
    stars = [star(chance, radius) for radius in (60, 300, 2_000) for _ in range(20)]
    stars += [shapely.MultiPolygon([stars[0], shapely.box(5_000, 5_000, 9_000, 9_000)])]
    stars += [shapely.Polygon([(-900, -900), (900, 900), (900, -900), (-900, 900)])]
    stars += [shapely.Polygon([(-9e3, -9e3), (1e4, -9e3), (1e4, 9e3), (-9e3, 9e3)], [stars[45].exterior.coords])]
    geometries = np.array(stars, dtype=object)
    ours = drawn(shapely.transform(geometries, lambda xy: xy * (1, -1) + (0, 4096)), WHOLE).surfaces()
    theirs = shapely.set_precision(shapely.clip_by_rect(shapely.make_valid(geometries), -64, -64, 4160, 4160), 1)
    for one, other in zip(ours, theirs, strict=True):
        if shapely.is_empty(other):
            assert one is None
        else:
            assert one.is_valid
            assert one.symmetric_difference(other).area <= max(1, other.length * 0.1)
            assert one.hausdorff_distance(other) <= 1.5


@pytest.mark.parametrize("value", [127, 128, 16_383, 16_384, 2_097_152, 2**40])
def test_numbers_of_every_length_are_written(value: int) -> None:
    tile = Encoder("l" * 200, ["n"])
    tile.add(drawn(np.array([shapely.Point(1, 1)]), WHOLE), [value], [[value]])
    assert drawn_at(shapely.LineString([(0, 0), (4_096, 4_096)]))[0][1] == [9, 0, 0, 10, 8_192, 8_192]
    content, bits = tile.content(), list[int]()
    rest = value
    while rest > 127:
        bits.append(rest & 127 | 128)
        rest >>= 7
    assert bytes((8, *bits, rest)) in content


def test_a_long_way_is_not_looked_at_place_by_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outline that would have too many places between its own is made by GEOS."""
    monkeypatch.setattr(mending, "_MOST_STEPS", 10)
    hole = shapely.from_wkt("POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0), (2 0, 2 4, 6 4, 6 0, 2 0))")
    found = one_mended(hole, lambda _: shapely.box(0, 0, 10, 10))
    assert (found.is_valid, found.area) in {(True, 84), (True, 100)}


def test_a_long_spike_is_removed_in_a_time_like_its_length() -> None:
    """It runs forth and back over 20,000 corners, none of them on a line with its neighbours."""
    rows = [[(x, 100 + 4 * row + x % 2) for x in range(4_000)][:: -1 if row % 2 else 1] for row in range(5)]
    spike = [place for row in rows for place in row]
    square = [(-20, 100), (-20, 50), (-40, 50), (-40, 100)]
    began = time.process_time()
    [(kind, commands)] = drawn_at(shapely.Polygon([*square, *spike, *spike[-2::-1]])).values()
    assert time.process_time() - began < 5
    assert (kind, commands[-1], len(commands)) == (3, 15, 3 + 1 + 2 * 4 + 1 - 2)
