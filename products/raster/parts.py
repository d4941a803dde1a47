"""A raster made in parts: branches of its pyramid, each stored as a piece, and joined to one GeoTIFF."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np
from affine import Affine

from products.classes import Classes
from products.errors import BrokenPiece, NothingInside
from products.progress import Report
from products.raster.cut import Tile, top_level
from products.raster.extract import NOTHING, Extraction, write_sidecars
from products.raster.pyramid import Pyramid
from products.raster.tiff import Key, TileBytes
from products.raster.warp import RESOLUTION, Warp
from products.whole import whole_file

BLOCKS = 32
"""Minimum blocks of the source in a part: two or three seconds of work."""

_ENTRY = np.dtype([("key", "<u4", 3), ("offset", "<u8"), ("size", "<u4")])
"""The entry of a tile in the index at the end of a piece."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The common frame of all pieces of a raster: its upper left corner and its size in pixels."""

    west: float
    north: float
    width: int
    height: int

    @property
    def transform(self) -> Affine:
        """From pixels to coordinates."""
        return Affine(RESOLUTION, 0, self.west, 0, -RESOLUTION, self.north)


@dataclass(frozen=True, slots=True)
class RasterPiece:
    """The description of a piece: its frame, the number of tiles in its file, and its pixels by value."""

    frame: Frame
    tiles: int
    counts: tuple[int, ...]


def divide(warp: Warp, most: int) -> Sequence[Sequence[Key]]:
    """Return at most `most` parts of about equal work: the tiles that contain all data, each in one part."""
    count = min(most, math.ceil(np.count_nonzero(warp.stored) / BLOCKS))
    begun, parts = 0.0, []
    for tile in _branches(warp, warp.top, 1 / max(1, 2 * count)):
        parts.append((int(begun * count), _key(tile)))
        begun = min(begun + tile.share, math.nextafter(1, 0))
    return [[key for _, key in part] for _, part in groupby(parts, lambda numbered: numbered[0])]


def _branches(warp: Warp, tile: Tile, share: float) -> Iterator[Tile]:
    if tile.level == 0 or tile.share <= share:
        yield tile
        return
    for quarter in warp.quarters(tile):
        yield from _branches(warp, quarter, share)


def _key(tile: Tile) -> Key:
    return tile.level, tile.row, tile.column


def write_piece(warp: Warp, branches: Sequence[Key] | None, target: Path, *, report: Report) -> RasterPiece:
    """Write the tiles of these branches, or of all if None, followed by an index, atomically.

    The pixels do not depend on the division of the raster. It stores a few tiles at a time.
    """
    frame = _frame(warp)
    with whole_file(target) as part, part.open("w+b") as file:
        extraction = Extraction(warp, _pyramid(frame, file), report)
        chosen = [warp.top] if branches is None else [*_chosen(warp, warp.top, {*branches})]
        extraction.whole = math.fsum(tile.share for tile in chosen)
        for tile in chosen:
            extraction.add(tile)
        index = np.array([(key, *place) for key, place in extraction.pyramid.tiles.items()], _ENTRY)
        file.write(index.tobytes())
    return RasterPiece(frame, len(index), tuple(extraction.counts.tolist()))


def _chosen(warp: Warp, tile: Tile, branches: set[Key]) -> Iterator[Tile]:
    """Go down to the branches by the same quarters as without parts, so that an outline is cut at the same points."""
    if _key(tile) in branches:
        yield tile
    elif any(_is_below(branch, tile) for branch in branches):
        for quarter in warp.quarters(tile):
            yield from _chosen(warp, quarter, branches)


def _is_below(key: Key, tile: Tile) -> bool:
    level, row, column = key
    up = tile.level - level
    return up > 0 and (row >> up, column >> up) == (tile.row, tile.column)


def join_pieces(
    pieces: Sequence[tuple[Path, RasterPiece]], folder: Path, *, name: str, epsg: int, classes: Classes, report: Report
) -> tuple[Path, ...]:
    """Write the raster of all pieces: the files of `extract_raster`, the tiles copied as they are compressed.

    Raises NothingInside if there is no tile, BrokenPiece if the pieces are not of one raster.
    """
    if not any(piece.tiles for _, piece in pieces):
        raise NothingInside(NOTHING)
    image, frame = folder / f"{name}.tif", _common_frame([piece for _, piece in pieces])
    with ExitStack() as stack:
        pyramid = _pyramid(frame, stack.enter_context(TemporaryFile(dir=folder)))
        for path, piece in pieces:
            file = stack.enter_context(path.open("rb"))
            pyramid.adopt(file, _read_index(file, piece.tiles))
        pyramid.complete()
        pyramid.write(image, frame.transform, epsg, report=report)
    report(1, "The raster is written")
    counts = np.sum([piece.counts for _, piece in pieces], axis=0)
    return image, *write_sidecars(folder, name, frame.transform, counts, classes)


def _common_frame(pieces: Sequence[RasterPiece]) -> Frame:
    """Return the frame, which differs between machines whose PROJ has different operations."""
    frame = pieces[0].frame
    if any(piece.frame != frame for piece in pieces):
        raise BrokenPiece("the pieces of the raster lie on different grids: the machines that made them differ in PROJ")
    return frame


def _read_index(file: BinaryIO, tiles: int) -> Mapping[Key, TileBytes]:
    file.seek(-tiles * _ENTRY.itemsize, 2)
    index = np.frombuffer(file.read(), _ENTRY)
    keys = (tuple(key) for key in index["key"].tolist())
    return dict(zip(keys, zip(index["offset"].tolist(), index["size"].tolist(), strict=True), strict=True))


def _frame(warp: Warp) -> Frame:
    return Frame(*warp.origin, int(warp.window.width), int(warp.window.height))


def _pyramid(frame: Frame, file: BinaryIO) -> Pyramid:
    return Pyramid(file, frame.width, frame.height, top_level(frame.width, frame.height))
