"""Deliver the European raster: the product's own file, linked as a prebuilt file and never copied."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from orchestration.job import Manifest
from orchestration.prebuilt.product import PrebuiltProduct, PrebuiltProducts, checksum, manifest_of
from orchestration.work import JobContext, Part, Piece, Work, product_of
from products.progress import Report
from products.whole import link


def _lock(context: JobContext) -> AbstractContextManager[object]:
    return PrebuiltProducts(context.results).lock(_prebuilt(context), context.report)


def _prebuilt(context: JobContext) -> PrebuiltProduct:
    return PrebuiltProduct(product_of(context), "Raster")


def _plan(context: JobContext) -> Sequence[Part]:
    prebuilt = _prebuilt(context)
    return [] if PrebuiltProducts(context.results).find(prebuilt) else [{"prebuilt": prebuilt.key()}]


def _make(part: Part, context: JobContext) -> Piece:
    """Compute the checksum, in one part, as each block of SHA-256 needs the one before."""
    prebuilt = _prebuilt(context)
    prebuilt.check(part["prebuilt"])
    return {**part, "sha256": checksum(prebuilt.source, context.report)}


def _assemble(pieces: Sequence[Piece], context: JobContext) -> Manifest:
    prebuilt = _prebuilt(context)

    def write(target: Path, _report: Report) -> str | None:
        link(prebuilt.source, target)
        for piece in pieces:
            prebuilt.check(piece["prebuilt"])
        return pieces[0]["sha256"] if pieces else None

    return manifest_of(PrebuiltProducts(context.results).provide(prebuilt, write, context.folder, context.report))


WORK = Work(_plan, _make, _assemble, _lock)
