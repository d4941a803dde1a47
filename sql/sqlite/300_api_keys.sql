-- Personal API keys: one row each, kept for 90 days after its end; times are microseconds since 1970 UTC.
-- `hash` is the SHA-256 of the whole key, which gives no access. `id` is public, `name` is chosen by the owner.
-- `granted` are the maker's rights at its creation and never change; `rights` are the owner's rights as last confirmed,
-- at `rights_at`; a key has the rights that are in both. Both are JSON: {"scopes": [], "roles": [], "groups": []}.
-- A key whose `maker` is the operator keeps its rights until it is revoked.
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
