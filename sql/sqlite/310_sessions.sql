-- Browser sessions. One row a signed-in browser; times are microseconds since 1970 UTC.
-- `hash` is the SHA-256 of what the cookie holds: what is stored here lets nobody in.
-- `identity` is JSON, as it was at the login; `sid` is the issuer's name of its own session, by which it ends ours.
-- `id_token` is kept as it is: a hint for the issuer's logout, and no credential here or (expired in minutes) elsewhere.
create table if not exists sessions (
    hash      blob    not null primary key check (length(hash) = 32),
    subject   text,
    sid       text,
    identity  text    not null,
    id_token  text,
    created   integer not null,
    seen      integer not null,
    expires   integer not null check (expires > created)
) without rowid;

create index if not exists sessions_sid on sessions (sid) where sid is not null;
create index if not exists sessions_subject on sessions (subject) where subject is not null;

-- What ends by itself.
create index if not exists sessions_expires on sessions (expires);

-- Logins that were begun and not come back from. `state` and `browser` are the SHA-256 of what the issuer returns and of
-- what the browser's cookie holds; who takes a row deletes it, so each is used once. `number` bounds how many there are.
create table if not exists pending_logins (
    number    integer primary key autoincrement,
    state     blob    not null unique check (length(state) = 32),
    browser   blob    not null check (length(browser) = 32),
    nonce     text    not null,
    verifier  text    not null,
    return_to text    not null,
    expires   integer not null
);

create index if not exists pending_logins_expires on pending_logins (expires);
