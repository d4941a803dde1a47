-- Notifications of orders and their delivery; times are microseconds since 1970 UTC.
-- An entry waits until its order has the status `event`; it becomes due in the transaction that changes the order.
-- One about a download has the time at which that began in `at`; that of a file of a `collection` belongs to no order.
-- `sending` is committed before sending: found after a crash, the outcome of a mail is unknown and it is not sent again.
create table if not exists outbox (
    number  integer primary key autoincrement,
    job     text    references jobs (id) on delete cascade deferrable initially deferred,
    kind    text    not null check (kind in ('callback', 'mail', 'message')),
    event   text    not null check (event in ('accepted', 'running', 'successful', 'failed', 'dismissed')),
    address text    not null,
    state   text    not null default 'waiting'
            check (state in ('waiting', 'due', 'sending', 'delivered', 'failed', 'unknown')),
    tries   integer not null default 0 check (tries >= 0),
    due     integer,
    at      integer,
    collection text,
    check ((job is null) = (collection is not null)),
    check ((state = 'due') = (due is not null))
);

-- Up to version 12 the table had no entries without an order; a step of sql/connect.py has renamed it then.
create table if not exists outbox_before (
    number integer, job text, kind text, event text, address text, state text, tries integer, due integer);
insert into outbox (number, job, kind, event, address, state, tries, due)
    select number, job, kind, event, address, state, tries, due from outbox_before;
drop table outbox_before;

create index if not exists outbox_due on outbox (kind, due) where state = 'due';
create index if not exists outbox_job on outbox (job);

-- Entries for the new status become due; entries that can no longer become due are deleted.
create trigger if not exists outbox_changed after update of status on jobs when new.status is not old.status
begin
    update outbox set state = 'due', due = new.updated
        where job = new.id and event = new.status and state = 'waiting';
    delete from outbox where job = new.id and state = 'waiting' and new.finished is not null;
end;

-- Dropped after older versions: the entries of an order that is stored as finished are inserted after it, as due.
drop trigger if exists outbox_finished;

-- No notification is sent for a deleted order.
create trigger if not exists outbox_deleted after update of deleted on jobs when new.deleted is not null
begin
    delete from outbox where job = new.id;
end;
