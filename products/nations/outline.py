"""The outline of a nation, read from the file of all nations."""

import shapely

from products.area import Area
from products.nations import NATIONS_FILE, Nation, find_nation
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


def nation_at(longitude: float, latitude: float) -> Nation | None:
    """Return the nation that a point in degrees lies in, None where there is none. Raises BrokenSource."""
    with read_geopackage(NATIONS_FILE) as reader:
        batch = search(reader, Selection(area=shapely.Point(longitude, latitude))).page(1, 0)
        names = list(reader.layer.names)
    return find_nation(batch.rows[0][names.index("name")]) if len(batch.keys) else None
