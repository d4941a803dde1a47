-- Row-level security: a connection sees and changes the rows of the owner in its setting `landcast.owner`, all rows if
-- that is `*`, none if it is not set. It binds the tables' owner too. The setting is read once a statement, not per row.
alter table jobs enable row level security;
alter table jobs force row level security;
drop policy if exists jobs_of_owner on jobs;
create policy jobs_of_owner on jobs using (
    (select current_setting('landcast.owner', true)) = '*' or owner = (select current_setting('landcast.owner', true)));

-- An entry of the outbox contains a person's address: only the owner of its order sees, changes and inserts it.
alter table outbox enable row level security;
alter table outbox force row level security;
drop policy if exists outbox_of_owner on outbox;
create policy outbox_of_owner on outbox using (
    (select current_setting('landcast.owner', true)) = '*'
    or exists (
        select from jobs where jobs.id = outbox.job and jobs.owner = (select current_setting('landcast.owner', true))));

alter table history enable row level security;
alter table history force row level security;
drop policy if exists history_of_owner on history;
create policy history_of_owner on history using (
    (select current_setting('landcast.owner', true)) = '*'
    or exists (
        select from jobs where jobs.id = history.job and jobs.owner = (select current_setting('landcast.owner', true))));

alter table api_keys enable row level security;
alter table api_keys force row level security;
drop policy if exists api_keys_of_owner on api_keys;
create policy api_keys_of_owner on api_keys using (
    (select current_setting('landcast.owner', true)) = '*' or owner = (select current_setting('landcast.owner', true)));

alter table sessions enable row level security;
alter table sessions force row level security;
drop policy if exists sessions_of_owner on sessions;
create policy sessions_of_owner on sessions using (
    (select current_setting('landcast.owner', true)) = '*'
    or (identity::json -> 'owner') #>> '{}' = (select current_setting('landcast.owner', true)));
