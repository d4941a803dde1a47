-- One owner's key names one visible order: a repeated request finds it, two at once cannot both be stored.
create unique index if not exists jobs_idempotency on jobs (owner, idempotency_key)
    where idempotency_key is not null and deleted is null;

-- The list is by time, newest first, and by id within a moment. What filters it is in the indexes: the table is read for
-- the jobs of a page alone, and not to count them, which it would be for `deleted` too were that not in them.
drop index if exists jobs_owner;  -- version 6's, by number

-- The list of one owner's jobs.
create index if not exists jobs_owner_listed on jobs (owner, created, id, process, status, deleted)
    where deleted is null;

-- The list of all jobs.
create index if not exists jobs_listed on jobs (created, id, owner, process, status, started, finished, deleted)
    where deleted is null;

-- The list of those that did not go well, or not yet: few of many.
create index if not exists jobs_status_listed on jobs (status, created, id, owner, process, deleted)
    where deleted is null and status <> 'successful';

-- How many there are: a tenth of what the list's index takes. By number, which no list is asked for by.
create index if not exists jobs_counted on jobs (number, deleted) where deleted is null;

-- What the reconciler follows.
create index if not exists jobs_unfinished on jobs (number) where finished is null;

-- What has files that may have to go.
create index if not exists jobs_files on jobs (files_until) where files = 1;

-- What may be old enough to be forgotten.
create index if not exists jobs_age on jobs (updated) where finished is not null;
