"""All items of a query in one answer: streamed while they are read, or as a file of another format."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from importlib.util import find_spec
from itertools import chain
from os import fstat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from plugins.features import FeatureProvider, ItemQuery
from products.vector.query import Position
from routes.features.forms import Table, as_csv, as_sequence
from routes.features.schemas import geometry_name_of, id_name_of
from routes.guard import Later
from routes.http.media_types import CSV
from routes.http.problem import Problem
from routes.pages.respond import FromFile
from routes.query.parameters import LIMIT
from routes.resources import Collection, collection_of, resources_of

STREAMED = {"geojsonseq": "application/geo+json-seq", "csv": CSV}
_HAS_GDAL = find_spec("pyogrio") is not None and find_spec("pyarrow") is not None
AS_FILES: Mapping[str, str] = (
    {
        "fgb": "application/flatgeobuf",
        "gpkg": "application/geopackage+sqlite3",
        "shp": "application/zip",
        "parquet": "application/vnd.apache.parquet",
    }
    if _HAS_GDAL
    else {}
)
"""The media types of files by value of `f`, if `landcast[load]` is installed."""
_ENDINGS = {"csv": "csv", "geojsonseq": "geojsonl", "shp": "shp.zip"}
_ALL = 1 << 40
_ROOT = Path(__file__).parents[2]
"""The folder of our packages, for the child process."""
_PAGE = 2_000
_SEVERAL_TYPES = 3
_LOGGER = logging.getLogger(__name__)


class BrokenDownload(Exception):
    """A download that cannot continue: its client sees that it was cut off."""


def get_all(
    request: Request, collection: Collection, provider: FeatureProvider, query: ItemQuery, form: str
) -> Response | Later:
    """Answer with all items of a query, at most `limit`. Raises Problem 413 if there are too many.

    The first items are read before the answer begins, so that errors of the request get their status.
    """
    downloads = resources_of(request).downloads
    most = downloads.streamed if form in STREAMED else downloads.filed
    if query.limit:
        query = replace(query, limit=LIMIT.of(request) or _ALL)
    if form in AS_FILES:
        query = replace(query, crs=replace(query.crs, northing_first=False))  # files have x before y
    _refuse_many(provider, query, most)
    name = quote(f"{collection.id}.{_ENDINGS.get(form, form)}", safe="")
    headers = {
        "Vary": "Accept",
        "Content-Crs": f"<{query.crs.uri}>",
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
    }
    if request.method == "HEAD":
        return Response(headers=headers, media_type={**STREAMED, **AS_FILES}[form])
    there = _pieces(collection, provider, query, most=most)
    pieces = chain([next(there, [])], there)
    download = _Download(provider, query, form)
    whole = LIMIT.text(request) is None
    if form in AS_FILES:
        make = partial(download.file, pieces, headers)
        return Later(partial(copy_context().run, partial(_noted, request, make) if whole else make))
    if whole:
        resources_of(request).note_download(collection.id)
    return StreamingResponse(_in_this_context(download.written(pieces)), headers=headers, media_type=STREAMED[form])


def _noted(request: Request, make: Callable[[], Response]) -> Response:
    """Return the file; once it is made there is a message about its download."""
    response = make()
    resources_of(request).note_download(collection_of(request).id)
    return response


def _refuse_many(provider: FeatureProvider, query: ItemQuery, most: int) -> None:
    if query.limit <= most:
        return
    matched = provider.find(replace(query, limit=0, counting="cheap")).summary.matched or 0
    if matched > most:
        detail = (
            f"some {matched:,} items are selected, and a download of this form has at most {most:,}; "
            "allowed: fewer by bbox, filter or limit, or f=json page by page"
        )
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


def _pieces(
    collection: Collection, provider: FeatureProvider, query: ItemQuery, *, most: int
) -> Iterator[Sequence[bytes]]:
    """Yield the items in batches. Raises BrokenDownload if they cannot be continued."""
    left, place = query.limit, query.after
    version = None if collection.asks_database else collection.versions()
    query = replace(query, counting="none")
    while left > 0:
        items, summary = provider.texts(replace(query, limit=min(left, _PAGE), after=place))
        left -= len(items)
        if query.limit - left > most:
            raise BrokenDownload(f"more than {most} items")
        yield items
        if not summary.more or not items:
            return
        place, query = _next(summary.next), replace(query, offset=0)
        if version is not None and collection.versions() != version:
            raise BrokenDownload("the file has changed")


def _next(place: Position | None) -> Position:
    if place is None:
        raise BrokenDownload("an item has no place in the order")
    return place


def _in_this_context(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces, each made in the context of the request, so that its caller's rights apply to the end."""
    context = copy_context()
    while (piece := context.run(next, pieces, None)) is not None:
        yield piece


@dataclass(frozen=True, slots=True)
class _Download:
    """The items of a query in one of the forms."""

    provider: FeatureProvider
    query: ItemQuery
    form: str

    @property
    def fields(self) -> dict[str, Any]:
        """The requested attributes."""
        wanted, fields = self.query.properties, self.provider.get_fields()
        return {name: field for name, field in fields.items() if wanted is None or name in wanted}

    def written(self, pieces: Iterator[Sequence[bytes]]) -> Iterator[bytes]:
        """Return the items as text."""
        if self.form == "geojsonseq":
            return as_sequence(pieces)
        geometry = geometry_name_of(self.provider) if self.query.geometry else None
        table = Table(id_name_of(self.provider), tuple(self.fields), geometry, self.provider.geometry_type == "point")
        return as_csv(pieces, table)

    def file(self, pieces: Iterator[Sequence[bytes]], headers: Mapping[str, str]) -> Response:
        """Answer with a file that a child process makes, so that GDAL and its memory are not in the server."""
        with TemporaryDirectory(prefix="landcast-download-") as folder:
            target = Path(folder) / f"made.{self.form}"
            self._make(pieces, target)
            file = target.open("rb")  # unnamed, it exists until it is closed
        return FromFile(file, fstat(file.fileno()).st_size, headers=headers, media_type=AS_FILES[self.form])

    def _make(self, pieces: Iterator[Sequence[bytes]], target: Path) -> None:
        crs = self.query.crs
        layer = {
            "name": "items",
            "fields": {id_name_of(self.provider): {"type": self.provider.id_type}, **self.fields},
            "shape": self.provider.geometry_type,
            "crs": f"EPSG:{crs.epsg}" if crs.epsg else str(crs.name),
        }
        command = [sys.executable, "-m", "products.vector.convert", self.form, str(target), json.dumps(layer)]
        log = target.with_suffix(".log")
        with log.open("wb") as said, subprocess.Popen(command, stdin=subprocess.PIPE, stderr=said, cwd=_ROOT) as child:  # noqa: S603 - a program of ours
            try:
                with suppress(BrokenPipeError), cast("IO[bytes]", child.stdin) as lines:
                    for items in pieces:
                        lines.write(b"".join(item + b"\n" for item in items))
                status = child.wait()
            except BaseException:
                child.kill()
                raise
        if status == _SEVERAL_TYPES:
            detail = "these geometries are of several types, and a Shapefile has one; allowed: another f, a filter"
            raise Problem(HTTPStatus.BAD_REQUEST, detail)
        if status:
            _LOGGER.error(
                "a download as %s failed, %d: %s", self.form, status, log.read_text(errors="replace")[-2_000:]
            )
            detail = f"the items could not be written as {self.form}; allowed: another f"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "60"})
