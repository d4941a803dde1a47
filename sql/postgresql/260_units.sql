-- The units of a production: 10 km cells of the EEA's grid and other units, one row each; times are microseconds since
-- 1970 UTC. An order names its unit in `jobs.unit` and `jobs.task`; the unit has the state of its newest order that was
-- not dismissed. `ready for delivery` is set by `landcast units ready`, and lasts until another order.
create table if not exists units (
    service   text   not null,
    task      text   not null default '',
    id        text   not null,
    kind      text   not null check (kind in ('cell', 'unit')),
    longitude double precision not null check (longitude between -180 and 180),
    latitude  double precision not null check (latitude between -90 and 90),
    state     text   not null default 'not started' check (state in (
        'not started', 'received', 'queued', 'running', 'failed', 'success', 'ready for delivery')),
    job       text,
    updated   bigint not null,
    primary key (service, task, id)
);

comment on table units is 'The units of a production: 10 km cells and others, one row each.';
comment on column units.service is 'The process whose orders name the unit.';
comment on column units.task is 'The task of the production; empty where it has one only.';
comment on column units.longitude is 'Of its centre, in degrees.';
comment on column units.job is 'The newest order that named the unit and was not dismissed.';

create index if not exists jobs_unit on jobs (process, task, unit, number) where unit is not null;

-- The state of a unit by its order; the worker changes an accepted order once it has seen that it waits.
create or replace function unit_state(status text, created bigint, updated bigint) returns text
    language sql immutable as $$
select case status when 'accepted' then case when updated > created then 'queued' else 'received' end
    when 'successful' then 'success' when 'dismissed' then 'not started' else status end
$$;

create or replace function follow_order() returns trigger language plpgsql as $$
begin
    update units set state = unit_state(new.status, new.created, new.updated), job = new.id, updated = new.updated
        where service = new.process and task = new.task and id = new.unit;
    return null;
end
$$;

-- Both triggers lock units at the end of the transaction, after all of its orders: two transactions that change
-- several orders of one unit never wait for each other. Up to version 9 they were not deferred.
drop trigger if exists units_ordered on jobs;
create constraint trigger units_ordered after insert on jobs deferrable initially deferred
    for each row when (new.unit is not null) execute function follow_order();

create or replace function follow_orders() returns trigger language plpgsql as $$
begin
    update units set updated = new.updated, (job, state) = (
            select max(newest.id), coalesce(max(unit_state(newest.status, newest.created, newest.updated)), 'not started')
            from (
                select id, status, created, jobs.updated from jobs
                where process = new.process and jobs.task = new.task and unit = new.unit and status <> 'dismissed'
                order by number desc limit 1) as newest)
        where service = new.process and task = new.task and id = new.unit
            and not (state = 'ready for delivery' and job is distinct from new.id);
    return null;
end
$$;

drop trigger if exists units_changed on jobs;
create constraint trigger units_changed after update of status, message, backend on jobs deferrable initially deferred
    for each row when (new.unit is not null and (new.status is distinct from old.status or new.status = 'accepted'))
    execute function follow_orders();
