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
from products.package.archive import pack
from products.package.documents import write_metadata
from products.package.metadata import Metadata, describe
from products.progress import Report, between
from products.raster.cog import read_grid

MOST_PARTS = 64
_PARTS_EACH = 4
"""Parts for each worker, at most: more than one, as parts are not equal, and a worker that is done takes another."""
_JOINED = 0.5


class _National(Protocol):
    """A kind of product of a nation."""

    def divide(self, *, most: int) -> Sequence[Mapping[str, Any]]:
        """Return parts, `most` at most."""

    def write_piece(self, part: Mapping[str, Any], target: Path, *, report: Report) -> Mapping[str, Any]:
        """Write what is made of a part, and return what is known of it."""

    def join(
        self, pieces: Sequence[tuple[Path, Mapping[str, Any]]], folder: Path, *, name: str, report: Report
    ) -> tuple[Path, ...]:
        """Write the files of the product from all pieces."""


def _turn(bench: JobContext) -> AbstractContextManager[object]:
    return PrebuiltProducts(bench.results).turn(_edition(bench), bench.report)


def _edition(bench: JobContext) -> PrebuiltProduct:
    return PrebuiltProduct(product_of(bench), bench.order.inputs["product"], _nation(bench.order.inputs["nation"]))


def _nation(name: str) -> Nation:
    nation = find_nation(name)
    if nation is None:
        raise UnknownProduct(f"there is no product of the nation {name} any more")
    return nation


def _national(bench: JobContext) -> _National:
    """Return the kind that is ordered; only what it needs is loaded."""
    edition = _edition(bench)
    kind = getattr(import_module(f"products.nations.{edition.kind.lower()}"), f"National{edition.kind}")
    national: _National = kind(edition.product, edition.nation)
    return national


def _plan(bench: JobContext) -> Sequence[Part]:
    edition = _edition(bench)
    return [] if PrebuiltProducts(bench.results).find(edition) else _parts(edition, bench)


def _parts(edition: PrebuiltProduct, bench: JobContext) -> Sequence[Part]:
    """Divide the work; one worker would only have more to do with more than one part."""
    key = edition.key()
    most = 1 if bench.workers == 1 else min(MOST_PARTS, _PARTS_EACH * bench.workers)
    parts = _national(bench).divide(most=most)
    return [{"edition": key, "number": n, "of": len(parts), "divided": part} for n, part in enumerate(parts)]


def _make(part: Part, bench: JobContext) -> Piece:
    _edition(bench).check(part["edition"])
    path = bench.folder / f"piece-{part['number']}"
    made = _national(bench).write_piece(part["divided"], path, report=bench.report)
    known = {name: part[name] for name in ("edition", "number", "of")}
    return {**known, "path": str(path.relative_to(bench.results)), "size": _size(path), "made": made}


def _assemble(pieces: Sequence[Piece], bench: JobContext) -> Manifest:
    edition, nation = _edition(bench), _nation(bench.order.inputs["nation"])

    def write(target: Path, report: Report) -> None:
        found = _found(pieces or _made_here(edition, bench), edition, bench)
        folder = bench.folder / "members"
        folder.mkdir(exist_ok=True)
        members = _national(bench).join(found, folder, name=edition.base, report=between(report, 0, _JOINED))
        if bench.workers == 1:  # elsewhere this step may be done again
            for path, _ in found:
                path.unlink(missing_ok=True)
        members += write_metadata(_known(members[0], edition.product, nation), folder)
        pack(members, target, report=between(report, _JOINED, 1))
        shutil.rmtree(folder)

    return manifest_of(PrebuiltProducts(bench.results).provide(edition, write, bench.folder, bench.report))


def _made_here(edition: PrebuiltProduct, bench: JobContext) -> Sequence[Piece]:
    """Make the pieces of a file that was there when the work was planned, and was swept since."""
    alone = replace(bench, workers=1)
    return [_make(part, alone) for part in _parts(edition, alone)]


def _found(
    pieces: Sequence[Piece], edition: PrebuiltProduct, bench: JobContext
) -> list[tuple[Path, Mapping[str, Any]]]:
    """Return the pieces with their paths. Raises BrokenPiece where one is missing, BrokenSource."""
    found = []
    for number in range(pieces[0]["of"]):
        piece = next((piece for piece in pieces if piece["number"] == number), None)
        path = bench.results / piece["path"] if piece else None
        if piece is None or path is None or _size(path) != piece["size"]:
            raise BrokenPiece(f"piece {number + 1} of {pieces[0]['of']} of {edition.name} is missing or not whole")
        edition.check(piece["edition"])
        found.append((path, piece["made"]))
    return found


def _size(path: Path) -> int | None:
    """Return the bytes of a piece, None where there is no file, as nothing is in it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _known(main: Path, product: Product, nation: Nation) -> Metadata:
    """Return what is known of the file; its source is in the CRS of all products, or it would not be warped."""
    operation = operation_to(nation, read_grid(product.raster).epsg)
    return describe(main, product, outline_of(nation).geometry, place=nation.title, operation=operation)


WORK = Work(_plan, _make, _assemble, _turn)
