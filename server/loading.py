"""Load a file of features into a table of PostGIS: read in batches, repaired, copied, and activated at once."""

import io
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyogrio
import shapely
from numpy.typing import NDArray
from psycopg2 import extensions
from pyproj import CRS
from pyproj.exceptions import CRSError

from products.errors import BrokenSource
from products.progress import Report
from products.vector.layer import quote
from server.table_switch import drop_draft, switch_over
from server.tile_tables import TilePlan, make_tile_tables
from sql.reading import DatabaseSource
from sql.tables import LONGITUDE_LATITUDE

_BATCH = 10_000
_ARROW = {"use_pyarrow": True, "return_fids": True}
_GEOMETRY = "geom"
_LISTED = 20
"""Maximum rows that a report names; further ones are counted."""
_PLURAL = {"Polygon": "MultiPolygon", "LineString": "MultiLineString"}
_NUL, _REPLACED = "\0", "\ufffd"
_LONGITUDE_LATITUDE = 4326
_TYPES: Mapping[str, str] = {
    "bool": "boolean", "int8": "smallint", "int16": "smallint", "uint8": "smallint", "int32": "integer",
    "uint16": "integer", "int64": "bigint", "uint32": "bigint", "uint64": "numeric", "halffloat": "real",
    "float": "real", "double": "double precision", "date32[day]": "date", "date64[ms]": "date", "binary": "bytea",
    "large_binary": "bytea",
}  # fmt: skip
"""PostgreSQL's types by Arrow's."""


@dataclass(slots=True)
class LoadReport:
    """The result of a load: the number of rows, those with a repaired or lost geometry, each with the reason."""

    rows: int = 0
    without_geometry: int = 0
    mended: list[tuple[Any, str]] = field(default_factory=list)
    broken: list[tuple[Any, str]] = field(default_factory=list)
    changed_texts: int = 0
    tiles: str = ""

    def lines(self) -> Iterator[str]:
        """Yield the report for people; each broken row is named."""
        yield f"{self.rows} rows, {self.without_geometry} of them without a geometry"
        if self.tiles:
            yield self.tiles
        yield f"{len(self.mended)} invalid geometries were repaired"
        yield from (f"  row {number}: {reason}" for number, reason in self.mended[:_LISTED])
        if len(self.mended) > _LISTED:
            yield f"  and {len(self.mended) - _LISTED} more"
        if self.changed_texts:
            yield f"{self.changed_texts} texts had NUL, which PostgreSQL does not have, and have U+FFFD instead"
        if self.broken:
            yield f"{len(self.broken)} rows have lost their geometry, which could not be read or repaired:"
            yield from (f"  row {number}: {reason}" for number, reason in self.broken)


@dataclass(frozen=True, slots=True)
class FeatureFile:
    """A layer of a file: its columns, its CRS, its number of rows (-1: unknown), its geometry type."""

    path: Path
    layer: str | None
    schema: pa.Schema
    geometry: str
    fid: str
    rows: int
    crs: str | None
    type: str
    high: bool

    @property
    def columns(self) -> tuple[pa.Field, ...]:
        """The attributes."""
        return tuple(each for each in self.schema if each.name not in {self.geometry, self.fid})


def open_file(path: Path, layer: str | None) -> FeatureFile:
    """Return the description of a layer in a file, of its only one without a name. Raises BrokenSource."""
    try:
        layers = [str(each[0]) for each in pyogrio.list_layers(path)]
        if layer is None and len(layers) != 1:
            raise BrokenSource(f"{path.name} has the layers {', '.join(layers) or 'none'}: name one with --layer")
        if layer is not None and layer not in layers:
            raise BrokenSource(f"{path.name} has no layer {layer!r}; it has {', '.join(layers)}")
        info = pyogrio.read_info(path, layer=layer)
        with pyogrio.open_arrow(path, layer=layer, batch_size=1, **_ARROW) as (meta, reader):
            schema = reader.schema
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.CRSError) as error:
        raise BrokenSource(f"{path.name}: {error}") from error
    type_ = str(info["geometry_type"] or "")
    if not type_:
        raise BrokenSource(f"{path.name}: layer {layer or layers[0]} has no geometry")
    kind = type_.removeprefix("2.5D ").removeprefix("Measured ").removeprefix("3D Measured ").partition(" ")[0]
    return FeatureFile(
        path,
        layer,
        schema,
        meta["geometry_name"] or "wkb_geometry",
        meta.get("fid_column") or "OGC_FID",
        int(info["features"]),
        meta["crs"],
        _PLURAL.get(kind, kind if kind in {"Point", "MultiPoint", "MultiPolygon", "MultiLineString"} else "Geometry"),
        high="2.5D" in type_ or "3D" in type_ or type_.endswith((" Z", " ZM")),
    )


def srid_of(source: FeatureFile, given: int | None) -> int:
    """Return the EPSG code of a file's coordinates: the given one, else the file's own. Raises BrokenSource."""
    if given is not None:
        return given
    if source.crs is None:
        raise BrokenSource(f"{source.path.name} does not say the system of its coordinates: name it with --epsg")
    with suppress(CRSError):
        if (code := CRS.from_user_input(source.crs).to_epsg()) is not None:
            return code
    raise BrokenSource(f"{source.path.name}: its CRS has no EPSG code: transform it, or name a code with --epsg")


def load(
    source: FeatureFile,
    database: DatabaseSource,
    table: str,
    *,
    srid: int,
    key: str | None,
    report: Report,
    tiles: TilePlan | None = None,
) -> LoadReport:
    """Load a file into a new table, which replaces the one of the same name at the end, with its tile tables.

    Raises BrokenSource, psycopg2.Error.
    """
    loaded = LoadReport()
    with closing(database.connect()) as connection:
        cursor = connection.cursor()
        draft = f"{table[:40]} {secrets.token_hex(4)}"
        columns = _columns(source, key)
        try:
            cursor.execute(_definition(draft, source, columns, srid))
            _copy(cursor, draft, _Work(source, columns, srid, loaded), report)
            report(0.9, "indexes")
            _index(cursor, draft, columns, key)
            if tiles is not None:
                report(0.92, "tile tables")
                loaded.tiles = make_tile_tables(cursor, draft, tiles, report)
            report(0.98, "switching over")
            switch_over(connection, draft, table)
        except BaseException:
            with suppress(psycopg2.Error):
                drop_draft(cursor, draft)
            raise
    report(1.0, f"{loaded.rows} rows")
    return loaded


@dataclass(frozen=True, slots=True)
class _Work:
    source: FeatureFile
    columns: Mapping[str, str]
    srid: int
    loaded: LoadReport


def _columns(source: FeatureFile, key: str | None) -> dict[str, str]:
    """Return the types of the columns by name: the key, unless it is an attribute, then the attributes."""
    names = {each.name: _type_of(each.type) for each in source.columns}
    if key is not None and key not in names:
        raise BrokenSource(f"{source.path.name} has no attribute {key!r}; it has {', '.join(names)}")
    if clashing := names.keys() & {_GEOMETRY, LONGITUDE_LATITUDE}:
        raise BrokenSource(f"{source.path.name} has an attribute {clashing.pop()!r}, as the geometry is called")
    if too_long := [name for name in names if len(name.encode()) > 63]:  # noqa: PLR2004 - PostgreSQL's bound
        raise BrokenSource(f"{source.path.name}: attribute {too_long[0]!r}: allowed: names of 63 bytes")
    return names if key is not None else {_fid(names): "bigint", **names}


def _fid(names: Iterable[str]) -> str:
    taken = {name.lower() for name in names}
    return next(each for each in ("id", "fid", "ogc_fid", "landcast_id") if each not in taken)


def _type_of(type_: pa.DataType) -> str:
    if pa.types.is_timestamp(type_):
        return "timestamptz" if type_.tz else "timestamp"
    if pa.types.is_time(type_):
        return "time"
    if pa.types.is_decimal(type_):
        return "numeric"
    return _TYPES.get(str(type_), "jsonb" if pa.types.is_nested(type_) else "text")


def _definition(draft: str, source: FeatureFile, columns: Mapping[str, str], srid: int) -> str:
    attributes = [f"{quote(name)} {type_}" for name, type_ in columns.items()]
    shape = f"{source.type}{'Z' if source.high else ''}"
    attributes.append(f"{_GEOMETRY} geometry({shape}, {srid:d})")
    if srid != _LONGITUDE_LATITUDE:
        moved = f"st_transform({_GEOMETRY}, {_LONGITUDE_LATITUDE})"
        kind = f"geometry({shape}, {_LONGITUDE_LATITUDE})"
        attributes.append(f"{LONGITUDE_LATITUDE} {kind} generated always as ({moved}) stored")
    return f"create table {quote(draft)} ({', '.join(attributes)})"


def _copy(cursor: extensions.cursor, draft: str, work: "_Work", report: Report) -> None:
    source, columns = work.source, work.columns
    names = ", ".join(map(quote, (*columns, _GEOMETRY)))
    statement = f"copy {quote(draft)} ({names}) from stdin (format csv, null '')"
    with pyogrio.open_arrow(source.path, layer=source.layer, batch_size=_BATCH, **_ARROW) as (_, reader):
        cursor.copy_expert(statement, _Rows(_texts(reader, work, report)))


def _texts(batches: Iterable[pa.RecordBatch], work: "_Work", report: Report) -> Iterator[bytes]:
    """Yield batches as CSV, in which an empty text has quotes and NULL has none."""
    source, columns, loaded = work.source, work.columns, work.loaded
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    for batch in batches:
        fids = batch.column(source.fid)
        arrays = [
            fids if name not in batch.schema.names else _written(batch.column(name), loaded, name) for name in columns
        ]
        arrays.append(_outlines(batch.column(source.geometry), fids, work))
        out = io.BytesIO()
        pyarrow.csv.write_csv(pa.table(arrays, names=[*columns, _GEOMETRY]), out, options)
        loaded.rows += batch.num_rows
        share = min(loaded.rows / source.rows, 1) if source.rows > 0 else 0
        report(0.9 * share, f"{loaded.rows} rows")
        yield out.getvalue()


class _Rows(io.RawIOBase):
    """A readable stream of the texts for `copy_expert`."""

    def __init__(self, texts: Iterator[bytes]) -> None:
        super().__init__()
        self._texts = texts
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            text = next(self._texts, None)
            if text is None:
                return b""
            self._rest = memoryview(text)
        size = len(self._rest) if size < 0 else size
        piece, self._rest = self._rest[:size], self._rest[size:]
        return bytes(piece)


def _written(array: Any, loaded: LoadReport, name: str) -> Any:
    """Return an array for CSV: bytes in hexadecimal, texts without NUL."""
    type_ = array.type
    if pa.types.is_dictionary(type_):
        return _written(array.cast(type_.value_type), loaded, name)
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_):
        return pa.array([None if each is None else f"\\x{each.hex()}" for each in array.to_pylist()], pa.string())
    if pa.types.is_nested(type_):
        return pa.array([None if each is None else _json(each) for each in array.to_pylist()], pa.string())
    if not pa.types.is_string(type_) and not pa.types.is_large_string(type_):
        return array
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        raise BrokenSource(f"column {name} has texts that are not UTF-8") from error
    if nul := _count(array):
        loaded.changed_texts += nul
        options = pc.ReplaceSubstringOptions(_NUL, _REPLACED)
        return pc.call_function("replace_substring", [array], options)
    return array


def _count(texts: Any) -> int:
    """Return the number of NULs in texts."""
    counted = pc.call_function("count_substring", [texts], pc.MatchSubstringOptions(_NUL))
    return int(pc.call_function("sum", [counted]).as_py() or 0)


def _json(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False).replace("\\u0000", _REPLACED)


def _outlines(array: Any, fids: Any, work: "_Work") -> Any:
    """Return geometries as hexadecimal EWKB, valid and of the table's type; None for empty or broken ones."""
    source, loaded = work.source, work.loaded
    blobs = np.array(array.to_pylist(), dtype=object)
    numbers = fids.to_pylist()
    geometries = np.asarray(shapely.from_wkb(blobs, on_invalid="ignore"), dtype=object)
    given = np.array([blob is not None for blob in blobs], dtype=bool)
    reasons: dict[int, str] = dict.fromkeys(
        np.flatnonzero(given & shapely.is_missing(geometries)).tolist(), "the geometry cannot be read"
    )
    numbers_of_all, owners = shapely.get_coordinates(geometries, include_z=False, return_index=True)
    endless = np.unique(owners[~np.isfinite(numbers_of_all).all(axis=1)])
    reasons |= dict.fromkeys(endless.tolist(), "a coordinate is not a number")
    geometries[endless] = None
    _mend(geometries, numbers, reasons, loaded)
    geometries[shapely.is_empty(geometries)] = None
    geometries = _of_type(geometries, source, reasons)
    loaded.broken += [(numbers[place], reason) for place, reason in sorted(reasons.items())]
    loaded.without_geometry += int(shapely.is_missing(geometries).sum())
    texts = shapely.to_wkb(
        shapely.set_srid(geometries, work.srid), hex=True, include_srid=True, output_dimension=3 if source.high else 2
    )
    return pa.array(texts.tolist(), pa.string())


def _mend(geometries: NDArray[Any], numbers: list[Any], reasons: dict[int, str], loaded: LoadReport) -> None:
    there = ~shapely.is_missing(geometries)
    wrong = np.flatnonzero(there & ~shapely.is_valid(geometries))
    for place in wrong.tolist():
        reason = str(shapely.is_valid_reason(geometries[place]))
        mended = shapely.make_valid(geometries[place], method="structure", keep_collapsed=False)
        if mended is None or mended.is_empty:
            reasons[place], geometries[place] = f"nothing is left of it: {reason}", None
        else:
            geometries[place] = mended
            loaded.mended.append((numbers[place], reason))


def _of_type(geometries: NDArray[Any], source: FeatureFile, reasons: dict[int, str]) -> NDArray[Any]:
    """Return geometries of the column's type, converted to multiple parts if it has them; another type is broken."""
    if source.type == "Geometry":
        return geometries
    kinds = shapely.get_type_id(geometries)
    plural = np.array(geometries, dtype=object)
    for single, many, make in (
        (1, "MultiLineString", shapely.multilinestrings),
        (3, "MultiPolygon", shapely.multipolygons),
    ):
        alone = np.flatnonzero(kinds == single)
        if source.type == many and len(alone):
            plural[alone] = make(geometries[alone], indices=np.arange(len(alone)))
    wanted = {"Point": 0, "MultiPoint": 4, "MultiLineString": 5, "MultiPolygon": 6}[source.type]
    kinds = shapely.get_type_id(plural)
    for place in np.flatnonzero((kinds >= 0) & (kinds != wanted)).tolist():
        reasons[place] = f"it is a {plural[place].geom_type}, not a {source.type}"
        plural[place] = None
    return plural


def _index(cursor: extensions.cursor, draft: str, columns: Mapping[str, str], key: str | None) -> None:
    name = quote(key if key is not None else next(iter(columns)))
    try:
        cursor.execute(f"alter table {quote(draft)} add primary key ({name})")
    except (psycopg2.errors.UniqueViolation, psycopg2.errors.NotNullViolation) as error:
        raise BrokenSource(f"the values of {name} are not unique or missing: {error.diag.message_detail}") from error
    cursor.execute(f"create index on {quote(draft)} using gist ({_GEOMETRY})")
    cursor.execute(f"vacuum (analyze) {quote(draft)}")
