"""The outline of a nation, read from the file of all nations."""

from products.area import Area
from products.nations import NATIONS_FILE, Nation
from products.operation import Operation, operation_between
from products.vector.geopackage import read_geopackage
from products.vector.query import Selection, search


def outline_of(nation: Nation) -> Area:
    """Return the nation's outline in longitude and latitude. Raises BrokenSource."""
    with read_geopackage(NATIONS_FILE) as reader:
        batch = search(reader, Selection(equal={"id": nation.id})).page(1, 0)
    return Area(batch.geometries[0])


def operation_to(nation: Nation, source: int) -> Operation:
    """Return the operation that all products of a nation use, from the EPSG code of their source."""
    west, south, east, north = outline_of(nation).geometry.bounds
    return operation_between(source, nation.crs, (west, south, east, north))
