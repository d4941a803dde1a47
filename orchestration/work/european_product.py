"""Give the European raster: the product's own file, linked into the house and never copied."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from orchestration.job import Manifest
from orchestration.prebuilt.product import PrebuiltProduct, PrebuiltProducts, checksum, manifest_of
from orchestration.work import JobContext, Part, Piece, Work, product_of
from products.progress import Report
from products.whole import link


def _turn(bench: JobContext) -> AbstractContextManager[object]:
    return PrebuiltProducts(bench.results).turn(_edition(bench), bench.report)


def _edition(bench: JobContext) -> PrebuiltProduct:
    return PrebuiltProduct(product_of(bench), "Raster")


def _plan(bench: JobContext) -> Sequence[Part]:
    edition = _edition(bench)
    return [] if PrebuiltProducts(bench.results).find(edition) else [{"edition": edition.key()}]


def _make(part: Part, bench: JobContext) -> Piece:
    """Make the checksum, in one part: each block of SHA-256 needs the one before."""
    edition = _edition(bench)
    edition.check(part["edition"])
    return {**part, "sha256": checksum(edition.source, bench.report)}


def _assemble(pieces: Sequence[Piece], bench: JobContext) -> Manifest:
    edition = _edition(bench)

    def write(target: Path, _report: Report) -> str | None:
        link(edition.source, target)
        for piece in pieces:
            edition.check(piece["edition"])
        return pieces[0]["sha256"] if pieces else None

    return manifest_of(PrebuiltProducts(bench.results).provide(edition, write, bench.folder, bench.report))


WORK = Work(_plan, _make, _assemble, _turn)
