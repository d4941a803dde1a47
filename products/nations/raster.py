"""The raster of a nation in the nation's own CRS."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from products.catalogue import Product
from products.errors import NothingInside
from products.nations import Nation
from products.nations.outline import operation_to, outline_of
from products.progress import Report
from products.raster.cog import read_grid
from products.raster.extract import NOTHING
from products.raster.parts import Frame, RasterPiece, divide, join_pieces, write_piece
from products.raster.warp import Warp, open_warp


@dataclass(frozen=True, slots=True)
class NationalRaster:
    """The raster of a nation, made in one part or many: the same bytes. Its methods raise BrokenSource.

    Nearest neighbour, 10 m, on the 10 m grid of its CRS, 255 outside of its outline.
    """

    product: Product
    nation: Nation

    def divide(self, *, most: int) -> Sequence[Mapping[str, Any]]:
        """Return parts, `most` at most: tiles of the raster and of its overviews, with all below them."""
        if most == 1:
            return [{}]
        with self._open() as warp:
            return [{"branches": branches} for branches in divide(warp, most)]

    def write_piece(self, part: Mapping[str, Any], target: Path, *, report: Report) -> Mapping[str, Any]:
        """Write the tiles of a part, whole or not at all. Raises NothingInside outside of the source."""
        branches = [(level, row, column) for level, row, column in part["branches"]] if part else None
        with self._open() as warp:
            return asdict(write_piece(warp, branches, target, report=report))

    def join(
        self, pieces: Sequence[tuple[Path, Mapping[str, Any]]], folder: Path, *, name: str, report: Report
    ) -> tuple[Path, ...]:
        """Write the files of `extract_raster`. Raises NothingInside, BrokenPiece."""
        read = [(path, _read(piece)) for path, piece in pieces]
        return join_pieces(read, folder, name=name, epsg=self.nation.crs, classes=self.product.classes, report=report)

    @contextmanager
    def _open(self) -> Iterator[Warp]:
        operation = operation_to(self.nation, read_grid(self.product.raster).epsg)
        with open_warp(self.product.raster, outline_of(self.nation), operation, self.nation.crs) as warp:
            if warp is None:
                raise NothingInside(NOTHING)
            yield warp


def _read(piece: Mapping[str, Any]) -> RasterPiece:
    return RasterPiece(Frame(**piece["frame"]), piece["tiles"], tuple(piece["counts"]))
