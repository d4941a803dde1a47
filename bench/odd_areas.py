"""Odd geometry for every place where one comes in, in this process: no signal, no 5xx, and the right area.

A million by hand: `python -m bench odd_areas`, or as many as TEST_ODD_AREAS says; `python -m bench.odd_areas 1000 7`
runs a thousand of the seed 7, on the sample in LANDCAST_STATE_DIR, which is made where it is not there.
"""

import json
import os
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import process_time
from types import SimpleNamespace
from typing import Any

import numpy as np
import shapely
from starlette.requests import Request

from auth.access import Limits
from auth.policy import LimitExceeded, fulfilled_limits
from auth.policy_limits import read_policy_area
from auth.policy_problems import Problems
from bench.odd_geometry import Odd
from bench.odd_requests import serving
from plugins.cog import CogProvider
from plugins.crs import CRS84, Box, crs_of
from plugins.geojson import area_of, geojson_texts
from plugins.geopackage import GeoPackageProvider
from processes.areas import any_area_of
from processes.errors import InvalidInput
from processes.geojson import check_features
from products.area import Area
from products.errors import ProductError
from products.places import _area
from products.progress import unheard
from products.raster.fill import Part
from products.vector.blob import decode_each, encode
from products.vector.clip import Clip
from products.vector.sample import make_sample
from routes.coverages.wanted import read_wanted
from routes.features.items import read_query
from routes.http.problem import Problem
from routes.query.parameters import read_box, read_boxes, to_system

Place = Callable[[Odd], None]

_ROOT = Path(__file__).parents[1]
_APP = SimpleNamespace(state=SimpleNamespace(resources=SimpleNamespace(languages={})))
_LONGEST = 1_000
_REPORT_EVERY = 20_000
"""Cases after which the bench says how many there were."""
_EUROPE = shapely.box(-10, 35, 40, 70)
_STRAYS = 0.06
"""Metres that a densified edge may stray from a straight one in degrees."""
_EQUALLY = 1e-9
"""The share by which areas of the same polygon, written otherwise, may differ."""
_REFUSALS = (InvalidInput, ProductError, Problem)
_HOME = Area(shapely.box(19, 49, 20, 50))
"""Where an order may be, in a policy."""
_EACH = 80
"""One case in so many is a request to the application; it costs as much as twenty others."""


def _hold(fact: object, what: str) -> None:
    if not fact:
        raise AssertionError(what)


def _measured(value: Any) -> Area | None:
    """Read an area as orders do; None where it is refused."""
    try:
        return any_area_of(value)
    except InvalidInput as refused:
        _hold(len(str(refused)) < _LONGEST, str(refused))
        return None


def _taken(odd: Odd) -> None:
    """Read an area as orders do, then do what they do with it; beside it what else reads an area."""
    value = odd.value()
    with suppress(InvalidInput):
        check_features("x", {"features": [{"type": "Feature", "properties": {}, "geometry": value}, value]})
    allowed = read_policy_area(Problems(), "x", {"polygon": value}) if odd.one_in(8) else None
    area = any_area_of(value)
    _hold(area.geometry.is_valid, "it is valid")
    projected = area.project(3035)
    if not projected.is_empty:
        part = Part.of(projected)
        _hold(part.within(projected.bounds) is not None or not projected.area, "what has an area has edges")
        if shapely.covers(_EUROPE, area.geometry):
            off = abs(projected.area - area.km2 * 1e6)
            _hold(off <= _STRAYS * projected.length + _EQUALLY * projected.area, f"it is projected, but for {off} m2")
        Clip.of(projected).cut(np.array([projected.centroid.buffer(10)], dtype=object))
    with suppress(LimitExceeded):
        fulfilled_limits([Limits(within=allowed or _HOME)], area)


def _twins(odd: Odd) -> None:
    """Read the same area in several forms: all have the same size, or are refused."""
    clean, *others = odd.twins()
    expected = _measured(clean)
    for each in odd.chance.sample(others, 2):
        found = _measured(each)
        _hold((found is None) == (expected is None), f"{each!r} is taken as {clean!r} is")
        if found is not None and expected is not None:
            _hold(abs(found.km2 - expected.km2) <= _EQUALLY * expected.km2, f"{each!r} has {expected.km2} km2")


def _blob(odd: Odd) -> None:
    """Read a geometry as a file may have it, whatever is wrong with it, and do all that is done with it."""
    geometry = odd.geometry()
    blob = encode(np.array([geometry], dtype=object), 4326)[0] if geometry and odd.one_in(3) else odd.blob()
    with np.errstate(all="ignore"):
        (found,) = decode_each([blob])
    if not isinstance(found, shapely.Geometry):
        _hold(found is None or len(found) < _LONGEST, "it is told in short")
        return
    with np.errstate(all="ignore"):
        one = np.array([found], dtype=object)
        (text,) = geojson_texts(one, CRS84, odd.chance.choice((CRS84, crs_of(4326), crs_of(3035))))
        json.loads(text, parse_constant=_no_json)
        points = shapely.get_coordinates(found)
        if np.isfinite(points).all():
            _area(found, odd.chance.choice((4326, 3035)))


def _no_json(constant: str) -> float:
    raise AssertionError(f"{constant} is no JSON")


class Readers:
    """What reads the query of items, coverages and maps, without a server around it."""

    def __init__(self, sample: Path) -> None:
        self.raster = CogProvider(
            {"type": "coverage", "name": "x", "data": str(_ROOT / "sample" / "clcplus_2023_parks.tif")}
        )
        self.vector = GeoPackageProvider({"type": "feature", "name": "x", "data": str(sample / "parks.gpkg")})

    def __call__(self, odd: Odd) -> None:
        sized = odd.one_in(2)
        address = odd.address("/", sized=sized)
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": address.partition("?")[2].encode()}
        request = Request({**scope, "headers": [], "app": _APP})
        if sized:
            read_wanted(request, self.raster)
            box = read_box(request, self.raster.systems) or self.raster.whole
            self.raster.size_of(to_system(box, CRS84))
        else:
            query = read_query(request, self.vector, {"default_items": 10, "max_items": 100})
            for whole in (Box((15.0, 49.0, 24.0, 53.5), CRS84), self.raster.whole):
                area_of(query.boxes or (), whole)
            read_boxes(request, self.vector.systems)


def run(count: int, seed: int, sample: Path) -> None:
    """Make so many cases, each for one place where a geometry comes in; whatever is not a clear refusal is raised.

    `sample` is the state folder that has the sample. How many each place had is printed.
    """
    odd, cases, begin = Odd(seed), Counter[str](), process_time()
    seconds: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), sample) as requests:
        readers = Readers(sample / "sample")
        often: tuple[Place, ...] = (_taken, readers, _taken, _taken, readers, _taken, _blob)
        cheap = (*often, *often, _twins)
        for number in range(count):
            place = odd.chance.choice(requests) if number % _EACH == 0 else cheap[number % len(cheap)]
            start = process_time()
            try:
                with suppress(*_REFUSALS):
                    place(odd)
            except BaseException:
                print(f"case {number} of the seed {seed}, {_name(place)}: {repr(odd.made)[:3000]}", file=sys.stderr)
                raise
            cases[_name(place)] += 1
            seconds[_name(place)] += process_time() - start
            if (number + 1) % _REPORT_EVERY == 0:
                print(f"{number + 1:,} of {count:,}", flush=True)
    for name, made in cases.most_common():
        print(f"{name:12}{made:10,} {seconds[name]:8.1f} s")
    print(f"{count:,} odd areas in {process_time() - begin:,.0f} s of the processor: each was taken or clearly refused")


def _name(place: Place) -> str:
    return getattr(place, "__name__", type(place).__name__).strip("_").lower()


def measure() -> None:
    """Run TEST_ODD_AREAS cases, a million where it is not set, from a seed that is printed."""
    count, seed = int(os.environ.get("TEST_ODD_AREAS", "1000000")), random.SystemRandom().randrange(10**9)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(os.environ.get("LANDCAST_STATE_DIR", folder))
        make_sample(_ROOT / "sample", sample / "sample", report=unheard)
        run(count, seed, sample)


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]), Path(os.environ["LANDCAST_STATE_DIR"]))
