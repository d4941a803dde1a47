-- The units of a production: 10 km cells of the EEA's grid and other units, one row each; times are microseconds since
-- 1970 UTC. An order names its unit in `jobs.unit` and `jobs.task`; the unit has the state of its newest order that was
-- not dismissed. `ready for delivery` is set by `landcast units ready`, and lasts until another order.
create table if not exists units (
    service   text    not null,
    task      text    not null default '',
    id        text    not null,
    kind      text    not null check (kind in ('cell', 'unit')),
    longitude real    not null check (longitude between -180 and 180),
    latitude  real    not null check (latitude between -90 and 90),
    state     text    not null default 'not started' check (state in (
        'not started', 'received', 'queued', 'running', 'failed', 'success', 'ready for delivery')),
    job       text,
    updated   integer not null,
    primary key (service, task, id)
) without rowid;

create index if not exists jobs_unit on jobs (process, task, unit, number) where unit is not null;

create trigger if not exists units_ordered after insert on jobs when new.unit is not null
begin
    update units set job = new.id, updated = new.updated, state = case new.status
            when 'accepted' then 'received' when 'successful' then 'success' when 'dismissed' then 'not started'
            else new.status end
        where service = new.process and task = new.task and id = new.unit;
end;

create trigger if not exists units_changed after update of status, message, backend on jobs
    when new.unit is not null and (new.status is not old.status or new.status = 'accepted')
begin
    update units set updated = new.updated, (job, state) = (
            select max(newest.id), coalesce(max(case newest.status
                when 'accepted' then case when newest.updated > newest.created then 'queued' else 'received' end
                when 'successful' then 'success' else newest.status end), 'not started')
            from (
                select id, status, created, updated from jobs
                where process = new.process and task = new.task and unit = new.unit and status <> 'dismissed'
                order by number desc limit 1) as newest)
        where service = new.process and task = new.task and id = new.unit
            and not (state = 'ready for delivery' and job is not new.id);
end;
