"""What the form of an area costs: seconds of the processor beside those of its box, and of half the vertices.

`python -m bench areas`, or `python -m bench.areas star parts` for some of the shapes.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
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
_TRIES = 2
"""Times that each is done; the fewest seconds count."""

Points = NDArray[np.float64]


def comb(vertices: int) -> list[Points]:
    """Return teeth that stand on one side, half as high as the box."""
    teeth = vertices // 4
    x = np.linspace(_WEST, _EAST, 4 * teeth)
    y = np.tile([_MIDDLE, _NORTH, _NORTH, _MIDDLE], teeth)
    return [np.vstack([np.column_stack([x, y]), [[_EAST, _SOUTH], [_WEST, _SOUTH]]])]


def spiral(vertices: int) -> list[Points]:
    """Return a band that winds round the middle of the box, twenty times."""
    angles = np.linspace(1, 20, vertices // 2)
    return [np.vstack([_round(angles * 2 * np.pi, angles / 20), _round(angles * 2 * np.pi, (angles - 0.5) / 20)[::-1]])]


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
    """Return small polygons of five corners each, all over the box; the first of each stands there twice."""
    count = vertices // (_CORNERS + 1)
    side = int(np.ceil(np.sqrt(count)))
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


def works(raster: Path, vector: Path) -> Mapping[str, Callable[..., object]]:
    """Return what is done with an area once it is read."""
    return {
        "read": lambda area, **_: area.project(3035),
        "statistics": lambda area, **_: count_classes(raster, area),
        "estimate vector": lambda area, **_: count_polygons(vector, area),
        "order raster": lambda area, folder: extract_raster(raster, area, folder, name="x", report=unheard),
        "order vector": lambda area, folder: extract_vector(vector, area, folder, name="x", report=unheard),
    }


def seconds(text: str, work: Callable[[Area], object]) -> float | str:
    """Return what reading an area and a piece of work with it take of the processor, or why it is refused."""
    begin = time.process_time()
    try:
        work(measure_area(f" {text}"))  # not the text that was read last
    except (InvalidArea, AreaTooLarge) as refused:
        return "tangled" if isinstance(refused, InvalidArea) else "pieces"
    return time.process_time() - begin


def measure() -> None:
    """Print for each shape and work the seconds of its box, how many more of so many vertices, and the ratios.

    An estimate of the raster is what its statistics are. Where it says 'pieces', an order is refused for too many
    pieces, where 'tangled', any area is for too many edges over each other.
    """
    _print(list(SHAPES))


def _print(names: list[str]) -> None:
    print(f"{'':22} {'box':>6}" + "".join(f"{count:11,}" for count in VERTICES) + "   ratios of twice the vertices")
    with tempfile.TemporaryDirectory() as folder:
        make_sample(_SAMPLE, Path(folder), report=unheard)
        done = works(_SAMPLE / "clcplus_2023_parks.tif", Path(folder, "clcplus_2023_parks.gpkg"))
        for work in done.values():
            seconds(box_of(comb(100)), partial(work, folder=Path(folder)))  # what is loaded once
        for name in names:
            texts = [box_of(SHAPES[name](VERTICES[0])), *(area_of(SHAPES[name](count)) for count in VERTICES)]
            for title, work in done.items():
                _show(name, title, [_fewest(text, partial(work, folder=Path(folder))) for text in texts])


def _fewest(text: str, work: Callable[[Area], object]) -> float | str:
    taken = [seconds(text, work) for _ in range(_TRIES)]
    return min((each for each in taken if isinstance(each, float)), default=taken[0])


def _show(name: str, title: str, spent: list[float | str]) -> None:
    box, *others = spent
    more = "".join(f"{each - float(box):+11.2f}" if isinstance(each, float) else f"{each:>11}" for each in others)
    ratios = [
        f"{after / before:6.1f}" if isinstance(before, float) and isinstance(after, float) else f"{'':6}"
        for before, after in pairwise(others)
    ]
    print(f"{name:6} {title:15} {float(box):6.2f}{more}  {''.join(ratios)}".rstrip(), flush=True)


if __name__ == "__main__":
    _print(sys.argv[1:])
