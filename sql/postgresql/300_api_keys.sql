-- Personal API keys: one row each, kept for 90 days after its end; times are microseconds since 1970 UTC.
-- `granted` and `rights` are JSON: {"scopes": [], "roles": [], "groups": []}; a key has the rights that are in both.
create table if not exists api_keys (
    id         text   not null primary key,
    hash       bytea  not null unique check (length(hash) = 32),
    owner      text   not null,
    subject    text,
    email      text,
    person     text,
    name       text   not null,
    scope      text   not null check (scope in ('read', 'order')),
    maker      text   not null check (maker in ('owner', 'operator')),
    granted    text   not null,
    rights     text   not null,
    rights_at  bigint not null,
    created    bigint not null,
    expires    bigint not null check (expires > created),
    last_used  bigint,
    revoked    bigint
);

comment on table api_keys is 'Personal API keys, one row each, kept for 90 days after its end.';
comment on column api_keys.hash is 'SHA-256 of the whole key, which gives no access.';
comment on column api_keys.granted is 'Rights of the maker at its creation; never changes.';
comment on column api_keys.rights is 'Rights of the owner as last confirmed, at rights_at.';
comment on column api_keys.maker is 'A key of the operator keeps its rights until it is revoked.';

-- The keys of one owner.
create index if not exists api_keys_owner on api_keys (owner, created);
