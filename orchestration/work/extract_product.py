"""Cut the raster or the vector product to an area."""

import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from orchestration.job import Manifest, Output, is_test
from orchestration.work import JobContext, Part, Piece, Work, product_of, result_file, seen_of
from products.area import read_area
from products.catalogue import Product
from products.errors import UnknownProduct
from products.package import pack
from products.package.documents import write_metadata
from products.package.metadata import describe

_MEDIA_TYPE = "application/zip"


def _plan(context: JobContext) -> Sequence[Part]:
    product = product_of(context)
    kind = context.order.inputs["product"]
    return [{"kind": kind, "source": str(_source(product, kind)), "aoi": context.order.inputs["aoi"]}]


def _source(product: Product, kind: str) -> Path:
    source = {"Raster": product.raster, "Vector": product.vector}[kind]
    if source is None:
        raise UnknownProduct(f"{product.title} has no {kind} any more")
    return source


def _make(part: Part, context: JobContext) -> Piece:
    kind = part["kind"]
    extract = getattr(import_module(f"products.{kind.lower()}.extract"), f"extract_{kind.lower()}")
    folder = context.folder / "members"
    folder.mkdir()
    name = f"{kind}_{context.job_id}"
    area = read_area(part["aoi"]).within(seen_of(context))
    product = product_of(context)
    members = extract(Path(part["source"]), area, folder, name=name, report=context.report, classes=product.classes)
    place = f"an area of {area.km2:,.2f} km2" + (" (test order)" if is_test(context.order) else "")
    known = describe(members[0], product, area.geometry, place=place)
    members += write_metadata(known, folder)
    return {"name": name, "folder": str(folder), "members": [str(member) for member in members]}


def _assemble(pieces: Sequence[Piece], context: JobContext) -> Manifest:
    (piece,) = pieces
    target = context.folder / f"{piece['name']}.zip"
    pack([Path(member) for member in piece["members"]], target, report=context.report)
    shutil.rmtree(piece["folder"])
    return (Output("result", None, _MEDIA_TYPE, result_file(target, context, media_type=_MEDIA_TYPE)),)


WORK = Work(_plan, _make, _assemble)
