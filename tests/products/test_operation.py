"""Every nation has an operation of known accuracy, the same for rasters and vectors."""

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from products.errors import InvalidArea
from products.nations import NATIONS, Nation
from products.nations.outline import operation_to, outline_of
from products.operation import MAX_ACCURACY, operation_between, reproject, transformer

SOURCE = 3035
BY_WAY_OF_WGS84 = {27700, 5014, 5015}


@pytest.mark.parametrize("nation", NATIONS, ids=lambda nation: nation.id + nation.name[:12])
def test_a_nation_has_an_accurate_operation_in_both_directions(nation: Nation) -> None:
    operation = operation_to(nation, SOURCE)
    assert 0 <= operation.accuracy <= (MAX_ACCURACY if nation.code == "MT" else 10)
    assert "ballpark" not in operation.name.lower()
    assert len(operation.steps) == (0 if nation.crs == SOURCE else 2 if nation.crs in BY_WAY_OF_WGS84 else 1)
    assert all("ballpark" not in step.definition.lower() and step.accuracy >= 0 for step in operation.steps)

    points = shapely.get_coordinates(outline_of(nation).project(SOURCE))
    chosen = points[np.linspace(0, len(points) - 1, 200).astype(int)]
    x, y = operation.transform(*chosen.T)
    back = np.column_stack(operation.back(x, y))
    assert np.abs(back - chosen).max() < 0.02
    assert np.isfinite(x).all()


def test_british_coordinates_are_transformed_accurately() -> None:
    """A ballpark operation moves the Greenwich observatory by 100 m."""
    to_europe = Transformer.from_crs("OGC:CRS84", SOURCE, always_xy=True)
    x, y = operation_between(SOURCE, 27700).transform(*map(np.atleast_1d, to_europe.transform(-0.0014748, 51.4778885)))
    assert np.hypot(x - 538883, y - 177323)[0] < 10


def test_an_inaccurate_transformation_is_refused() -> None:
    with pytest.raises(InvalidArea, match="no operation from EPSG:3035 to EPSG:4001"):
        operation_between(SOURCE, 4001)


def test_an_operation_is_chosen_for_the_place() -> None:
    """Without the place, PROJ's first for 5514 is that of Czechia, and for Malta's CRS one of northern Norway."""
    names = {nation.code: operation_to(nation, SOURCE).name for nation in NATIONS}
    assert "S-JTSK to ETRS89 (1)" in names["CZ"]
    assert "S-JTSK to ETRS89 (3)" in names["SK"]
    assert "ED50 to WGS 84 (1)" in names["MT"]


AMERICAN_AND_OTHERS = {
    2263: (984_250, 190_000),
    26917: (500_000, 4_800_000),
    5070: (1_700_000, 2_100_000),
    2193: (1_600_000, 5_400_000),
    28355: (500_000, 5_800_000),
    6668: (139.7, 35.6),
    4267: (-75, 40),
}
"""A place in each of some systems from whose datum PROJ has no direct way to that of EPSG:3035."""


@pytest.mark.parametrize("source", AMERICAN_AND_OTHERS)
def test_datums_of_two_continents_are_connected_by_wgs_84(source: int) -> None:
    place = AMERICAN_AND_OTHERS[source]
    degrees = Transformer.from_crs(source, 4326, always_xy=True, allow_ballpark=False).transform(*place)
    expected = Transformer.from_crs(4326, SOURCE, always_xy=True).transform(*degrees)
    x, y = transformer(source, SOURCE).transform(np.array([place[0]]), np.array([place[1]]))
    assert (x[0], y[0]) == pytest.approx(expected, abs=1e-3)
    step = 0.001 if source in (6668, 4267) else 100
    west, south, east, north = reproject((place[0] - step, place[1] - step, *np.add(place, step)), source, SOURCE)
    assert west < expected[0] < east
    assert south < expected[1] < north
    assert max(east - west, north - south) < 3_000  # LAEA stretches what is on the other side of the Earth
