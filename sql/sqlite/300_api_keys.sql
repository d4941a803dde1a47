-- Personal API keys. One row a key, kept a while after its end; times are microseconds since 1970 UTC.
-- `hash` is the SHA-256 of the whole key: what is stored here lets nobody in. `id` is public, `name` is the owner's word.
-- `granted` is what its maker could when it was made and never changes; `rights` is what the owner could when last seen,
-- at `rights_at`; a key has what stands in both. Both are JSON: {"scopes": [], "roles": [], "groups": []}.
-- `maker` is the operator where the operator made it: its rights are then the operator's to take, by revoking it.
create table if not exists api_keys (
    id         text    not null primary key,
    hash       blob    not null unique check (length(hash) = 32),
    owner      text    not null,
    subject    text,
    email      text,
    person     text,
    name       text    not null,
    scope      text    not null check (scope in ('read', 'order')),
    maker      text    not null check (maker in ('owner', 'operator')),
    granted    text    not null,
    rights     text    not null,
    rights_at  integer not null,
    created    integer not null,
    expires    integer not null check (expires > created),
    last_used  integer,
    revoked    integer
) without rowid;

-- The keys of one owner.
create index if not exists api_keys_owner on api_keys (owner, created);
