-- The orders: one row each; a deleted order is kept until its retention ends. Times are microseconds since 1970 UTC.
-- `number` is the sequence of arrival; `attempt` numbers the attempts, `failures` counts those that were lost.
-- `fault` is the class of the error that a failed order ended with, empty for an error of the server.
-- `notices` are the requested notifications as JSON, for a repeated order; the notifications are in the outbox.
-- `backend` is 1 once an external back end has taken over the order.
-- `unit` is the unit of a production that the order is for, of the table `units`, in the `task` of the production.
-- `km2` and `bytes` (of the result, as expected until there is one) count towards the quotas of a day; `km2` is null
-- where an order does not count.
-- `trace` is the `traceparent` of the request (W3C Trace Context), null without traces.
-- `files` is 1 while the results folder may have files of the order; `deleted` is null while the order is visible.
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
    km2             real,
    bytes           integer not null default 0,
    unit            text,
    task            text,
    trace           text,
    check ((status in ('accepted', 'running')) = (finished is null)),
    check (deleted is null or finished is not null)
);
