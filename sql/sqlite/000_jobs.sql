-- The orders. One row an order, kept as deleted until its retention ends. Times are microseconds since 1970 UTC.
-- `number` is the order of arrival; `attempt` numbers every start, `failures` counts those that ended without a word.
-- `fault` is the class of the error that a failed order ended with, empty where it was ours.
-- `notices` is who asked to be told, as JSON, for an order that is ordered again; what is told lies in the outbox.
-- `backend` is 1 from when an external back end has the order: nothing of ours changes it but its end.
-- `files` is 1 while something of the order may lie in the results folder; `deleted` is null while callers see it.
create table if not exists jobs (
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
