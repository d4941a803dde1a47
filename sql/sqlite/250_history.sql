-- What has happened to the orders: a row for each change of a status, with the attempt and what the order said then.
create table if not exists history (
    number  integer primary key autoincrement,
    job     text    not null references jobs (id) on delete cascade deferrable initially deferred,
    at      integer not null,
    status  text    not null check (status in ('accepted', 'running', 'successful', 'failed', 'dismissed')),
    attempt integer not null,
    message text    not null
);

create index if not exists history_job on history (job);

create trigger if not exists history_changed after update of status on jobs when new.status is not old.status
begin
    insert into history (job, at, status, attempt, message)
        values (new.id, new.updated, new.status, new.attempt, new.message);
end;
