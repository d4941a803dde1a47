"""Make the raster or the vector product of a nation, once for all orders."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from orchestration.house import Edition, House, manifest_of
from orchestration.job import Manifest, ResultFile
from orchestration.work import Bench, Part, Piece, Work, product_of
from products.catalogue import Product
from products.errors import UnknownProduct
from products.nations import Nation, find_nation
from products.nations.outline import operation_to, outline_of
from products.package.archive import pack
from products.package.metadata import Metadata, describe, write_metadata
from products.progress import Report, between
from products.raster.cog import read_grid

_CUT = 0.9


def _plan(_bench: Bench) -> Sequence[Part]:
    return [{}]


def _make(_part: Part, bench: Bench) -> Piece:
    inputs = bench.order.inputs
    nation = _nation(inputs["nation"])
    edition = Edition(product_of(bench), inputs["product"], nation)
    write_members = getattr(import_module("products.nations.product"), f"national_{edition.kind.lower()}")

    def write(target: Path, report: Report) -> None:
        folder = bench.folder / "members"
        folder.mkdir()
        members = write_members(edition.product, nation, folder, name=edition.base, report=between(report, 0, _CUT))
        members += write_metadata(_known(members[0], edition.product, nation), folder)
        pack(members, target, report=between(report, _CUT, 1))
        shutil.rmtree(folder)

    return asdict(House(bench.results).provide(edition, write, bench.folder, bench.report))


def _known(main: Path, product: Product, nation: Nation) -> Metadata:
    """Return what is known of the file; its source is in the CRS of all products, or it would not be warped."""
    operation = operation_to(nation, read_grid(product.raster).epsg)
    return describe(main, product, outline_of(nation).geometry, place=nation.title, operation=operation)


def _nation(name: str) -> Nation:
    nation = find_nation(name)
    if nation is None:
        raise UnknownProduct(f"there is no product of the nation {name} any more")
    return nation


def _assemble(pieces: Sequence[Piece], _bench: Bench) -> Manifest:
    (piece,) = pieces
    return manifest_of(ResultFile(**piece))


WORK = Work(_plan, _make, _assemble)
