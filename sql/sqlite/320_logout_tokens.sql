-- Logout tokens of the issuer that were obeyed: each is, once, by whichever process gets it first.
-- `jti` is the SHA-256 of the token's name; after `until` (microseconds since 1970 UTC) it is refused for its age.
create table if not exists logout_tokens (
    jti   blob    not null primary key check (length(jti) = 32),
    until integer not null
) without rowid;

create index if not exists logout_tokens_until on logout_tokens (until);
