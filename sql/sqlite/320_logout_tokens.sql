-- Logout tokens of the issuer that were used: each is accepted once, by whichever process receives it first.
-- `jti` is the SHA-256 of the token's id; `until` is its expiry (microseconds since 1970 UTC).
create table if not exists logout_tokens (
    jti   blob    not null primary key check (length(jti) = 32),
    until integer not null
) without rowid;

create index if not exists logout_tokens_until on logout_tokens (until);
