-- One owner's key names one visible order: a repeated request finds it, two at once cannot both be stored.
create unique index if not exists jobs_idempotency on jobs (owner, idempotency_key)
    where idempotency_key is not null and deleted is null;

-- The list of one owner's jobs, newest first.
create index if not exists jobs_owner on jobs (owner, number) where deleted is null;

-- The list of all jobs, newest first, and how many there are: with the owner in it, which the security of rows asks for,
-- the table itself is not read.
create index if not exists jobs_visible on jobs (number) include (owner) where deleted is null;

-- What the reconciler follows.
create index if not exists jobs_unfinished on jobs (number) where finished is null;

-- What has files that may have to go.
create index if not exists jobs_files on jobs (files_until) where files = 1;

-- What may be old enough to be forgotten.
create index if not exists jobs_age on jobs (updated) where finished is not null;
