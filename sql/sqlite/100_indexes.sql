-- An idempotency key of an owner names one visible order: a repeated request finds it, concurrent ones conflict.
create unique index if not exists jobs_idempotency on jobs (owner, idempotency_key)
    where idempotency_key is not null and deleted is null;

-- Lists are sorted by time, newest first, then by id. The indexes contain the filtered columns, so that the table is read
-- only for the jobs of a page. They contain `deleted` because SQLite would read the table for it.
drop index if exists jobs_owner;  -- of version 6, by number

-- The list of one owner's jobs.
create index if not exists jobs_owner_listed on jobs (owner, created, id, process, status, deleted)
    where deleted is null;

-- The list of all jobs.
create index if not exists jobs_listed on jobs (created, id, owner, process, status, started, finished, deleted)
    where deleted is null;

-- The list of jobs that are not successful, which are few.
create index if not exists jobs_status_listed on jobs (status, created, id, owner, process, deleted)
    where deleted is null and status <> 'successful';

-- Counts: a tenth of the size of the list's index. By number, which no list is sorted by.
create index if not exists jobs_counted on jobs (number, deleted) where deleted is null;

-- The jobs of the reconciler.
create index if not exists jobs_unfinished on jobs (number) where finished is null;

-- Jobs whose files may expire.
create index if not exists jobs_files on jobs (files_until) where files = 1;

-- Jobs whose retention may have ended.
create index if not exists jobs_age on jobs (updated) where finished is not null;

-- What an owner has ordered in a day, for quotas.
create index if not exists jobs_used on jobs (owner, created) where km2 is not null;
