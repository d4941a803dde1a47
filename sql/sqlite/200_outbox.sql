-- What is to be told of an order, to whom, and how that stands; times are microseconds since 1970 UTC.
-- An entry waits until its order has the status `event`; it is then due in the very transaction that changed the order.
-- `sending` is committed before anything is sent: found after a crash, a mail's outcome is unknown and it is not sent again.
create table if not exists outbox (
    number  integer primary key autoincrement,
    job     text    not null references jobs (id) on delete cascade deferrable initially deferred,
    kind    text    not null check (kind in ('callback', 'mail')),
    event   text    not null check (event in ('running', 'successful', 'failed')),
    address text    not null,
    state   text    not null default 'waiting'
            check (state in ('waiting', 'due', 'sending', 'delivered', 'failed', 'unknown')),
    tries   integer not null default 0 check (tries >= 0),
    due     integer,
    check ((state = 'due') = (due is not null))
);

create index if not exists outbox_due on outbox (kind, due) where state = 'due';
create index if not exists outbox_job on outbox (job);

-- What an order comes to is due; what it can come to no more is forgotten.
create trigger if not exists outbox_changed after update of status on jobs when new.status is not old.status
begin
    update outbox set state = 'due', due = new.updated
        where job = new.id and event = new.status and state = 'waiting';
    delete from outbox where job = new.id and state = 'waiting' and new.finished is not null;
end;

-- Of older versions: what tells of an order that is finished when it is stored comes after it, and is due then.
drop trigger if exists outbox_finished;

-- Nothing is told of an order that was deleted.
create trigger if not exists outbox_deleted after update of deleted on jobs when new.deleted is not null
begin
    delete from outbox where job = new.id;
end;
