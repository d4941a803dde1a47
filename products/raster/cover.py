"""Whether a raster has data in an area."""

from pathlib import Path

from products.area import Area
from products.classes import NODATA
from products.raster.cut import Cut, Tile, open_cut


def has_data(source: Path, area: Area) -> bool:
    """Return whether any pixel with data has its centre in the area; stops at the first. Raises BrokenSource."""
    with open_cut(source, area) as cut:
        return cut is not None and _has_data(cut, cut.top)


def _has_data(cut: Cut, tile: Tile) -> bool:
    if tile.level == 0:
        return bool((cut.read(tile) != NODATA).any())
    return any(_has_data(cut, quarter) for quarter in cut.quarters(tile))
