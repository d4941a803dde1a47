-- Whose rows a connection sees and changes: those of the owner in its setting `landcast.owner`, all where that is `*`,
-- none where it is not set. The tables' owner is bound too. The setting is read once a statement, not once a row.
alter table jobs enable row level security;
alter table jobs force row level security;
drop policy if exists jobs_of_owner on jobs;
create policy jobs_of_owner on jobs using (
    (select current_setting('landcast.owner', true)) = '*' or owner = (select current_setting('landcast.owner', true)));

-- An entry of the outbox holds somebody's address: it is seen, changed and made by whom its order is.
alter table outbox enable row level security;
alter table outbox force row level security;
drop policy if exists outbox_of_owner on outbox;
create policy outbox_of_owner on outbox using (
    (select current_setting('landcast.owner', true)) = '*'
    or exists (
        select from jobs where jobs.id = outbox.job and jobs.owner = (select current_setting('landcast.owner', true))));

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
