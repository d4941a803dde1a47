"""Make the raster or the vector product of a nation, once for all orders."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from orchestration.job import Manifest
from orchestration.prebuilt.product import PrebuiltProduct, PrebuiltProducts, manifest_of
from orchestration.work import JobContext, Part, Piece, Work, product_of
from products.catalogue import Product
from products.errors import BrokenPiece, UnknownProduct
from products.nations import Nation, find_nation
from products.nations.outline import operation_to, outline_of
from products.package import pack
from products.package.documents import write_metadata
from products.package.metadata import Metadata, describe
from products.progress import Report, between
from products.raster.cog import read_grid

MOST_PARTS = 64
_PARTS_EACH = 4
"""The most parts for each worker: several, as parts differ and a worker that is done takes another."""
_JOINED = 0.5


class _National(Protocol):
    """A kind of product of a nation."""

    def divide(self, *, most: int) -> Sequence[Mapping[str, Any]]:
        """Return at most `most` parts."""

    def write_piece(self, part: Mapping[str, Any], target: Path, *, report: Report) -> Mapping[str, Any]:
        """Write the piece of a part and return its description."""

    def join(
        self, pieces: Sequence[tuple[Path, Mapping[str, Any]]], folder: Path, *, name: str, report: Report
    ) -> tuple[Path, ...]:
        """Write the files of the product from all pieces."""


def _lock(context: JobContext) -> AbstractContextManager[object]:
    return PrebuiltProducts(context.results).lock(_prebuilt(context), context.report)


def _prebuilt(context: JobContext) -> PrebuiltProduct:
    return PrebuiltProduct(
        product_of(context), context.order.inputs["product"], _nation(context.order.inputs["nation"])
    )


def _nation(name: str) -> Nation:
    nation = find_nation(name)
    if nation is None:
        raise UnknownProduct(f"there is no product of the nation {name} any more")
    return nation


def _national(context: JobContext) -> _National:
    """Return the ordered kind; only the modules that it needs are imported."""
    prebuilt = _prebuilt(context)
    kind = getattr(import_module(f"products.nations.{prebuilt.kind.lower()}"), f"National{prebuilt.kind}")
    national: _National = kind(prebuilt.product, prebuilt.nation)
    return national


def _plan(context: JobContext) -> Sequence[Part]:
    prebuilt = _prebuilt(context)
    return [] if PrebuiltProducts(context.results).find(prebuilt) else _parts(prebuilt, context)


def _parts(prebuilt: PrebuiltProduct, context: JobContext) -> Sequence[Part]:
    """Divide the work; a single worker gets one part, as more would only cost it time."""
    key = prebuilt.key()
    most = 1 if context.workers == 1 else min(MOST_PARTS, _PARTS_EACH * context.workers)
    parts = _national(context).divide(most=most)
    return [{"prebuilt": key, "number": n, "of": len(parts), "divided": part} for n, part in enumerate(parts)]


def _make(part: Part, context: JobContext) -> Piece:
    _prebuilt(context).check(part["prebuilt"])
    path = context.folder / f"piece-{part['number']}"
    made = _national(context).write_piece(part["divided"], path, report=context.report)
    known = {name: part[name] for name in ("prebuilt", "number", "of")}
    return {**known, "path": str(path.relative_to(context.results)), "size": _size(path), "made": made}


def _assemble(pieces: Sequence[Piece], context: JobContext) -> Manifest:
    prebuilt, nation = _prebuilt(context), _nation(context.order.inputs["nation"])

    def write(target: Path, report: Report) -> None:
        found = _found(pieces or _made_here(prebuilt, context), prebuilt, context)
        folder = context.folder / "members"
        folder.mkdir(exist_ok=True)
        members = _national(context).join(found, folder, name=prebuilt.base, report=between(report, 0, _JOINED))
        if context.workers == 1:  # elsewhere this step may be done again
            for path, _ in found:
                path.unlink(missing_ok=True)
        members += write_metadata(_known(members[0], prebuilt.product, nation), folder)
        pack(members, target, report=between(report, _JOINED, 1))
        shutil.rmtree(folder)

    return manifest_of(PrebuiltProducts(context.results).provide(prebuilt, write, context.folder, context.report))


def _made_here(prebuilt: PrebuiltProduct, context: JobContext) -> Sequence[Piece]:
    """Make the pieces of a file that existed when the work was planned and has been removed since."""
    alone = replace(context, workers=1)
    return [_make(part, alone) for part in _parts(prebuilt, alone)]


def _found(
    pieces: Sequence[Piece], prebuilt: PrebuiltProduct, context: JobContext
) -> list[tuple[Path, Mapping[str, Any]]]:
    """Return the pieces with their paths. Raises BrokenPiece if one is missing, BrokenSource."""
    found = []
    for number in range(pieces[0]["of"]):
        piece = next((piece for piece in pieces if piece["number"] == number), None)
        path = context.results / piece["path"] if piece else None
        if piece is None or path is None or _size(path) != piece["size"]:
            raise BrokenPiece(f"piece {number + 1} of {pieces[0]['of']} of {prebuilt.name} is missing or not whole")
        prebuilt.check(piece["prebuilt"])
        found.append((path, piece["made"]))
    return found


def _size(path: Path) -> int | None:
    """Return the size of a piece in bytes, or None if it is empty and so has no file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _known(main: Path, product: Product, nation: Nation) -> Metadata:
    """Return the facts about the file; its source is in the CRS of all products, otherwise it would not be warped."""
    operation = operation_to(nation, read_grid(product.raster).epsg)
    return describe(main, product, outline_of(nation).geometry, place=nation.title, operation=operation)


WORK = Work(_plan, _make, _assemble, _lock)
