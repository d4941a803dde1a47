-- Tables of features as others have them: odd names, keys, types and geometries.
create table places (id integer generated always as identity primary key, name text, size float8, raw bytea, year integer,
    geom geometry(Point, 4326));
insert into places (name, size, raw, year, geom) values ('a', 1.5, '\x01', 2019, 'SRID=4326;POINT(20 50)'),
    ('b', null, null, 2020, 'SRID=4326;POINT(20.1 50)'), ('c', 2.5, '\x02', 2021, 'SRID=4326;POINT(20.2 50)');
create index on places using gist (geom);

create table "Ünï""c%ö%%de s" ("id%" text primary key, "a""b%s" integer, "ж" float8, geometry geometry, secret text);
insert into "Ünï""c%ö%%de s" values
    ('circle', 1, 'NaN', 'SRID=3035;CURVEPOLYGON(CIRCULARSTRING(4321000 3210000, 4321040 3210000, 4321040 3210040, 4321000 3210040, 4321000 3210000))', 'x'),
    ('circles', 10, 0, 'SRID=3035;MULTISURFACE(CURVEPOLYGON(CIRCULARSTRING(4321000 3210000, 4321040 3210000, 4321040 3210040, 4321000 3210040, 4321000 3210000)))', 'x'),
    ('tin', 2, 'Infinity', 'SRID=3035;TIN Z(((4321000 3210000 0, 4321100 3210000 1, 4321000 3210100 0, 4321000 3210000 0)))', 'x'),
    ('surface', null, 1.5, 'SRID=3035;POLYHEDRALSURFACE Z(((4321000 3210000 0, 4321100 3210000 1, 4321000 3210100 0, 4321000 3210000 0)))', 'x'),
    ('triangle', 12, 1.5, 'SRID=3035;TRIANGLE((4321000 3210000, 4321100 3210000, 4321000 3210100, 4321000 3210000))', 'x'),
    ('clockwise', 13, 0, 'SRID=3035;POLYGON((4321000 3210000, 4321000 3210100, 4321100 3210000, 4321000 3210000))', 'x'),
    ('none', 3, null, null, 'x'), ('empty', 4, 0, 'SRID=3035;POLYGON EMPTY', 'x'),
    ('far', 5, 0, 'SRID=3035;POINT(1e30 1e30)', 'x'), ('no number', 8, 0, 'SRID=3035;POINT(NaN 5)', 'x'),
    ('high', 6, 0, 'SRID=3035;POINT Z(4321000 3210000 77.5)', 'x'), ('measured', 7, 0, 'SRID=3035;POINT M(4321000 3210000 77.5)', 'x'),
    ('both', 9, 0, 'SRID=3035;GEOMETRYCOLLECTION(POINT(4321000 3210000), LINESTRING(4321000 3210000, 4321100 3210000))', 'x'),
    ('"a/\%s ü', 11, 0, 'SRID=3035;LINESTRING(4321000 3210000, 4321100 3210000)', 'x');

create domain shade as text;
create domain dark_shade as shade;
create type tone as enum ('light', 'dark');
create table types (id uuid primary key, b boolean, i2 int2, i8 int8, r float4, n numeric, t text, v varchar(3), c char(4),
    d date, ts timestamp, tz timestamptz, y bytea, j json, jb jsonb, e inet, iv interval, arr integer[], rg int4range,
    pt point, x xml, mo money, sh dark_shade, tn tone, g geography(Point));
insert into types values ('00000000-0000-0000-0000-000000000001', true, 1, 9007199254740993, 1.1, 1.10, E'q"\\\n%s', 'abc',
    'ab', '2020-02-03', '2020-02-03 04:05:06.7', '2020-02-03 04:05:06+02', '\x00ff', '{"a": [1, 2]}', '[1]', '10.0.0.1',
    '1 day 2 hours', '{1,null}', '[1,5)', '(1,2)', '<a/>', 5, 'red', 'dark', 'POINT(20 50)'),
    ('00000000-0000-0000-0000-000000000002', null, null, null, null, 'NaN', null, null, null, 'infinity', '-infinity',
    null, null, null, null, null, null, null, null, null, null, null, null, null, 'POINT(-179.5 10)');
comment on column types.tz is 'When it was seen.';
create view seen as select id::text || '' as code, i8, d, g::geometry as shape from types;
create view slow as select 1 as code, 'SRID=4326;POINT(1 1)'::geometry(Point, 4326) as geom, pg_sleep(15)::text as slept;

create table fields (id bigint primary key, class_code integer, area numeric, geom geometry(Polygon, 3035) not null);
insert into fields select 1000 * y + x, 1 + (x * 7 + y) % 11, nullif((x * y) % 17, 3),
    st_makeenvelope(4321000 + 100 * x, 3210000 + 100 * y, 4321100 + 100 * x, 3210100 + 100 * y, 3035)
    from generate_series(0, 119) x, generate_series(0, 99) y;
create index on fields using gist (geom);
create index on fields (class_code);
analyze fields;

create table nothing_there (id integer primary key, geom geometry(Point, 3035));
create table no_key (name text, geom geometry(Point, 3035));
create table no_geometry (id integer primary key);
create table no_system (id integer primary key, geom geometry);
insert into no_system values (1, 'POINT(4321000 3210000)');
create table two_keys (a integer, b integer, geom geometry(Point, 3035), primary key (a, b));
create table periods (id integer primary key, begins date, ends timestamptz, label text, geom geometry(Point, 4326));
insert into periods values (1, '2020-01-01', '2020-12-31 23:00Z', '2020', 'SRID=4326;POINT(1 1)'),
    (2, null, '2019-06-01 00:00Z', '2019-05', 'SRID=4326;POINT(1 1)'),
    (3, '2021-01-01', null, 'unknown', 'SRID=4326;POINT(1 1)');
create table by_both (id integer primary key, geom geometry(Point, 3035), geom_crs84 geometry(Point, 4326));
insert into by_both values (1, 'SRID=3035;POINT(4321000 3210000)', 'SRID=4326;POINT(7 8)');

grant select on places, types, seen, fields, slow to :reader;
grant select ("id%", "a""b%s", "ж", geometry) on "Ünï""c%ö%%de s" to :reader;
