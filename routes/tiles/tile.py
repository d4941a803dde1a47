"""A tile of a map, of one collection or of all: as a PNG or WebP, from the blocks of the coverage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from auth.access import Access, Action, Verdict, current_verdict
from auth.identity import current_identity
from auth.policy import audit, is_drawn, under, visible_area
from plugins.coverages import CoverageProvider, Size
from plugins.styles import DEFAULT_STYLE
from products.area import Area
from products.classes import Rgb
from products.limits import MAX_PIXELS
from products.operation import Bounds
from products.raster.picture import Layer, Palette, Style, encoded, joined, over, palette_of
from products.tiling import TileLimits, TileMatrix, TileMatrixSet
from routes.guard import GuardedRoute, for_foreign, is_public_for_one, on_collection, refusal
from routes.http.preconditions import Validators, check_preconditions
from routes.http.problem import NOT_FOUND, Problem, bad_parameter
from routes.pygeoapi.handlers import no_such_part
from routes.query.parameters import DATETIME, NAMES, Parameter, allow_parameters, at_time, negotiate
from routes.resources import Collection, Resources, collection_of, resources_of
from routes.tiles.cache import TileCache
from routes.tiles.styles import DRAWING_PARAMETERS, asked_style, read_drawing, style_of

TILE_FORMS = {"png": "image/png", "webp": "image/webp"}
SCALES = ("", "@2x", "@3x", "@4x")
"""Suffixes of the column, which multiply the pixels along each side for screens of a higher density."""
_DIGITS = 10
_CACHED = "public, max-age=3600"
_MADE_BY = version("landcast")

WHOLE = Verdict(allowed=True)
"""The verdict for tiles that are drawn for all callers."""
COLLECTIONS = Parameter("collections", "The collections that are drawn, the first on top; all without it.", NAMES)
TILE_PARAMETERS = (DATETIME, *DRAWING_PARAMETERS)


@dataclass(frozen=True, slots=True)
class TilePlace:
    """A tile by its set, matrix, row and column; `scale` multiplies its pixels."""

    tiles: TileMatrixSet
    matrix: TileMatrix
    row: int
    column: int
    scale: int = 1

    @property
    def bounds(self) -> Bounds:
        """The box of the tile in the CRS of the set."""
        return self.matrix.bounds(self.row, self.column)

    @property
    def size(self) -> Size:
        """Pixels across and down."""
        width, height = self.matrix.size
        return width * self.scale, height * self.scale


@dataclass(frozen=True, slots=True)
class DrawnCoverage:
    """A coverage that is drawn in a tile, its drawing, and its visible area."""

    provider: CoverageProvider
    drawing: Style
    verdict: Verdict = WHOLE

    @property
    def is_plain(self) -> bool:
        """Whether all of it is drawn, in a style without changes. Raises RestrictionUnsupported."""
        return visible_area(self.verdict) is None and any(self.drawing == each.drawing for each in self.provider.styles)

    def layer(self, place: TilePlace) -> Layer | None:
        """Return the picture of a tile, None if it is empty. Raises BrokenSource, RequestTooLarge."""
        extent, drawing = (place.bounds, place.tiles.crs, place.size), self.drawing
        with under(self.verdict):
            if drawing.channels:
                found = self.provider.read_colours(*extent, drawing.channels)
                return None if found is None else over(found, drawing.background)
            if drawing.ramp is None:
                values = self.provider.read_tile(*extent)
            else:
                values = self.provider.read_steps(*extent, drawing.ramp)
            return None if values is None else (values, palette_of(drawing))


@dataclass(frozen=True, slots=True)
class TilePicture:
    """The content of a tile: coverages of collections with their files at `versions`, the first on top."""

    collections: Sequence[Collection]
    versions: Sequence[Any]
    drawn: Sequence[DrawnCoverage]
    place: TilePlace
    form: str
    key: str = field(init=False)
    """The identity of the tile, which also depends on the versions of its files and on the visible area."""

    def __post_init__(self) -> None:
        layers = [
            (each.provider.data, each.drawing, each.verdict.area and _mark(each.verdict.area)) for each in self.drawn
        ]
        place = self.place.bounds, self.place.tiles.crs, self.place.size
        identity = repr((_MADE_BY, self.versions, place, self.form, layers)).encode()
        object.__setattr__(self, "key", blake2b(identity, digest_size=12).hexdigest())

    @property
    def modified(self) -> int:
        """The second of the last change of a file."""
        times = [state[2] for found in self.versions for source in found or () for state in source if state]
        return -(-max(times, default=0) // 1_000_000_000)

    def content(self, cache: TileCache | None) -> bytes:
        """Return the image, from the cache if possible. Raises BrokenSource, RequestTooLarge."""
        is_cached = all(each.is_plain for each in self.drawn)
        found = cache.get(self.key) if cache is not None and is_cached else None
        if found is not None:
            return found
        content = self.draw()
        if content is None:
            return _blank(self.place.size, self.drawn[0].drawing.background if self.drawn else None, self.form)
        if cache is not None and is_cached and versions_of(self.collections) == self.versions:
            cache.put(self.key, content)
        return content

    def draw(self) -> bytes | None:
        """Draw and return the image, or None if it is empty."""
        layers = [found for each in self.drawn if (found := each.layer(self.place)) is not None]
        return encoded(joined(layers), self.form) if layers else None


def versions_of(collections: Sequence[Collection]) -> list[Any]:
    """Return the versions of the files of collections."""
    return [each.versions() for each in collections]


def get_tile(request: Request) -> Response:
    """Answer with a tile of the collection's map; 404 outside of its limits, a blank tile where there is no data."""
    allow_parameters(request, *TILE_PARAMETERS)
    collection = collection_of(request)
    style = asked_style(request, collection).id
    return answer_tile(request, [collection], read_place(request, request.path_params), style=style)


def get_dataset_tile(request: Request) -> Response:
    """Answer with a tile of the maps of several collections, one on top of the other."""
    allow_parameters(request, COLLECTIONS, *TILE_PARAMETERS)
    return answer_tile(request, chosen(request), read_place(request, request.path_params))


def chosen(request: Request) -> list[Collection]:
    """Return the requested collections among the visible ones, by default all of these."""
    there_are = {each.id: each for each in request.state.collections}
    named = COLLECTIONS.of(request)
    for name in named or ():
        if name not in there_are:
            raise bad_parameter(COLLECTIONS.name, name, f"allowed: {', '.join(there_are)}")
    return [there_are[name] for name in dict.fromkeys(named or there_are)]


def answer_tile(
    request: Request,
    collections: Sequence[Collection],
    place: TilePlace,
    *,
    form: str | None = None,
    style: str = DEFAULT_STYLE,
) -> Response:
    """Answer with the tile of these collections, the first on top, in a style. Raises Problem: 400, 404, 413, 503."""
    form = form or negotiate(request, TILE_FORMS)
    versions = versions_of(collections)  # first, so that the read data is of this version or a later one
    providers = [(each, each.readable_coverage()) for each in collections]
    there = [(collection, provider) for collection, provider in providers if _has(provider, place)]
    if not there:
        raise _outside(place, [provider for _, provider in providers])
    drawn = [
        DrawnCoverage(
            at,
            read_drawing(request, provider, style_of(collection, style).drawing),
            _verdict(request, collection),
        )
        for collection, provider in there
        if (at := at_time(request, collection.configured, provider)) is not None
    ]
    picture = TilePicture(collections, versions, drawn, place, form)
    validators = Validators(f'"{picture.key}"', picture.modified)
    headers = {"Vary": "Accept", "Cache-Control": _CACHED, "ETag": validators.etag}
    if (status := check_preconditions(request, validators)) is HTTPStatus.NOT_MODIFIED:
        return Response(status_code=status, headers=headers)
    headers["Content-Crs"] = f"<{place.tiles.crs_uri}>"
    content = picture.content(resources_of(request).tile_cache)
    return Response(content, headers=headers, media_type=TILE_FORMS[form])


def _verdict(request: Request, collection: Collection) -> Verdict:
    """Return the verdict on one of the collections of the request."""
    verdicts: Mapping[str, Verdict] = getattr(request.state, "verdicts", {})
    return verdicts.get(collection.id) or current_verdict.get()


@lru_cache(32)
def _blank(size: Size, background: Rgb | None, form: str) -> bytes:
    clear = (*background, 255) if background else (0, 0, 0, 0)
    return encoded((np.zeros((size[1], size[0]), np.uint8), Palette(np.zeros(256, np.uint8), (clear,))), form)


def _limits(provider: CoverageProvider, place: TilePlace) -> TileLimits | None:
    extent = place.tiles.extent(provider.whole.bbox, provider.native.epsg)
    return place.matrix.limits(extent) if extent else None


def _has(provider: CoverageProvider, place: TilePlace) -> bool:
    limits = _limits(provider, place)
    return limits is not None and limits.has(place.row, place.column)


def _outside(place: TilePlace, providers: Sequence[CoverageProvider]) -> Problem:
    found = (_limits(each, place) for each in providers)
    allowed = "; ".join(
        f"rows {each.top} to {each.bottom}, columns {each.left} to {each.right}" for each in found if each
    )
    detail = f"tile {place.matrix.id}/{place.row}/{place.column} of {place.tiles.id} lies outside; allowed: "
    return Problem(HTTPStatus.NOT_FOUND, detail + (allowed or "none in this set"), type_=NOT_FOUND)


@lru_cache(64)
def _mark(area: Area) -> str:
    return blake2b(area.geometry.wkb, digest_size=12).hexdigest()


def read_place(request: Request, given: Mapping[str, str]) -> TilePlace:
    """Return the tile of a path. Raises Problem: 404 if it does not exist, 400 if it is invalid."""
    tiles = matrix_set_of(request, given["matrix_set"])
    matrix = tiles.matrices.get(given["matrix"])
    if matrix is None:
        known = list(tiles.matrices)
        detail = f"{tiles.id} has no tile matrix {given['matrix'][:80]!r}; there are {known[0]} to {known[-1]}"
        raise Problem(HTTPStatus.NOT_FOUND, detail, type_=NOT_FOUND)
    written, at, scale = given["column"].partition("@")
    if at + scale not in SCALES:
        raise bad_parameter("column", given["column"], f"allowed: a whole number, or with {', '.join(SCALES[1:])}")
    row, column = _whole("row", given["row"]), _whole("column", written)
    for name, number, count in (("row", row, matrix.rows), ("column", column, matrix.columns)):
        if number >= count:
            detail = f"{name} {number} of tile matrix {matrix.id}: allowed: 0 to {count - 1}"
            raise Problem(HTTPStatus.NOT_FOUND, detail, type_=NOT_FOUND)
    place = TilePlace(tiles, matrix, row, column, int(scale[:1] or 1))
    if place.size[0] * place.size[1] > MAX_PIXELS:
        detail = f"{place.size[0]} x {place.size[1]} pixels were asked for, at most {MAX_PIXELS} are drawn"
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    return place


def matrix_set_of(request: Request, name: str) -> TileMatrixSet:
    """Return the tile matrix set. Raises Problem 404."""
    known = resources_of(request).matrix_sets
    if name not in known:
        detail = f"there is no tile matrix set {name[:80]!r}; there are {', '.join(known)}"
        raise Problem(HTTPStatus.NOT_FOUND, detail, type_=NOT_FOUND)
    return known[name]


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise bad_parameter(name, text, "allowed: a whole number from 0")
    return int(text)


ON_COLLECTION = on_collection(Action.READ_TILES)
_IN_PARTS = Verdict(
    allowed=False, reason="you may see only a part of each collection, and this route cannot filter them"
)


@dataclass(frozen=True, slots=True)
class OnCoverages:
    """An action on whichever coverages of ours the caller may do it to, which are left in `request.state.collections`.

    `request.state.verdicts` has the verdict on each, by its id. One of which rules for rows leave a part, or an area
    beyond which it is refused, is not among them.
    """

    action: Action

    async def admit(self, request: Request) -> Verdict:
        """Let in whom the policy lets at one of them. Raises the refusal, Problem 404 if the caller may see none."""
        identity, resources = current_identity.get(), resources_of(request)
        there_are = [each for each in resources.listed_collections() if "coverage" in each.kinds - each.foreign]
        verdicts = {each.id: resources.policy(identity, Access(self.action, each.id)) for each in there_are}
        for name, verdict in verdicts.items():
            audit(identity, Access(self.action, name), verdict)
        seen = [each for each in there_are if is_drawn(verdicts[each.id])]
        if not there_are:
            raise Problem(HTTPStatus.NOT_FOUND, "there is no collection with a map", type_=NOT_FOUND)
        if not seen:
            refused = next((verdict for verdict in verdicts.values() if not verdict.allowed), _IN_PARTS)
            raise refusal(request, identity, refused)
        request.state.collections, request.state.verdicts = seen, verdicts
        return verdicts[seen[0].id]

    def is_public(self, resources: Resources, parameters: Mapping[str, str]) -> bool:
        """Ask the policy of every collection."""
        del parameters
        return is_public_for_one(resources, self.action, resources.collections)


ON_COLLECTIONS = OnCoverages(Action.READ_TILES)
NO_TILES = for_foreign(no_such_part, "coverage")
TILE_PATH = "/map/tiles/{matrix_set}/{matrix}/{row}/{column}"
_ONE = "/collections/{collection_id}"
STYLED = (_ONE, f"{_ONE}/styles/{{style}}")
"""The paths of the map tiles of a collection: in its default style, and in each style."""
routes = [
    *(
        GuardedRoute(f"{place}{TILE_PATH}", get_tile, needs=ON_COLLECTION, threads="light", foreign=NO_TILES)
        for place in STYLED
    ),
    GuardedRoute(TILE_PATH, get_dataset_tile, needs=ON_COLLECTIONS, threads="light"),
]
