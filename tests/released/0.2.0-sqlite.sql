-- orders.sqlite of landcast 0.2.0, written by itself: `sqlite3 orders.sqlite .dump`, and its version.
BEGIN TRANSACTION;
CREATE TABLE api_keys (
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
INSERT INTO "api_keys" VALUES('0933578ykq8k',X'75EEC8298412E8B6C2B4F3093C392007BFF1A2B5C8E14C10892C208642197950','https://sso.example.org|ann','ann','a@example.org','Ann','k','order','owner','{"scopes": [], "roles": ["user"], "groups": []}','{"scopes": [], "roles": ["user"], "groups": []}',1796081889209409,1796081889209409,1803857889209409,NULL,NULL);
CREATE TABLE history (
    number  integer primary key autoincrement,
    job     text    not null references jobs (id) on delete cascade deferrable initially deferred,
    at      integer not null,
    status  text    not null check (status in ('accepted', 'running', 'successful', 'failed', 'dismissed')),
    attempt integer not null,
    message text    not null
);
INSERT INTO "history" VALUES(1,'4efe43b4-3803-4943-8ef6-7a17c0bf7d21',1796081888375559,'running',1,'');
INSERT INTO "history" VALUES(2,'ed83056f-42dc-4178-9de8-2c7286aeb59c',1796081888546947,'running',1,'');
INSERT INTO "history" VALUES(3,'326887be-715d-49c9-80cd-cf7365ae5464',1796081888696848,'running',1,'');
INSERT INTO "history" VALUES(4,'4efe43b4-3803-4943-8ef6-7a17c0bf7d21',1796081888818738,'successful',1,'');
INSERT INTO "history" VALUES(5,'ed83056f-42dc-4178-9de8-2c7286aeb59c',1796081888894703,'failed',1,'no');
INSERT INTO "history" VALUES(6,'7c4ea523-6bc0-4526-a19d-55bf89ccdf86',1796081889050727,'dismissed',0,'');
CREATE TABLE jobs (
    number          integer primary key autoincrement,
    id              text    not null unique,
    owner           text    not null,
    email           text,
    process         text    not null,
    inputs          text    not null,
    outputs         text,
    response        text    not null check (response in ('raw', 'document')),
    idempotency_key text,
    request_hash    text,
    status          text    not null default 'accepted'
                    check (status in ('accepted', 'running', 'successful', 'failed', 'dismissed')),
    attempt         integer not null default 0 check (attempt >= 0),
    failures        integer not null default 0 check (failures >= 0),
    progress        integer not null default 0 check (progress between 0 and 100),
    message         text    not null default '',
    fault           text    not null default '',
    manifest        text,
    created         integer not null,
    updated         integer not null,
    started         integer,
    finished        integer,
    deleted         integer,
    files           integer not null default 0 check (files in (0, 1)),
    files_until     integer,
    expired         integer not null default 0 check (expired in (0, 1)),
    notices         text    not null default '[]',
    backend         integer not null default 0 check (backend in (0, 1)),
    check ((status in ('accepted', 'running')) = (finished is null)),
    check (deleted is null or finished is not null)
);
INSERT INTO "jobs" VALUES(1,'4efe43b4-3803-4943-8ef6-7a17c0bf7d21','https://sso.example.org|ann',NULL,'echo','{"stringInput": "successful"}',NULL,'raw',NULL,NULL,'successful',1,0,100,'','','[{"id": "stringOutput", "value": "\u00e9", "media_type": "application/json", "file": null, "href": null}]',1796081887464322,1796081888818738,1796081888375559,1796081888818738,NULL,0,NULL,0,'[{"kind": "callback", "event": "successful", "address": "https://example.org/done"}, {"kind": "mail", "event": "failed", "address": "ann@example.org"}]',0);
INSERT INTO "jobs" VALUES(2,'ed83056f-42dc-4178-9de8-2c7286aeb59c','https://sso.example.org|ann',NULL,'echo','{"stringInput": "failed"}',NULL,'raw',NULL,NULL,'failed',1,0,0,'no','WorkFailed',NULL,1796081887902943,1796081888894703,1796081888546947,1796081888894703,NULL,1,NULL,0,'[{"kind": "callback", "event": "successful", "address": "https://example.org/done"}, {"kind": "mail", "event": "failed", "address": "ann@example.org"}]',0);
INSERT INTO "jobs" VALUES(3,'7c4ea523-6bc0-4526-a19d-55bf89ccdf86','https://sso.example.org|ann',NULL,'echo','{"stringInput": "dismissed"}',NULL,'raw',NULL,NULL,'dismissed',0,0,0,'','',NULL,1796081887978779,1796081889050727,NULL,1796081889050727,NULL,0,NULL,0,'[{"kind": "callback", "event": "successful", "address": "https://example.org/done"}, {"kind": "mail", "event": "failed", "address": "ann@example.org"}]',0);
INSERT INTO "jobs" VALUES(4,'326887be-715d-49c9-80cd-cf7365ae5464','https://sso.example.org|ann',NULL,'echo','{"stringInput": "running"}',NULL,'raw',NULL,NULL,'running',1,0,0,'','',NULL,1796081888150754,1796081888696848,1796081888696848,NULL,NULL,1,NULL,0,'[{"kind": "callback", "event": "successful", "address": "https://example.org/done"}, {"kind": "mail", "event": "failed", "address": "ann@example.org"}]',0);
INSERT INTO "jobs" VALUES(5,'ec857864-0d07-454f-a81e-b9c00a9fa24e','https://sso.example.org|ann',NULL,'echo','{"stringInput": "accepted"}',NULL,'raw',NULL,NULL,'accepted',0,0,0,'','',NULL,1796081888223928,1796081888223928,NULL,NULL,NULL,0,NULL,0,'[{"kind": "callback", "event": "successful", "address": "https://example.org/done"}, {"kind": "mail", "event": "failed", "address": "ann@example.org"}]',0);
CREATE TABLE logout_tokens (
    jti   blob    not null primary key check (length(jti) = 32),
    until integer not null
) without rowid;
CREATE TABLE outbox (
    number  integer primary key autoincrement,
    job     text    not null references jobs (id) on delete cascade deferrable initially deferred,
    kind    text    not null check (kind in ('callback', 'mail', 'message')),
    event   text    not null check (event in ('accepted', 'running', 'successful', 'failed', 'dismissed')),
    address text    not null,
    state   text    not null default 'waiting'
            check (state in ('waiting', 'due', 'sending', 'delivered', 'failed', 'unknown')),
    tries   integer not null default 0 check (tries >= 0),
    due     integer,
    check ((state = 'due') = (due is not null))
);
INSERT INTO "outbox" VALUES(1,'4efe43b4-3803-4943-8ef6-7a17c0bf7d21','callback','successful','https://example.org/done','due',0,1796081888818738);
INSERT INTO "outbox" VALUES(4,'ed83056f-42dc-4178-9de8-2c7286aeb59c','mail','failed','ann@example.org','due',0,1796081888894703);
INSERT INTO "outbox" VALUES(7,'326887be-715d-49c9-80cd-cf7365ae5464','callback','successful','https://example.org/done','waiting',0,NULL);
INSERT INTO "outbox" VALUES(8,'326887be-715d-49c9-80cd-cf7365ae5464','mail','failed','ann@example.org','waiting',0,NULL);
INSERT INTO "outbox" VALUES(9,'ec857864-0d07-454f-a81e-b9c00a9fa24e','callback','successful','https://example.org/done','waiting',0,NULL);
INSERT INTO "outbox" VALUES(10,'ec857864-0d07-454f-a81e-b9c00a9fa24e','mail','failed','ann@example.org','waiting',0,NULL);
CREATE TABLE pending_logins (
    number    integer primary key autoincrement,
    state     blob    not null unique check (length(state) = 32),
    browser   blob    not null check (length(browser) = 32),
    nonce     text    not null,
    verifier  text    not null,
    return_to text    not null,
    expires   integer not null
);
INSERT INTO "pending_logins" VALUES(1,X'4F2B047018A3DA172ABD498469CDE756996F292C33EE31FF1C5F7BEDF4EFF947',X'53B84D574DAA009E9247C0A0D1B4CCE109D47B08876532AF6AC2B43727AC49DF','EmhrJWp9CZ_aZnUwXNvDZQ1w6xxaj_SQR8i22tyHPHE','TR77zw5tjpexSrdIy_piLunSfKphJ0L5M3jvVptrL7U','/',1796082490335701);
CREATE TABLE sessions (
    hash      blob    not null primary key check (length(hash) = 32),
    subject   text,
    sid       text,
    identity  text    not null,
    id_token  text,
    created   integer not null,
    seen      integer not null,
    expires   integer not null check (expires > created)
) without rowid;
INSERT INTO "sessions" VALUES(X'9DDB7211322373346C7C5B79FB44C9033C912FD9DDF2368B21C4C9FDBF2A4D1E','ann','s','{"owner": "https://sso.example.org|ann", "email": "a@example.org", "subject": "ann", "name": "Ann", "scopes": [], "roles": ["user"], "groups": [], "method": "session"}','hint',1796081889858383,1796081889858383,1796110689858383);
CREATE UNIQUE INDEX jobs_idempotency on jobs (owner, idempotency_key)
    where idempotency_key is not null and deleted is null;
CREATE INDEX jobs_owner_listed on jobs (owner, created, id, process, status, deleted)
    where deleted is null;
CREATE INDEX jobs_listed on jobs (created, id, owner, process, status, started, finished, deleted)
    where deleted is null;
CREATE INDEX jobs_status_listed on jobs (status, created, id, owner, process, deleted)
    where deleted is null and status <> 'successful';
CREATE INDEX jobs_counted on jobs (number, deleted) where deleted is null;
CREATE INDEX jobs_unfinished on jobs (number) where finished is null;
CREATE INDEX jobs_files on jobs (files_until) where files = 1;
CREATE INDEX jobs_age on jobs (updated) where finished is not null;
CREATE INDEX outbox_due on outbox (kind, due) where state = 'due';
CREATE INDEX outbox_job on outbox (job);
CREATE TRIGGER outbox_changed after update of status on jobs when new.status is not old.status
begin
    update outbox set state = 'due', due = new.updated
        where job = new.id and event = new.status and state = 'waiting';
    delete from outbox where job = new.id and state = 'waiting' and new.finished is not null;
end;
CREATE TRIGGER outbox_deleted after update of deleted on jobs when new.deleted is not null
begin
    delete from outbox where job = new.id;
end;
CREATE INDEX history_job on history (job);
CREATE TRIGGER history_changed after update of status on jobs when new.status is not old.status
begin
    insert into history (job, at, status, attempt, message)
        values (new.id, new.updated, new.status, new.attempt, new.message);
end;
CREATE INDEX api_keys_owner on api_keys (owner, created);
CREATE INDEX sessions_sid on sessions (sid) where sid is not null;
CREATE INDEX sessions_subject on sessions (subject) where subject is not null;
CREATE INDEX sessions_expires on sessions (expires);
CREATE INDEX pending_logins_expires on pending_logins (expires);
CREATE INDEX logout_tokens_until on logout_tokens (until);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('outbox',10);
INSERT INTO "sqlite_sequence" VALUES('jobs',5);
INSERT INTO "sqlite_sequence" VALUES('history',6);
INSERT INTO "sqlite_sequence" VALUES('pending_logins',1);
COMMIT;
PRAGMA user_version=10;
