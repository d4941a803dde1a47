"""What the form of an area costs: seconds of the processor beside those of its box, and of half the vertices."""

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from products.area import Area, measure_area
from products.errors import AreaTooLarge, InvalidArea
from products.progress import unheard
from products.raster.extract import extract_raster
from products.raster.statistics import count_classes
from products.vector.census import count_polygons
from products.vector.extract import extract_vector
from products.vector.sample import make_sample

VERTICES = 24_750, 49_500, 99_000, 198_000
_SAMPLE = Path(__file__).parents[1] / "sample"
_WEST, _SOUTH, _EAST, _NORTH = 23.72, 52.70, 23.94, 52.82
"""A park, most of which has data."""
_MIDDLE = 52.76
_CORNERS = 5

Points = NDArray[np.float64]


def comb(vertices: int) -> list[Points]:
    """Return teeth that stand on one side, half as high as the box."""
    teeth = vertices // 4
    x = np.linspace(_WEST, _EAST, 4 * teeth)
    y = np.tile([_MIDDLE, _NORTH, _NORTH, _MIDDLE], teeth)
    return [np.vstack([np.column_stack([x, y]), [[_EAST, _SOUTH], [_WEST, _SOUTH]]])]


def spiral(vertices: int) -> list[Points]:
    """Return a band that winds round the middle of the box, twenty times."""
    turn = np.linspace(1, 20, vertices // 2)
    return [np.vstack([_round(turn * 2 * np.pi, turn / 20), _round(turn * 2 * np.pi, (turn - 0.5) / 20)[::-1]])]


def star(vertices: int) -> list[Points]:
    """Return spikes round the middle of the box."""
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    return [_round(angle, np.where(np.arange(vertices) % 2, 1, 0.95))]


def coast(vertices: int) -> list[Points]:
    """Return an outline of bays in bays, as a coast has them."""
    angle, chance = np.linspace(0, 2 * np.pi, vertices, endpoint=False), np.random.default_rng(7)
    waves = 2 ** np.arange(1, int(np.log2(vertices)) - 1)
    radius = sum(np.sin(angle * wave + chance.uniform(0, 6)) * wave**-0.7 for wave in waves)
    return [_round(angle, 0.75 + radius / np.abs(radius).max() / 4)]


def parts(vertices: int) -> list[Points]:
    """Return small polygons of five corners each, all over the box."""
    count, side = vertices // _CORNERS, int(np.ceil(np.sqrt(vertices / _CORNERS)))
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    corners = 0.4 / side * np.column_stack([(_EAST - _WEST) * np.cos(angle), (_NORTH - _SOUTH) * np.sin(angle)])
    places = np.array([(_WEST, _SOUTH)]) + (np.array(np.divmod(np.arange(count), side)).T + 0.5) / side * np.array(
        [(_EAST - _WEST, _NORTH - _SOUTH)]
    )
    return list(places[:, np.newaxis] + corners)


def _round(angle: Points, radius: Points) -> Points:
    """Return places round the middle of the box; those at radius 1 touch its sides."""
    x, y = (_EAST - _WEST) / 2 * np.cos(angle) * radius, (_NORTH - _SOUTH) / 2 * np.sin(angle) * radius
    return np.column_stack([x + (_WEST + _EAST) / 2, y + (_SOUTH + _NORTH) / 2])


SHAPES: Mapping[str, Callable[[int], list[Points]]] = {
    each.__name__: each for each in (comb, spiral, star, coast, parts)
}


def area_of(points: list[Points]) -> str:
    """Return these rings as WKT of polygons."""
    return str(shapely.to_wkt(shapely.multipolygons(list(map(shapely.Polygon, points))), rounding_precision=-1))


def box_of(points: list[Points]) -> str:
    """Return the WKT of what holds all of them."""
    return str(shapely.to_wkt(shapely.box(*shapely.total_bounds(list(map(shapely.Polygon, points))))))


def works(raster: Path, vector: Path) -> Mapping[str, Callable[[Area, Path], object]]:
    """Return what is done with an area once it is read."""
    return {
        "project": lambda area, _: area.project(3035),
        "statistics": lambda area, _: count_classes(raster, area),
        "count polygons": lambda area, _: count_polygons(vector, area),
        "extract raster": lambda area, folder: extract_raster(raster, area, folder, name="x", report=unheard),
        "extract vector": lambda area, folder: _vector(vector, area, folder),
    }


def _vector(source: Path, area: Area, folder: Path) -> None:
    """Cut the vector product, or as much of it until the area is found to make too many pieces of it."""
    with suppress(AreaTooLarge):
        extract_vector(source, area, folder, name="x", report=unheard)


def seconds(work: Callable[[], object]) -> float:
    """Return what a piece of work takes of the processor."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def measure() -> None:
    """Print for each shape and work the seconds of its box, how many more of so many vertices, and the last ratio."""
    print(f"{'':22} {'box':>6}" + "".join(f"{count:12,}" for count in VERTICES) + f"{'twice':>8}")
    with tempfile.TemporaryDirectory() as folder:
        make_sample(_SAMPLE, Path(folder), report=unheard)
        done = works(_SAMPLE / "clcplus_2023_parks.tif", Path(folder, "clcplus_2023_parks.gpkg"))
        seconds(partial(_all, done, measure_area(box_of(comb(100))), Path(folder)))  # what is loaded once
        for name, shape in SHAPES.items():
            values = [box_of(shape(VERTICES[0])), *(area_of(shape(count)) for count in VERTICES)]
            taken = [(value, area) for value in values if (area := _measured(value))]  # the largest may be refused
            _show(name, "measure", [seconds(partial(_measured, value)) for value, _ in taken])
            for title, work in done.items():
                _show(name, title, [seconds(partial(work, area, Path(folder))) for _, area in taken])


def _all(done: Mapping[str, Callable[[Area, Path], object]], area: Area, folder: Path) -> None:
    for work in done.values():
        work(area, folder)


def _measured(text: str) -> Area | None:
    """Read an area that is not the one that was read last; return None where it is refused."""
    with suppress(InvalidArea):
        return measure_area(f" {text}")
    return None


def _show(name: str, title: str, spent: list[float]) -> None:
    box, *others = spent
    more = "".join(f"{each - box:+12.2f}" for each in others).ljust(12 * len(VERTICES))
    print(f"{name:6} {title:15} {box:6.2f}{more}{spent[-1] / spent[-2]:8.1f}", flush=True)
