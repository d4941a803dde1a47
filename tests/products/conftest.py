import json
from pathlib import Path

import pytest
import shapely
from shapely.geometry import shape

from products.area import Area

SAMPLE = Path(__file__).parents[2] / "sample"


@pytest.fixture(scope="session")
def raster() -> Path:
    return SAMPLE / "clcplus_2023_parks.tif"


@pytest.fixture(scope="session")
def parks() -> dict[str, Area]:
    """Return the nine parks; two outlines intersect themselves as published, and are repaired."""
    features = json.loads((SAMPLE / "parks.geojson").read_text())["features"]
    return {feature["properties"]["name"]: Area(shapely.make_valid(shape(feature["geometry"]))) for feature in features}
