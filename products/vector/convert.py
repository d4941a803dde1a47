"""Make a file of another format from lines of GeoJSON features: a separate program, as GDAL may crash.

`python -m products.vector.convert FORM TARGET SCHEMA` reads lines from its standard input. It needs `landcast[load]`.
"""

import json
import resource
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import batched
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely

FORMS: Mapping[str, str] = {"fgb": "FlatGeobuf", "gpkg": "GPKG", "shp": "ESRI Shapefile"}
"""GDAL's drivers by format; pyarrow writes GeoParquet, as the wheels of GDAL have no driver for it."""
LARGEST = 4_000_000_000
"""Maximum bytes of a file."""
SEVERAL_TYPES = 3
"""The exit status if a Shapefile cannot store the types of the geometries."""
_BATCH = 2_000
_GEOMETRY = "geometry"
_POLYGONS = {"polygon", "multipolygon"}
_LONGEST_TEXT = 254
_TYPES: Mapping[str, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "date-time": pa.timestamp("ms", tz="UTC"),
}


def main(form: str, target: str, described: str) -> int:
    """Make the file, and return the exit status."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
    warnings.simplefilter("ignore")  # of GDAL, about losses of a Shapefile, which a file in it lists
    layer = json.loads(described)
    table = _Table(layer["fields"], layer["shape"])
    batches = map(table.batch, batched(sys.stdin.buffer, _BATCH))
    path = Path(target)
    if form == "parquet":
        _write_parquet(path, table, batches, layer["crs"])
        return 0
    made = path if form != "shp" else path.with_name(f"{layer['name']}.shp")
    try:
        _write_by_gdal(made, form, table, batches, layer)
    except pyogrio.errors.GeometryError:
        return SEVERAL_TYPES
    if form == "shp":
        _zip(made, path, table)
    return 0


class _Table:
    """The columns of a layer, and properties of its rows."""

    def __init__(self, fields: Mapping[str, Mapping[str, Any]], shape: str) -> None:
        self.kinds = {name: str(field.get("format") or field.get("type")) for name, field in fields.items()}
        self.many = shape in _POLYGONS
        self.schema = pa.schema(
            [
                *(pa.field(name, _TYPES.get(kind, pa.string())) for name, kind in self.kinds.items()),
                pa.field(_GEOMETRY, pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"}),
            ]
        )
        self.types: set[str] = set()
        self.bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self.cut = 0

    def batch(self, lines: Sequence[bytes]) -> pa.RecordBatch:
        """Return the rows of some lines."""
        features = [json.loads(line) for line in lines]
        columns = [self._column(name, kind, features) for name, kind in self.kinds.items()]
        geometries = self._geometries(
            [line.decode() if each["geometry"] else None for line, each in zip(lines, features, strict=True)]
        )
        self.types |= {each.geom_type for each in geometries if each is not None}
        bounds = shapely.bounds(geometries)
        self.bounds[:2] = np.fmin.reduce([self.bounds[:2], *bounds[:, :2]])
        self.bounds[2:] = np.fmax.reduce([self.bounds[2:], *bounds[:, 2:]])
        return pa.record_batch([*columns, pa.array(shapely.to_wkb(geometries), pa.binary())], self.schema)

    def _geometries(self, lines: Sequence[str | None]) -> Any:
        """Return the geometries or None; in a layer of polygons each is a MultiPolygon."""
        found = np.asarray(shapely.from_geojson(lines), dtype=object)
        found[shapely.is_empty(found)] = None
        if self.many and (single := shapely.get_type_id(found) == shapely.GeometryType.POLYGON).any():
            found[single] = shapely.multipolygons(found[single], indices=np.arange(int(single.sum())))
        return found

    def _column(self, name: str, kind: str, features: Sequence[Mapping[str, Any]]) -> pa.Array:
        values = [each["id"] if name not in each["properties"] else each["properties"][name] for each in features]
        known: Mapping[str, Callable[[Any], Any]] = {
            "date": _day,
            "date-time": _moment,
            "integer": _int,
            "number": _float,
            "boolean": _truth,
        }
        values = list(map(known.get(kind, _text), values))
        self.cut += sum(isinstance(each, str) and len(each.encode()) > _LONGEST_TEXT for each in values)
        return pa.array(values, _TYPES.get(kind, pa.string()))


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _int(value: Any) -> int | None:
    return int(value) if isinstance(value, int) else None


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _day(value: Any) -> date | None:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        return None


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None


def _write_by_gdal(
    path: Path, form: str, table: _Table, batches: Iterator[pa.RecordBatch], layer: Mapping[str, Any]
) -> None:
    reader = pa.RecordBatchReader.from_batches(table.schema, batches)
    shape = "MultiPolygon" if table.many else "Point" if layer["shape"] == "point" else "Unknown"
    pyogrio.write_arrow(
        reader,
        path,
        layer=layer["name"],
        driver=FORMS[form],
        geometry_name=_GEOMETRY,
        geometry_type=shape,
        crs=layer["crs"],
        encoding="UTF-8" if form == "shp" else None,
    )


def _write_parquet(path: Path, table: _Table, batches: Iterator[pa.RecordBatch], crs: str) -> None:
    """Write GeoParquet 1.1.0 with a column of bounds, by which readers skip groups of rows."""
    box = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
    schema = table.schema.append(pa.field("bbox", box))
    with pq.ParquetWriter(path, schema, compression="zstd", store_schema=False) as writer:  # type: ignore[no-untyped-call] # pyarrow's
        for batch in batches:
            bounds = shapely.bounds(shapely.from_wkb(batch.column(_GEOMETRY).to_numpy(zero_copy_only=False)))
            boxes = pa.StructArray.from_arrays([pa.array(bounds[:, i]) for i in range(4)], fields=list(box))
            writer.write_batch(pa.record_batch([*batch.columns, boxes], schema))
        covering = {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}
        column: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": sorted(table.types),
            "crs": _projjson(crs),
            "covering": {"bbox": covering},
        }
        if np.isfinite(table.bounds).all():
            column["bbox"] = table.bounds.tolist()
        said = {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}
        writer.add_key_value_metadata({"geo": json.dumps(said)})


def _projjson(crs: str) -> Any:
    """Return a CRS as PROJJSON."""
    from pyproj import CRS  # noqa: PLC0415 - only this format needs it

    return CRS.from_user_input(crs).to_json_dict()


def _zip(shapefile: Path, target: Path, table: _Table) -> None:
    """Put the parts of a Shapefile into one file, with a list of its losses."""
    written = [str(each) for each in pyogrio.read_info(shapefile)["fields"]]
    said = [f"{name} is called {short}" for name, short in zip(table.kinds, written, strict=True) if name != short]
    said += [f"{name} has lost its time of day" for name, kind in table.kinds.items() if kind == "date-time"]
    said += [f"{table.cut} texts were cut after {_LONGEST_TEXT} bytes"] if table.cut else []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in sorted(shapefile.parent.glob(f"{shapefile.stem}.*")):
            if part != target:
                archive.write(part, part.name)
        archive.writestr("what-is-lost.txt", "".join(f"{line}\n" for line in said) or "Nothing.\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
