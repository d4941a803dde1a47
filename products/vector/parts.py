"""A GeoPackage made in parts: strips of the source's features, each cut into a piece, and the pieces joined to one."""

# ruff: noqa: S608 - identifiers come from the layer, quoted; values are never formatted in

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from products.area import Area
from products.classes import Classes
from products.errors import BrokenPiece
from products.progress import Report
from products.vector.extract import land_cover, put_style
from products.vector.geopackage import (
    EVERYWHERE,
    Reader,
    Strip,
    Writer,
    corners,
    read_geopackage,
    readable,
    write_geopackage,
)
from products.vector.layer import quote

FEATURES = 40_000
"""Approximate number of features in a strip: two or three seconds of work."""

_HEIGHT = 1_024
"""Strips begin and end at multiples of it, which an R-tree's numbers of 32 bits hold exactly."""


def divide(source: Path, area: Area, most: int) -> Sequence[Strip]:
    """Return at most `most` strips of about equally many features; each feature is in one of them.

    It reads the envelopes in the area, some million a second, if several strips are possible. Raises BrokenSource.
    """
    if most == 1:
        return [EVERYWHERE]
    with read_geopackage(source) as reader:
        outline = area.project(land_cover(reader.layer).epsg)
        index = f"{quote(reader.layer.index)} WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?"
        query = f"SELECT CAST(miny / {_HEIGHT} AS INTEGER), count(*) FROM {index} GROUP BY 1 ORDER BY 1"
        with readable(source):
            rows = reader.connection.execute(query, corners(outline.bounds)).fetchall()
    return _strips(rows, most)


def _strips(rows: Sequence[tuple[int, int]], most: int) -> Sequence[Strip]:
    """Return strips from the number of features that begin in each row of the minimum height."""
    places, counts = np.array(rows, np.int64).reshape(-1, 2).T
    below = np.cumsum(counts)
    count = max(1, min(most, int(counts.sum()) // FEATURES))
    wanted = counts.sum() * np.arange(1, count) / count
    cuts = np.unique(places[np.searchsorted(below, wanted)] + 1)
    inner = [float(cut * _HEIGHT) for cut in cuts.tolist() if cut <= places[-1]]
    return [*pairwise([-math.inf, *inner, math.inf])]


def join(pieces: Sequence[Path], target: Path, *, classes: Classes, report: Report) -> None:
    """Write the unchanged features of all pieces to one GeoPackage with its style. Raises BrokenPiece."""
    with read_geopackage(pieces[0]) as first:
        layer = first.layer
    with write_geopackage(target, layer) as writer:
        for done, piece in enumerate(pieces):
            report(done / len(pieces), "Joining the polygons")
            with read_geopackage(piece) as reader:
                _copy(reader, writer)
        put_style(writer, classes)


def _copy(reader: Reader, writer: Writer) -> None:
    layer = writer.layer
    if reader.layer != layer:
        raise BrokenPiece("the pieces of the polygons have different columns or coordinates")
    contents = "SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE table_name = ?"
    with readable(reader.source):
        for table in (layer.table, layer.index):
            rows = reader.connection.execute(f"SELECT * FROM {quote(table)}")
            values = ", ".join("?" * len(rows.description))
            writer.connection.executemany(f"INSERT INTO {quote(table)} VALUES ({values})", rows)
        writer.widen(np.array(reader.connection.execute(contents, (layer.table,)).fetchall()))
