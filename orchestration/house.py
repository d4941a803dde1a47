"""Files of the house: national and European products, made on the first order and kept for all that follow."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from orchestration.job import Manifest, Output, ResultFile
from orchestration.kept import HOUSE, kept_file, write_record
from products.catalogue import Product
from products.errors import BrokenSource, UnknownProduct
from products.names import Kind, european_name, national_name
from products.nations import Nation
from products.progress import Report, between
from products.whole import make_durable

COG = "image/tiff; application=geotiff; profile=cloud-optimized"

_CHUNK = 1 << 22
LOCK = ".lock"
_LOOK = 0.2
"""Seconds between two looks whether the other order is done."""
_MADE = 0.8
"""The share of an edition that making it takes; the rest is its checksum."""
_WAITS = "waits for the same product, which another order is making"

Write = Callable[[Path, Report], None]
"""Writes a file at the path, whole and durable."""


@dataclass(frozen=True, slots=True)
class Edition:
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


class House:
    """The files of the house, below the folder of results: `house/{key}/{name}` and, once it is complete, its record.

    Their paths stand in the results of many jobs; the end of a job never removes one.
    """

    def __init__(self, results: Path) -> None:
        self._results = results

    def find(self, edition: Edition) -> ResultFile | None:
        """Return the edition's file, None where it is not made of the source as it now is. Raises BrokenSource."""
        return kept_file(self._folder(edition.key()) / edition.name)

    def ready(self, edition: Edition) -> Manifest | None:
        """Return the result of an order of the edition, None where its file is not made yet. Raises BrokenSource."""
        file = self.find(edition)
        return None if file is None else manifest_of(file)

    def provide(self, edition: Edition, write: Write, stage: Path, report: Report) -> ResultFile:
        """Return the edition's file, made now unless it is there; of several at once one makes it, the others wait.

        `write` makes it inside the folder `stage`, on the same file system. Raises BrokenSource, which is also the end
        where the source was changed meanwhile.
        """
        key = edition.key()
        folder = self._folder(key)
        with _turn(folder, report):
            if (file := self.find(edition)) is not None:
                return file
            write(stage / edition.name, between(report, 0, _MADE))
            (stage / edition.name).replace(folder / edition.name)
            file = self._measured(folder / edition.name, edition.media_type, between(report, _MADE, 1))
            if edition.key() != key:
                raise BrokenSource(f"{edition.source} was changed while {edition.name} was made")
            write_record(folder / edition.name, file)
        for parent in (folder, folder.parent, self._results):
            make_durable(parent)
        return file

    def _folder(self, key: str) -> Path:
        return self._results / HOUSE / key

    def _measured(self, path: Path, media_type: str, report: Report) -> ResultFile:
        digest, size = hashlib.sha256(), path.stat().st_size
        with path.open("rb") as file:
            for chunk in iter(partial(file.read, _CHUNK), b""):
                digest.update(chunk)
                report(min(1.0, file.tell() / size), "Making the checksum")
        relative = str(path.relative_to(self._results))
        return ResultFile(path.name, relative, media_type, size, digest.hexdigest())


def manifest_of(file: ResultFile) -> Manifest:
    """Return the result of an order: the file alone."""
    return (Output("result", None, file.media_type, file),)


@contextmanager
def _turn(folder: Path, report: Report) -> Iterator[None]:
    """Wait for the folder's lock, which ends with the process that holds it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("w") as lock:
            _wait(lock, report)
            if _is_at(lock, folder / LOCK):
                yield
                return


def _wait(lock: TextIO, report: Report) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(0, _WAITS)
            time.sleep(_LOOK)
        else:
            return


def _is_at(lock: TextIO, path: Path) -> bool:
    """Say whether the lock is still the one of the folder, which may have been swept meanwhile."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False
