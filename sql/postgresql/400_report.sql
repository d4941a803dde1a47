-- Note the progress of a running attempt of ours and answer whether it is that; of another attempt, or of an order that
-- does not run or that an external back end has, nothing is noted, and what works for it may stop. Progress never goes
-- back, as parts of one attempt report each for itself. A null leaves what is there: with two of them it is only asked.
-- What is no news writes nothing.
-- The only right of the role landcast_worker: it works with the rights of the tables' owner, and while it does sees
-- every row (a setting in its head, which would end with it, is for superusers to give).
drop function if exists report(text, integer, integer, text);  -- version 1's had no answer

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

-- A caller's own temporary table `jobs`, with a trigger on it, must not be taken for ours: their schema is looked at last.
do $$
begin
    execute format(
        'alter function report(text, integer, integer, text) set search_path = %I, pg_temp', current_schema());
end
$$;

revoke all on function report(text, integer, integer, text) from public;
