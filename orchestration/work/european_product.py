"""Give the European raster: the product's own file, linked into the house and never copied."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from orchestration.house import Edition, House, manifest_of
from orchestration.job import Manifest, ResultFile
from orchestration.work import Bench, Part, Piece, Work, product_of
from products.progress import Report


def _plan(_bench: Bench) -> Sequence[Part]:
    return [{}]


def _make(_part: Part, bench: Bench) -> Piece:
    edition = Edition(product_of(bench), "Raster")

    def write(target: Path, _report: Report) -> None:
        link(edition.source, target)

    return asdict(House(bench.results).provide(edition, write, bench.folder, bench.report))


def link(source: Path, target: Path) -> None:
    """Make the target another name of the source: a hard link, a symbolic one where the file system has no other."""
    source = source.resolve()
    try:
        target.hardlink_to(source)
    except OSError:
        target.symlink_to(source)


def _assemble(pieces: Sequence[Piece], _bench: Bench) -> Manifest:
    (piece,) = pieces
    return manifest_of(ResultFile(**piece))


WORK = Work(_plan, _make, _assemble)
