"""The recipe of `nations.gpkg`.

The outlines are Natural Earth's 1:10m countries (public domain), as the npm package world-atlas 2.0.2 (ISC) carries
them. To make the file anew:

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python -m products.nations.outlines package/countries-10m.json
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from products.nations import NATIONS, NATIONS_FILE, Nation
from products.operation import Bounds
from products.vector.geopackage import write_geopackage
from products.vector.layer import Column, Layer

_TOLERANCE = 0.013
"""Degrees; the triangles that are left out are smaller than its square."""

_RING = 4
"""Points of a ring at least; where the atlas has fewer, an islet was smaller than its grid."""


@dataclass(frozen=True, slots=True)
class NationParts:
    """The islands and mainlands of countries that make a nation: those in `inside` and not in `outside`."""

    countries: tuple[str, ...]
    inside: Bounds = (-32, 27, 45, 72)
    outside: Bounds = (0, 0, 0, 0)

    def of(self, atlas: dict[str, Any]) -> Any:
        """Return its outline."""
        polygons = shapely.get_parts([atlas[country] for country in self.countries])
        points = shapely.point_on_surface(polygons)
        chosen = shapely.within(points, shapely.box(*self.inside)) & ~shapely.within(points, shapely.box(*self.outside))
        return shapely.union_all(polygons[chosen])


_NORTHERN_IRELAND = (-8.3, 53.9, -5.35, 55.35)
_OTHERWISE = {
    "BOSNIA AND HERZEGOVINA": NationParts(("Bosnia and Herz.",)),
    "CYPRUS": NationParts(("Cyprus", "N. Cyprus", "Cyprus U.N. Buffer Zone", "Akrotiri", "Dhekelia")),
    "CZECH REPUBLIC": NationParts(("Czechia",)),
    "FINLAND": NationParts(("Finland", "Åland")),
    "FRANCE": NationParts(("France",), (-6, 41, 10, 52)),
    "FYR OF MACEDONIA": NationParts(("Macedonia",)),
    "GREAT BRITAIN": NationParts(("United Kingdom", "Isle of Man"), outside=_NORTHERN_IRELAND),
    "GUERNSEY (CHANNEL ISLANDS)": NationParts(("Guernsey",)),
    "JERSEY (CHANNEL ISLANDS)": NationParts(("Jersey",)),
    "KOSOVO UNDER UNSCR 1244/99": NationParts(("Kosovo",)),
    "NETHERLANDS": NationParts(("Netherlands",), (3, 50, 8, 54)),
    "NORTHERN IRELAND": NationParts(("United Kingdom",), _NORTHERN_IRELAND),
    "NORWAY": NationParts(("Norway",), (4, 57, 32, 72)),
    "PORTUGAL": NationParts(("Portugal",), (-10, 36, -6, 43)),
    "PORTUGAL (AZORES CENTRAL AND EASTERN GROUP)": NationParts(("Portugal",), (-29, 36, -24, 40)),
    "PORTUGAL (AZORES WESTERN GROUP)": NationParts(("Portugal",), (-32, 39, -30, 40)),
    "PORTUGAL (MADEIRA)": NationParts(("Portugal",), (-18, 30, -15, 34)),
    "SPAIN": NationParts(("Spain",), (-10, 35, 5, 45)),
    "SPAIN (CANARIES)": NationParts(("Spain",), (-19, 27, -13, 30)),
}


def make_nations(source: Path, target: Path) -> None:
    """Make the GeoPackage of all nations from the TopoJSON `countries-10m.json`."""
    atlas = _read_topology(json.loads(source.read_text()))
    outlines = np.array([_part(nation).of(atlas) for nation in NATIONS], dtype=object)
    simple = shapely.coverage_simplify(outlines, _TOLERANCE)
    geometries = np.array([shapely.multipolygons(shapely.get_parts(outline)) for outline in simple], dtype=object)
    columns = (*(Column(name, "TEXT") for name in ("id", "name", "title", "code")), Column("epsg", "INTEGER"))
    rows = [(nation.id, nation.name, nation.title, nation.code, nation.crs) for nation in NATIONS]
    with write_geopackage(target, Layer("nations", 4326, columns, title="Nations")) as writer:
        writer.add(range(1, len(NATIONS) + 1), geometries, rows)


def _part(nation: Nation) -> NationParts:
    return _OTHERWISE.get(nation.name) or NationParts((nation.title,))


def _read_topology(topology: dict[str, Any]) -> dict[str, Any]:
    """Return the countries of a quantized topology by name."""
    scale, origin = (np.array(topology["transform"][name]) for name in ("scale", "translate"))
    arcs = [np.cumsum(arc, axis=0) * scale + origin for arc in topology["arcs"]]
    return {
        country["properties"]["name"]: _areas(country, arcs)
        for country in topology["objects"]["countries"]["geometries"]
    }


def _areas(country: dict[str, Any], arcs: Sequence[Any]) -> Any:
    polygons = country["arcs"] if country["type"] == "MultiPolygon" else [country["arcs"]]
    rings = [[_ring(ring, arcs) for ring in polygon] for polygon in polygons]
    outline = shapely.MultiPolygon([_polygon(ring) for ring in rings if len(ring[0]) >= _RING])
    return shapely.make_valid(outline, method="structure", keep_collapsed=False)


def _polygon(rings: Sequence[Any]) -> Any:
    return shapely.Polygon(rings[0], [ring for ring in rings[1:] if len(ring) >= _RING])


def _ring(indices: Iterable[int], arcs: Sequence[Any]) -> Any:
    """Return the points of the arcs; a negative index is an arc backwards, an arc begins where the last one ends."""
    pieces = [arcs[index] if index >= 0 else arcs[~index][::-1] for index in indices]
    return np.concatenate([pieces[0], *(piece[1:] for piece in pieces[1:])])


if __name__ == "__main__":
    make_nations(Path(sys.argv[1]), NATIONS_FILE)
