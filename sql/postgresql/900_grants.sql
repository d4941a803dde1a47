-- Four roles without login; grant one to a user that does not own the tables. They are created if the migrating user
-- may create roles; otherwise an administrator creates them and `landcast migrate` runs this file again.
do $$
declare
    name text;
begin
    foreach name in array array['landcast_server', 'landcast_worker', 'landcast_backup', 'landcast_monitor'] loop
        if to_regrole(name) is null
            and (select rolsuper or rolcreaterole from pg_roles where rolname = current_user) then
            begin
                execute format('create role %I nologin', name);
            exception when duplicate_object or unique_violation then
                null;  -- another database of the cluster was first
            end;
        end if;
    end loop;
    if to_regrole('landcast_server') is not null then
        execute format('grant usage on schema %I to landcast_server', current_schema());
        grant select, insert, update, delete on jobs, outbox, history, units, api_keys, sessions,
            pending_logins, logout_tokens to landcast_server;
        grant select on schema_version to landcast_server;
        grant execute on function report(text, integer, integer, text) to landcast_server;
    end if;
    if to_regrole('landcast_worker') is not null then
        execute format('grant usage on schema %I to landcast_worker', current_schema());
        grant execute on function report(text, integer, integer, text) to landcast_worker;
    end if;
    -- With landcast.owner = '*', which our connections set, it reads all rows and writes none.
    if to_regrole('landcast_backup') is not null then
        execute format('grant usage on schema %I to landcast_backup', current_schema());
        grant select on jobs, outbox, history, units, api_keys, sessions, pending_logins, logout_tokens, schema_version
            to landcast_backup;
        execute format('grant select on all sequences in schema %I to landcast_backup', current_schema());
    end if;
    -- Grafana reads when whose orders ran and how they ended, but not their results and whom they notify.
    if to_regrole('landcast_monitor') is not null then
        execute format('grant usage on schema %I to landcast_monitor', current_schema());
        grant select (number, id, owner, email, process, inputs, status, attempt, failures, progress, message, fault, created,
            updated, started, finished, deleted, unit, task) on jobs to landcast_monitor;
        grant select on units to landcast_monitor;
        if not exists (select from pg_policies
            where schemaname = current_schema() and tablename = 'jobs' and policyname = 'jobs_monitored') then
            create policy jobs_monitored on jobs for select to landcast_monitor using (true);
        end if;
    end if;
end
$$;
