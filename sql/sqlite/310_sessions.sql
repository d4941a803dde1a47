-- Browser sessions: one row for each signed-in browser; times are microseconds since 1970 UTC.
-- `hash` is the SHA-256 of the secret in the cookie, which gives no access.
-- `identity` is JSON, as of the login; `sid` is the issuer's session id, for back-channel logout.
-- `id_token` is the hint for the issuer's logout; it is no credential here, and expires within minutes elsewhere.
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

-- Expired sessions.
create index if not exists sessions_expires on sessions (expires);

-- Pending logins: begun and not finished. `state` and `browser` are the SHA-256 of the state that the issuer returns and
-- of the secret in the browser's cookie. Taking a row deletes it, so each is used once. `number` bounds the rows.
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
