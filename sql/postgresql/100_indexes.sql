-- One owner's key names one visible order: a repeated request finds it, two at once cannot both be stored.
create unique index if not exists jobs_idempotency on jobs (owner, idempotency_key)
    where idempotency_key is not null and deleted is null;

-- The list is by time, newest first, and by id within a moment. What filters it is in the indexes, also the owner, which
-- the security of rows asks for: the table is read for the jobs of a page alone, and not to count them.
drop index if exists jobs_owner, jobs_visible;  -- version 2's, by number

-- The list of one owner's jobs.
create index if not exists jobs_owner_listed on jobs (owner, created, id) include (process, status) where deleted is null;

-- The list of all jobs.
create index if not exists jobs_listed on jobs (created, id) include (owner, process, status, started, finished)
    where deleted is null;

-- The list of a process's jobs. SQLite, which keeps no figures, would take it for one owner's too.
create index if not exists jobs_process_listed on jobs (process, created, id) include (owner) where deleted is null;

-- The list of those that did not go well, or not yet: few of many.
create index if not exists jobs_status_listed on jobs (status, created, id) include (owner, process)
    where deleted is null and status <> 'successful';

-- How many there are: a twentieth of what the list's index takes. By owner, whom the security of rows asks for.
create index if not exists jobs_counted on jobs (owner) where deleted is null;

-- What the reconciler follows.
create index if not exists jobs_unfinished on jobs (number) where finished is null;

-- What has files that may have to go.
create index if not exists jobs_files on jobs (files_until) where files = 1;

-- What may be old enough to be forgotten.
create index if not exists jobs_age on jobs (updated) where finished is not null;
