-- The version of all files before this one; an older program refuses the database.
create table if not exists schema_version (
    one     boolean primary key default true check (one),
    version integer not null
);

comment on table schema_version is 'One row: the version of the schema.';

insert into schema_version (version) values (10) on conflict (one) do update set version = excluded.version;
