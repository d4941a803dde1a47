"""Prebuilt products: national and European files, made for the first order and kept for later ones."""

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from orchestration.job import Manifest, Output, ResultFile
from orchestration.lock import wait_for
from orchestration.prebuilt.record import PREBUILT_FOLDER, recorded_file, write_record
from products.catalogue import Product
from products.errors import BrokenSource, UnknownProduct
from products.nations import Nation
from products.progress import Report, between
from products.whole import make_durable

Kind = Literal["Raster", "Vector"]

COG = "image/tiff; application=geotiff; profile=cloud-optimized"

_CHUNK = 1 << 22
LOCKS = _WHOLE_LOCK, _FILE_LOCK = (".turn", ".lock")
"""Lock files in the prebuilt folder: for making the whole product in one process, and for writing its file."""
_MADE = 0.8
"""The share of making the file in the progress; the rest is its checksum."""
_SERIES = {"clcplus": "CLCplus"}
"""The spelling of a series in names of products."""
_WAITS = "waits for the same product, which another order is making"

Write = Callable[[Path, Report], str | None]
"""Writes a file at the path, durably; returns its SHA-256 or None."""


@dataclass(frozen=True, slots=True)
class PrebuiltProduct:
    """A product for a nation, or its European raster if `nation` is None."""

    product: Product
    kind: Kind
    nation: Nation | None = None

    @property
    def source(self) -> Path:
        """The source file of the product. Raises UnknownProduct if there is none."""
        source = self.product.raster if self.kind == "Raster" else self.product.vector
        if source is None:
            raise UnknownProduct(f"{self.product.title} has no {self.kind} any more")
        return source

    @property
    def base(self) -> str:
        """The file name without its suffix."""
        if self.nation is None:
            return european_name(self.product)
        return national_name(self.product, self.kind, self.nation)

    @property
    def name(self) -> str:
        """The file name."""
        return f"{self.base}.tif" if self.nation is None else f"{self.base}.zip"

    @property
    def media_type(self) -> str:
        """The media type of the file."""
        if self.nation is None:
            return COG
        return "application/zip"

    def key(self) -> str:
        """Return a hash of the product's configuration and source file. Raises BrokenSource."""
        try:
            status = self.source.stat()
        except OSError as error:
            raise BrokenSource(f"{self.source}: {error.strerror}") from error
        nation = self.nation and self.nation.name
        made_of = [repr(self.product), self.kind, nation, str(self.source), status.st_size, status.st_mtime_ns]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:32]

    def check(self, key: str) -> None:
        """Raise BrokenSource if the product's key is no longer this one."""
        if self.key() != key:
            raise BrokenSource(f"{self.source} was changed while {self.name} was made")


class PrebuiltProducts:
    """The prebuilt files in the results folder: `house/{key}/{name}` and, once complete, their records.

    The results of many jobs refer to them, so the end of a job removes none.
    """

    def __init__(self, results: Path) -> None:
        self._results = results

    def find(self, prebuilt: PrebuiltProduct) -> ResultFile | None:
        """Return the file made from the current source, or None. Raises BrokenSource."""
        return recorded_file(self._folder(prebuilt.key()) / prebuilt.name)

    def ready(self, prebuilt: PrebuiltProduct) -> Manifest | None:
        """Return the result of an order for it, or None if its file is not made yet. Raises BrokenSource."""
        file = self.find(prebuilt)
        return None if file is None else manifest_of(file)

    def lock(self, prebuilt: PrebuiltProduct, report: Report) -> AbstractContextManager[None]:
        """Wait for the lock on making the whole product in this process. Raises BrokenSource."""
        return wait_for(self._folder(prebuilt.key()) / _WHOLE_LOCK, report, _WAITS)

    def provide(self, prebuilt: PrebuiltProduct, write: Write, stage: Path, report: Report) -> ResultFile:
        """Return the file, made now if it does not exist; concurrent callers wait for the one that makes it.

        `write` makes it in the folder `stage`, on the same file system. Raises BrokenSource, also if the source changes
        meanwhile.
        """
        key = prebuilt.key()
        folder = self._folder(key)
        path = folder / prebuilt.name
        with wait_for(folder / _FILE_LOCK, report, _WAITS):
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
    """Return the result of an order, which is the file."""
    return (Output("result", None, file.media_type, file),)


def national_name(product: Product, kind: Kind, nation: Nation) -> str:
    """Return `CLMS_CLCplus_RASTER_2023_010m_pl_02180_V1_1` or `CLMS_CLCplus_VECTOR_2023_PL_02180_V1_1`."""
    if kind == "Raster":
        return _raster(product, nation.code.lower(), nation.epsg)
    return f"{_series(product)}_VECTOR_{product.year}_{nation.code}_{_epsg(nation.epsg)}_{product.version}"


def european_name(product: Product) -> str:
    """Return `CLMS_CLCplus_RASTER_2023_010m_eu_03035_V1_1`."""
    return _raster(product, "eu", 3035)


def _raster(product: Product, code: str, epsg: int | None) -> str:
    return f"{_series(product)}_RASTER_{product.year}_010m_{code}_{_epsg(epsg)}_{product.version}"


def _series(product: Product) -> str:
    return f"CLMS_{_SERIES.get(product.series, product.series)}"


def _epsg(epsg: int | None) -> str:
    """Return five digits, `00000` where a nation has no grid of its own."""
    return f"{epsg or 0:05}"
