-- Record the progress of an attempt, and return whether it is the running attempt of an order that no external back end
-- has; if not, nothing is recorded, and the caller should stop its work. Progress never decreases, because the parts of
-- an attempt report independently. A null argument keeps the stored value; two nulls only query. An update without a
-- change writes nothing.
-- It is the only right of the role landcast_worker, so it runs with the rights of the tables' owner and sees all rows
-- (a `set` clause of the function, which would end with it, needs a superuser).
drop function if exists report(text, integer, integer, text);  -- version 1 returned nothing

create function report(job text, attempt integer, percent integer, message text) returns boolean
    language plpgsql security definer as $$
declare
    seen text := current_setting('landcast.owner', true);
    upto integer := least(coalesce(report.percent, 0), 100);
    runs boolean;
begin
    perform set_config('landcast.owner', '*', true);
    update jobs
        set progress = greatest(jobs.progress, upto), message = coalesce(report.message, jobs.message),
            updated = (extract(epoch from clock_timestamp()) * 1000000)::bigint
        where jobs.id = report.job and jobs.attempt = report.attempt and jobs.status = 'running' and jobs.backend = 0
            and (jobs.progress < upto or jobs.message <> report.message);
    runs := found or exists (
        select from jobs where jobs.id = report.job
            and jobs.attempt = report.attempt and jobs.status = 'running' and jobs.backend = 0);
    perform set_config('landcast.owner', coalesce(seen, ''), true);
    return runs;
end
$$;

-- A caller's temporary table `jobs` with a trigger must not shadow the real one: pg_temp is searched last.
do $$
begin
    execute format(
        'alter function report(text, integer, integer, text) set search_path = %I, pg_temp', current_schema());
end
$$;

revoke all on function report(text, integer, integer, text) from public;
