"""Tables of features in PostgreSQL with PostGIS: what the catalog says of them."""

# ruff: noqa: S608 - identifiers come from the catalog, quoted; values are never formatted in

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sql.reading import ReadingPool, TableChanged

LONGITUDE_LATITUDE = "geom_crs84"
"""The column in which `landcast load` keeps the geometry in longitude and latitude, too."""
_SECONDS_OF_EXTENT = 2.0
_SPATIAL = ("geometry", "geography")
_STRAIGHT = {"point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"}
"""Types of geometry that GeoJSON has; a column of another type may have curves or surfaces."""
_DIMENSIONS = str.maketrans("", "", "z ")

TILES, PIECES = "landcast_tiles_", "landcast_pieces_"
"""The beginnings of the names of the tile tables of a table, before its OID."""
_TABLE = f"""
select c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text,
    coalesce(has_table_privilege(to_regclass(format('%%I.%%I', n.nspname, '{TILES}' || c.oid)), 'select')
        and has_table_privilege(to_regclass(format('%%I.%%I', n.nspname, '{PIECES}' || c.oid)), 'select'), false)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.oid = to_regclass(quote_ident(%s)) and c.relkind in ('r', 'v', 'm', 'f', 'p')
"""
_COLUMNS = """
select a.attname::text, base.typname::text, base.typtype::text, base.typcategory::text,
    format_type(a.atttypid, null), a.attnotnull,
    has_column_privilege(c.oid, a.attnum, 'select'),
    exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary and i.indkey[0] = a.attnum
        and i.indnkeyatts = 1),
    exists (select from pg_index i where i.indrelid = c.oid and i.indisunique and i.indkey[0] = a.attnum
        and i.indnkeyatts = 1 and i.indpred is null and i.indimmediate and a.attnotnull),
    exists (select from pg_index i join pg_class x on x.oid = i.indexrelid join pg_am m on m.oid = x.relam
        where i.indrelid = c.oid and i.indkey[0] = a.attnum and i.indpred is null and i.indisvalid
        and m.amname in ('gist', 'spgist', 'brin')),
    coalesce(col_description(c.oid, a.attnum), '')
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
cross join lateral (
    with recursive up (oid, below, depth) as (
        select t.oid, t.typbasetype, 0 from pg_type t where t.oid = a.atttypid
        union all select t.oid, t.typbasetype, depth + 1 from up join pg_type t on t.oid = up.below)
    select t.* from up join pg_type t on t.oid = up.oid order by depth desc limit 1) base
where c.oid = %s order by a.attnum
"""
_GEOMETRY = """
select postgis_typmod_srid(a.atttypmod), postgis_typmod_type(a.atttypmod)
from pg_attribute a where a.attrelid = %s and a.attname = %s
"""
_SYSTEM = "select auth_name::text, auth_srid, srtext::text from spatial_ref_sys where srid = %s"
_EXTENT = "select st_xmin(e), st_ymin(e), st_xmax(e), st_ymax(e) from (select {}) made (e) where e is not null"


def quoted(identifier: str) -> str:
    """Return an identifier for a statement with parameters `%s`, whose percent signs are doubled."""
    return '"' + identifier.replace('"', '""').replace("%", "%%") + '"'


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column that may be read: its name, the base type of its type, and the type as it is declared.

    `kind` is PostgreSQL's `typtype` (`e` for an enumeration, `c` for a row), `category` its `typcategory` (`A`: array).
    """

    name: str
    type: str
    kind: str
    category: str
    declared: str
    not_null: bool
    primary: bool
    unique: bool
    indexed: bool
    """Whether it has an index of space."""
    comment: str = ""

    @property
    def spatial(self) -> bool:
        """Whether it has geometries."""
        return self.type in _SPATIAL


@dataclass(frozen=True, slots=True)
class SpatialSystem:
    """A system of PostGIS's table `spatial_ref_sys`: its number there, who defines it with which code, its WKT."""

    srid: int
    authority: str = ""
    code: int = 0
    definition: str = ""


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """A table or view of features. `key` identifies a row, `attributes` are the columns with neither key nor geometry.

    `hidden` are the columns that this role may not read, `kind` is PostgreSQL's `relkind`. `shape` is the declared type
    of its geometries in lower case, such as `multipolygon`, `geometry` for any. `in_degrees` is the column of the same
    geometry in longitude and latitude.
    """

    oid: int
    schema: str
    name: str
    kind: str
    key: TableColumn
    geometry: TableColumn
    attributes: tuple[TableColumn, ...]
    hidden: tuple[str, ...]
    system: SpatialSystem
    shape: str
    in_degrees: TableColumn | None
    tiled: bool = False
    """Whether it has tile tables (`landcast load`) that this role may read."""

    @property
    def quoted(self) -> str:
        """The name for SQL, schema included."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def straight(self) -> bool:
        """Whether no geometry has a curve, is a surface or a collection."""
        return self.shape in _STRAIGHT

    @property
    def is_table(self) -> bool:
        """Whether it has rows, indexes and statistics of its own."""
        return self.kind in "rmp"


def read_table(pool: ReadingPool, name: str, *, key: str | None, geometry: str | None) -> FeatureTable:
    """Return what the catalog says of a table; without `key` it is the primary key or a unique column.

    Raises TableChanged with what is wrong for the operator, and what the pool raises.
    """
    found = pool.rows(_TABLE, (name,))
    if not found:
        raise TableChanged(f"there is no table {name!r} in the search path, or it may not be seen")
    oid, schema, table, kind, tiled = (_text(each) for each in found[0])
    rows = [tuple(map(_text, row)) for row in pool.rows(_COLUMNS, (oid,))]
    columns = [TableColumn(*row[:6], *row[7:]) for row in rows if row[6]]
    hidden = tuple(row[0] for row in rows if not row[6])
    identity = _key_of(table, columns, hidden, key)
    outline = _geometry_of(table, columns, hidden, geometry)
    srid, type_ = _declared(pool, oid, outline)
    if not srid:
        name, place = quoted(outline.name), f"{quoted(schema)}.{quoted(table)}"
        first = pool.rows(f"select st_srid({name}::geometry) from {place} where {name} is not null limit 1")
        srid = first[0][0] if first else 0
    beside = next((each for each in columns if each.name == LONGITUDE_LATITUDE and each.spatial), None)
    return FeatureTable(
        oid,
        schema,
        table,
        kind,
        key=identity,
        geometry=outline,
        attributes=tuple(each for each in columns if not each.spatial and each.name != identity.name),
        hidden=hidden,
        system=_system_of(pool, srid),
        shape=type_.lower().translate(_DIMENSIONS),
        in_degrees=beside if beside is not outline else None,
        tiled=tiled,
    )


def read_extent(pool: ReadingPool, table: FeatureTable, *, exact: bool) -> tuple[float, float, float, float] | None:
    """Return bounds that hold every feature, in the table's system, None where there are none or none are known.

    Those of the index of space or of the statistics, else with `exact` those of all rows. Raises what the pool raises.
    """
    if exact:
        made = f"st_extent({quoted(table.geometry.name)}::geometry) from {table.quoted}"
        rows = pool.rows(_EXTENT.format(made), seconds=_SECONDS_OF_EXTENT)
    else:
        names = (table.schema, table.name, table.geometry.name)
        rows = pool.rows(_EXTENT.format("st_estimatedextent(%s, %s, %s)"), names)
    return rows[0] if rows else None


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _declared(pool: ReadingPool, oid: int, column: TableColumn) -> tuple[int, str]:
    [(srid, type_)] = pool.rows(_GEOMETRY, (oid, column.name))
    return srid or (4326 if column.type == "geography" else 0), _text(type_ or b"")


def _system_of(pool: ReadingPool, srid: int) -> SpatialSystem:
    rows = pool.rows(_SYSTEM, (srid,)) if srid else []
    if not rows:
        return SpatialSystem(srid)
    authority, code, definition = map(_text, rows[0])
    return SpatialSystem(srid, authority or "", code or 0, definition or "")


def _key_of(table: str, columns: Sequence[TableColumn], hidden: Iterable[str], given: str | None) -> TableColumn:
    if given is not None:
        return _named(table, columns, hidden, given)
    for each in (*(c for c in columns if c.primary), *(c for c in columns if c.unique)):
        return each
    raise TableChanged(f"{table} has no primary key of one column: name a column of unique values as `id_field`")


def _geometry_of(table: str, columns: Sequence[TableColumn], hidden: Iterable[str], given: str | None) -> TableColumn:
    if given is not None:
        column = _named(table, columns, hidden, given)
        if not column.spatial:
            raise TableChanged(f"column {given!r} of {table} is {column.declared}, which is not a geometry")
        return column
    spatial = sorted((each for each in columns if each.spatial), key=lambda each: each.name == LONGITUDE_LATITUDE)
    if not spatial:
        raise TableChanged(f"{table} has no column of geometry that may be read")
    return spatial[0]


def _named(table: str, columns: Sequence[TableColumn], hidden: Iterable[str], name: str) -> TableColumn:
    for column in columns:
        if column.name == name:
            return column
    if name in hidden:
        raise TableChanged(f"column {name!r} of {table} may not be read by this role")
    raise TableChanged(f"{table} has no column {name!r}; it has {', '.join(each.name for each in columns)}")
