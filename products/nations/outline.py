"""The outline of a nation as an area."""

from products.area import Area
from products.errors import BrokenSource
from products.nations import NATIONS_FILE, Nation
from products.vector.geopackage import read_geopackage

_WORLD = (-180, -90, 180, 90)


def outline_of(nation: Nation) -> Area:
    """Return the area of a nation. Raises BrokenSource."""
    with read_geopackage(NATIONS_FILE) as reader:
        place = reader.layer.names.index("id")
        for batch in reader.features(_WORLD):
            for geometry, row in zip(batch.geometries, batch.rows, strict=True):
                if row[place] == nation.id:
                    return Area(geometry)
    raise BrokenSource(f"{NATIONS_FILE.name}: {nation.title} is not in it")
