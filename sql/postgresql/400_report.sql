-- Note the progress of a running attempt of ours; a report of another attempt, or of an order that does not run or that
-- an external back end has, is dropped.
-- The only right of the role landcast_worker: it works with the rights of the tables' owner, and while it does sees
-- every row (a setting in its head, which would end with it, is for superusers to give).
create or replace function report(job text, attempt integer, percent integer, message text) returns void
    language plpgsql security definer as $$
declare
    seen text := current_setting('landcast.owner', true);
begin
    perform set_config('landcast.owner', '*', true);
    update jobs
        set progress = least(greatest(report.percent, 0), 100), message = report.message,
            updated = (extract(epoch from clock_timestamp()) * 1000000)::bigint
        where jobs.id = report.job and jobs.attempt = report.attempt and jobs.status = 'running'
            and jobs.backend = 0;
    perform set_config('landcast.owner', coalesce(seen, ''), true);
end
$$;

-- A caller's own temporary table `jobs`, with a trigger on it, must not be taken for ours: their schema is looked at last.
do $$
begin
    execute format(
        'alter function report(text, integer, integer, text) set search_path = %I, pg_temp', current_schema());
end
$$;

revoke all on function report(text, integer, integer, text) from public;
