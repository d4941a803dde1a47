"""Tile matrix sets (OGC 17-083r4): how the Earth is divided into tiles, at each scale."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import morecantile
from pydantic import ValidationError
from pyproj import CRS
from pyproj.exceptions import CRSError

from products.catalogue import InvalidConfiguration
from products.errors import InvalidArea
from products.operation import Bounds, is_northing_first, reproject

_DEFAULT = ("WebMercatorQuad", "EuropeanETRS89_LAEAQuad")
"""Those that are served if the configuration names none; both are registered at the OGC."""
PIXEL_ON_SCREEN = 0.00028
"""Metres, as the OGC takes it for scale denominators."""
_MOST_SIDE = 4_096
_CRS84 = 4326


@dataclass(frozen=True, slots=True)
class TileMatrix:
    """The tiles of one scale: `begin` is the corner of row 0 and column 0, `down` whether rows count from north.

    `span` is the width and height of a tile in units of the CRS, `size` in pixels; there are `columns` and `rows`.
    """

    id: str
    scale_denominator: float
    begin: tuple[float, float]
    span: tuple[float, float]
    size: tuple[int, int]
    columns: int
    rows: int
    down: bool

    def bounds(self, row: int, column: int) -> Bounds:
        """Return the box of a tile in the CRS, x before y."""
        west = self.begin[0] + column * self.span[0]
        south = self.begin[1] - (row + 1) * self.span[1] if self.down else self.begin[1] + row * self.span[1]
        return west, south, west + self.span[0], south + self.span[1]

    def limits(self, extent: Bounds) -> "TileLimits | None":
        """Return the tiles that a box in the CRS meets, None for none."""
        west, south, east, north = extent
        left, right = ((edge - self.begin[0]) / self.span[0] for edge in (west, east))
        low, high = ((edge - self.begin[1]) / self.span[1] for edge in (south, north))
        top, bottom = (-high, -low) if self.down else (low, high)
        first, last = max(0, math.floor(left)), min(self.columns, math.ceil(right)) - 1
        upper, lower = max(0, math.floor(top)), min(self.rows, math.ceil(bottom)) - 1
        return TileLimits(upper, lower, first, last) if first <= last and upper <= lower else None


@dataclass(frozen=True, slots=True)
class TileLimits:
    """The first and the last row and column of a matrix in which there may be data."""

    top: int
    bottom: int
    left: int
    right: int

    def has(self, row: int, column: int) -> bool:
        """Return whether a tile is among them."""
        return self.top <= row <= self.bottom and self.left <= column <= self.right


@dataclass(frozen=True, slots=True)
class TileMatrixSet:
    """A set of matrices by id, the coarsest first, in a CRS: an EPSG code, or what PROJ reads. `document` is its JSON.

    `northing_first`: in documents a point of this CRS has its northing (latitude) first.
    """

    id: str
    title: str
    uri: str
    crs: int | str
    crs_uri: str
    northing_first: bool
    matrices: Mapping[str, TileMatrix]
    document: Mapping[str, Any] = field(repr=False, hash=False, compare=False)

    def extent(self, bounds: Bounds, epsg: int) -> Bounds | None:
        """Return the envelope of a box of another CRS, None where it has no place in this one."""
        try:
            return reproject(bounds, epsg, self.crs)
        except InvalidArea:
            return None

    def finest(self, nominal: float) -> str:
        """Return the id of the first matrix whose pixels are not larger than so many nominal metres, or of the last."""
        fine = (each.id for each in self.matrices.values() if each.scale_denominator * PIXEL_ON_SCREEN <= nominal)
        return next(fine, list(self.matrices)[-1])


def tile_matrix_sets(wanted: Sequence[str | Mapping[str, Any]] = _DEFAULT) -> dict[str, TileMatrixSet]:
    """Return sets by id: those that morecantile knows by name, others by their JSON. Raises ValueError for no set."""
    found = [_read(each) for each in wanted]
    return {each.id: each for each in found}


def _read(wanted: str | Mapping[str, Any]) -> TileMatrixSet:
    known = morecantile.tms.list()
    if wanted in known:
        tiles = morecantile.tms.get(str(wanted))
    elif not isinstance(wanted, Mapping):
        raise ValueError(f"{wanted!r}: allowed: {', '.join(known)}, or a mapping that is a tile matrix set")
    else:
        try:
            tiles = morecantile.TileMatrixSet.model_validate(wanted)
        except (ValidationError, CRSError) as error:
            raise ValueError(f"is no tile matrix set of OGC 17-083r4: {_first(error)}") from error
    if not tiles.id or tiles.is_variable:
        raise ValueError(f"{tiles.id or 'it'}: allowed: a set with an id, without variableMatrixWidths")
    crs = CRS.from_user_input(tiles.crs.to_wkt())
    northing_first = _is_northing(tiles.orderedAxes[0]) if tiles.orderedAxes else is_northing_first(crs)
    matrices = [_matrix(each, northing_first=northing_first) for each in tiles.tileMatrices]
    by_id = {each.id: each for each in sorted(matrices, key=lambda each: -each.scale_denominator)}
    if len({each.id for each in matrices}) < len(matrices) or max(max(each.size) for each in matrices) > _MOST_SIDE:
        raise ValueError(f"{tiles.id}: allowed: each matrix once, tiles of at most {_MOST_SIDE} pixels")
    document = tiles.model_dump(mode="json", exclude_none=True)
    uri = document["crs"] if isinstance(document["crs"], str) else ""
    return TileMatrixSet(
        tiles.id,
        tiles.title or tiles.id,
        str(tiles.uri or ""),
        _CRS84 if uri.endswith("/CRS84") else crs.to_epsg() or crs.to_wkt(),
        uri,
        northing_first,
        by_id,
        document | (_in_older_terms(document, by_id, northing_first=northing_first) if uri else {}),
    )


def _in_older_terms(
    document: Mapping[str, Any], matrices: Mapping[str, TileMatrix], *, northing_first: bool
) -> dict[str, Any]:
    """Return the members of 17-083r2, beside those of today: none where rows count from south.

    GDAL 3.6 reads no others (remove when it is not asked for any more); newer ones read those of today.
    """
    if not all(each.down for each in matrices.values()):
        return {}
    coarsest = next(iter(matrices.values()))
    west, north = coarsest.begin
    corners = (west, north - coarsest.rows * coarsest.span[1]), (west + coarsest.columns * coarsest.span[0], north)
    low, high = (list(each[::-1] if northing_first else each) for each in corners)
    older = [{"identifier": each["id"], "topLeftCorner": each["pointOfOrigin"]} for each in document["tileMatrices"]]
    return {
        "identifier": document["id"],
        "supportedCRS": document["crs"],
        "boundingBox": {"lowerLeft": low, "upperRight": high, "crs": document["crs"]},
        "tileMatrices": [each | more for each, more in zip(document["tileMatrices"], older, strict=True)],
    }


def matrix_sets_of(configuration: Mapping[str, Any]) -> dict[str, TileMatrixSet]:
    """Return the sets of `server.tile_matrix_sets` by id, or the default ones. Raises InvalidConfiguration."""
    server = configuration.get("server")
    named = server.get("tile_matrix_sets") if isinstance(server, Mapping) else None
    try:
        return tile_matrix_sets(named if isinstance(named, list) else _DEFAULT)
    except ValueError as error:
        raise InvalidConfiguration(f"server.tile_matrix_sets: {error}") from error


def _is_northing(axis: str) -> bool:
    return axis.lower() in {"y", "n", "lat", "north", "northing", "latitude"}


def _first(error: ValidationError | CRSError) -> str:
    if isinstance(error, CRSError):
        return str(error)
    [wrong, *_] = error.errors(include_url=False, include_context=False)
    return f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"


def _matrix(given: Any, *, northing_first: bool) -> TileMatrix:
    first, second = given.pointOfOrigin
    return TileMatrix(
        given.id,
        given.scaleDenominator,
        (second, first) if northing_first else (first, second),
        (given.cellSize * given.tileWidth, given.cellSize * given.tileHeight),
        (given.tileWidth, given.tileHeight),
        given.matrixWidth,
        given.matrixHeight,
        given.cornerOfOrigin != "bottomLeft",
    )
