"""Prebuilt products: national and European files, made on the first order and kept for all that follow."""

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orchestration.job import Manifest, Output, ResultFile
from orchestration.lock import wait_for
from orchestration.prebuilt.record import PREBUILT_FOLDER, recorded_file, write_record
from products.catalogue import Product
from products.errors import BrokenSource, UnknownProduct
from products.names import Kind, european_name, national_name
from products.nations import Nation
from products.progress import Report, between
from products.whole import make_durable

COG = "image/tiff; application=geotiff; profile=cloud-optimized"

_CHUNK = 1 << 22
LOCKS = _TURN, _LOCK = (".turn", ".lock")
"""Held in the prebuilt's folder: by who makes all of it in one process, and by who puts the file there."""
_MADE = 0.8
"""The share of an prebuilt that making it takes; the rest is its checksum."""
_WAITS = "waits for the same product, which another order is making"

Write = Callable[[Path, Report], str | None]
"""Writes a file at the path, whole and durable; returns its SHA-256 where it is known already."""


@dataclass(frozen=True, slots=True)
class PrebuiltProduct:
    """A product for a nation, or its European raster where `nation` is None."""

    product: Product
    kind: Kind
    nation: Nation | None = None

    @property
    def source(self) -> Path:
        """The file of the product that it is made from. Raises UnknownProduct where there is none."""
        source = self.product.raster if self.kind == "Raster" else self.product.vector
        if source is None:
            raise UnknownProduct(f"{self.product.title} has no {self.kind} any more")
        return source

    @property
    def base(self) -> str:
        """The name without its suffix."""
        if self.nation is None:
            return european_name(self.product)
        return national_name(self.product, self.kind, self.nation)

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.base}.tif" if self.nation is None else f"{self.base}.zip"

    @property
    def media_type(self) -> str:
        """The media type of its file."""
        if self.nation is None:
            return COG
        return "application/zip"

    def key(self) -> str:
        """Return what changes with the product as configured and with its source. Raises BrokenSource."""
        try:
            status = self.source.stat()
        except OSError as error:
            raise BrokenSource(f"{self.source}: {error.strerror}") from error
        nation = self.nation and self.nation.name
        made_of = [repr(self.product), self.kind, nation, str(self.source), status.st_size, status.st_mtime_ns]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:32]

    def check(self, key: str) -> None:
        """Refuse to go on where the product is not as it was when its key was this one. Raises BrokenSource."""
        if self.key() != key:
            raise BrokenSource(f"{self.source} was changed while {self.name} was made")


class PrebuiltProducts:
    """The prebuilt files, below the folder of results: `house/{key}/{name}` and, once it is complete, its record.

    Their paths stand in the results of many jobs; the end of a job never removes one.
    """

    def __init__(self, results: Path) -> None:
        self._results = results

    def find(self, prebuilt: PrebuiltProduct) -> ResultFile | None:
        """Return the prebuilt's file, None where it is not made of the source as it now is. Raises BrokenSource."""
        return recorded_file(self._folder(prebuilt.key()) / prebuilt.name)

    def ready(self, prebuilt: PrebuiltProduct) -> Manifest | None:
        """Return the result of an order of the prebuilt, None where its file is not made yet. Raises BrokenSource."""
        file = self.find(prebuilt)
        return None if file is None else manifest_of(file)

    def turn(self, prebuilt: PrebuiltProduct, report: Report) -> AbstractContextManager[None]:
        """Wait until no other process that makes the prebuilt as a whole is at it. Raises BrokenSource."""
        return wait_for(self._folder(prebuilt.key()) / _TURN, report, _WAITS)

    def provide(self, prebuilt: PrebuiltProduct, write: Write, stage: Path, report: Report) -> ResultFile:
        """Return the prebuilt's file, made now unless it is there; of several at once one makes it, the others wait.

        `write` makes it inside the folder `stage`, on the same file system. Raises BrokenSource, which is also the end
        where the source was changed meanwhile.
        """
        key = prebuilt.key()
        folder = self._folder(key)
        path = folder / prebuilt.name
        with wait_for(folder / _LOCK, report, _WAITS):
            if (file := self.find(prebuilt)) is not None:
                return file
            digest = write(stage / prebuilt.name, between(report, 0, _MADE))
            (stage / prebuilt.name).replace(path)
            digest = digest or checksum(path, between(report, _MADE, 1))
            file = ResultFile(
                prebuilt.name, str(path.relative_to(self._results)), prebuilt.media_type, path.stat().st_size, digest
            )
            prebuilt.check(key)
            write_record(path, file)
        for parent in (folder, folder.parent, self._results):
            make_durable(parent)
        return file

    def _folder(self, key: str) -> Path:
        return self._results / PREBUILT_FOLDER / key


def checksum(path: Path, report: Report) -> str:
    """Return the SHA-256 of a file."""
    digest, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        for chunk in iter(partial(file.read, _CHUNK), b""):
            digest.update(chunk)
            report(min(1.0, file.tell() / size), "Making the checksum")
    return digest.hexdigest()


def manifest_of(file: ResultFile) -> Manifest:
    """Return the result of an order: the file alone."""
    return (Output("result", None, file.media_type, file),)
