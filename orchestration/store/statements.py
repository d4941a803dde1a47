"""The store's SQL statements. Every update tests the current state, so that a late one changes nothing."""

from sql.connections import DialectText

LISTED = """number, id, owner, email, process, '{}' as inputs, outputs, response, idempotency_key, request_hash,
    status, attempt, failures, progress, message, fault, null as manifest, created, updated, started, finished, deleted,
    files_until, expired, backend, unit, task, trace, '[]' as notices"""
"""All columns for lists, without inputs and results, which may be megabytes, and without notifications."""

DETAILED = LISTED.replace("'{}'", "case when length(inputs) <= 50000 then inputs else '{}' end", 1).replace(
    "null", "case when length(manifest) <= 50000 then manifest end", 1
)
"""All columns for lists, with the inputs and results that are not large."""

ADD = """insert into jobs (
        id, owner, email, process, inputs, outputs, response, idempotency_key, request_hash, notices, created, updated,
        km2, unit, task, trace, bytes)
    values (:id, :owner, :email, :process, :inputs, :outputs, :response, :key, :hash, :notices, :now, :now,
        :km2, :unit, :task, :trace, :bytes)
    returning *"""

ADD_SUCCESSFUL = """insert into jobs (
        id, owner, email, process, inputs, outputs, response, idempotency_key, request_hash, notices, created, updated,
        status, progress, started, finished, manifest, files, files_until, bytes, km2, unit, task, trace)
    values (:id, :owner, :email, :process, :inputs, :outputs, :response, :key, :hash, :notices, :now, :now,
        'successful', 100, :now, :now, :manifest, :files, :until, :bytes, :km2, :unit, :task, :trace)
    returning *"""

UNIT = "select 1 from units where service = :process and task = :task and id = :unit"

USED = """select
    (select count(*) from jobs where owner = :owner and finished is null),
    coalesce(sum(km2), 0), coalesce(sum(bytes), 0)
    from jobs
    where owner = :owner and created >= :since and km2 is not null and status not in ('failed', 'dismissed')"""
"""The unfinished orders of an owner, and the km2 and bytes since a time, also of unfinished and deleted ones."""

KNOWN = "select * from jobs where owner = :owner and idempotency_key = :key and deleted is null"

GET = "select * from jobs where id = :id and deleted is null"

ANY = "select 1 from jobs limit 1"

UNFINISHED = f"select {LISTED} from jobs where finished is null and backend = 0 order by number"  # noqa: S608  a constant

WAITING = """select count(*) from (
        select 1 from jobs where finished is null and backend = 0 and status = 'accepted' and process in {}
        limit :most) as counted"""

BEGIN = """update jobs set
        status = 'running', attempt = attempt + 1, started = :now, updated = :now, progress = 0, message = '', files = 1
    where id = :id and status = 'accepted' and backend = 0
    returning *"""

REPORT = DialectText(
    sqlite="""update jobs set progress = max(progress, min(:percent, 100)), message = :message, updated = :now
    where id = :id and attempt = :attempt and status = 'running' and backend = 0
    returning 1""",
    postgresql="select report(:id, :attempt, :percent, :message)",
)

PUBLISH = """update jobs set
        status = 'successful', finished = :now, updated = :now, progress = 100, message = '',
        manifest = :manifest, files = :files, files_until = :until, bytes = :bytes
    where id = :id and attempt = :attempt and status = 'running' and backend = 0"""

FAIL = """update jobs set status = 'failed', finished = :now, updated = :now, message = :reason, fault = :fault
    where id = :id and attempt = :attempt and status = 'running' and backend = 0"""

HAND_BACK = """update jobs set
        status = 'accepted', started = null, updated = :now, progress = 0, message = 'waits to be run again',
        failures = failures + :counted
    where id = :id and attempt = :attempt and status = 'running' and backend = 0"""

TELL = """update jobs set message = :message, updated = :now
    where id = :id and status = 'accepted' and backend = 0"""

DISMISS = """update jobs set
        status = case when finished is null then 'dismissed' else status end,
        deleted = case when finished is null then null else cast(:now as bigint) end,
        message = case when finished is null then '' else message end,
        notices = case when finished is null then notices else '[]' end,
        finished = coalesce(finished, :now), updated = :now
    where id = :id and deleted is null
    returning *"""

CANCEL = """update jobs set status = 'dismissed', message = '', finished = :now, updated = :now
    where id = :id and finished is null and deleted is null"""

FILES_TO_REMOVE = f"""select {LISTED} from jobs
    where files = 1
        and (files_until <= :now or deleted is not null or status in ('dismissed', 'failed') or backend = 1)
    order by number"""  # noqa: S608  a constant

NEXT_EXPIRY = """select files_until from jobs
    where files = 1 and files_until is not null and manifest like '%"path": "' || id || '/%'
    order by files_until limit 1"""

STORED_MANIFESTS = "select distinct manifest from jobs where files = 1 and manifest is not null"

NAMED_FILES = """select id, manifest from jobs where files = 1 and status = 'successful' and deleted is null
    order by number"""

FILES_REMOVED = """update jobs set
        files = 0, files_until = null,
        expired = case when status = 'successful' and deleted is null and backend = 0 then 1 else 0 end
    where id = :id and files = 1"""

BACKEND_QUEUED = """update jobs set backend = 1, updated = :now, message = ''
    where id = :id and status = 'accepted' and backend = 0
    returning *"""

BACKEND_BEGUN = """update jobs set
        backend = 1, status = 'running', started = :now, updated = :now, progress = 0, message = ''
    where id = :id and (status = 'accepted' or status = 'running' and backend = 0)
    returning *"""

BACKEND_DONE = """update jobs set
        backend = 1, status = 'successful', started = coalesce(started, :now), finished = :now, updated = :now,
        progress = 100, message = '', manifest = :manifest, bytes = 0
    where id = :id and finished is null
    returning *"""

BACKEND_FAILED = """update jobs set
        backend = 1, status = 'failed', finished = :now, updated = :now, message = :reason, fault = :fault
    where id = :id and finished is null
    returning *"""

HISTORY = "select at, status, attempt, message from history where job = :id order by number"

MAIL = """insert into outbox (job, kind, event, address, state, due)
    select :id, 'mail', :event, :address, 'due', cast(:now as bigint)
    where not exists (select 1 from outbox where job = :id and kind = 'mail' and event = :event)"""
"""At most one mail for each event of an order."""

PURGE = "delete from jobs where finished is not null and files = 0 and updated < :before"

NOTICE = """insert into outbox (job, kind, event, address, state, due)
    values (:job, :kind, :event, :address, :state, :due)"""

DOWNLOADED = """insert into outbox (job, kind, event, address, state, due, at)
    select id, 'message', 'successful', cast(:address as text), 'due', cast(:now as bigint), cast(:now as bigint)
    from jobs where id = :id and deleted is null"""

COLLECTION_DOWNLOADED = """insert into outbox (collection, kind, event, address, state, due, at)
    values (:collection, 'message', 'successful', :address, 'due', :now, :now)"""

BACKLOG = "select 1 from outbox where kind = 'message' and state = 'due' limit 1 offset :most"
"""Has a row if more than `most` messages wait; reads as many entries of an index at most."""

PURGE_DOWNLOADS = "delete from outbox where job is null and state in ('delivered', 'failed') and at < :before"

ANY_DUE = "select 1 from outbox where kind = :kind and state = 'due' and due <= :now limit 1"

TAKE = """update outbox set state = 'sending', due = null, tries = tries + 1
    where number = (
        select number from outbox as entry where kind = :kind and state = 'due' and due <= :now and not exists (
            select 1 from outbox as earlier
            where earlier.job = entry.job and earlier.kind = entry.kind and earlier.number < entry.number
            and (earlier.state = 'sending' or earlier.state = 'due' and earlier.tries = 0))
        order by due, number limit 1) and state = 'due'
    returning *"""
"""The first attempts of an order's notifications are made in order; concurrent couriers never take the same entry."""

TAKE_MANY = """update outbox set state = 'sending', due = null, tries = tries + 1
    where state = 'due' and number in (
        select number from outbox where kind = :kind and state = 'due' and due <= :now order by number limit :most)
    returning *"""
"""For one courier alone, which delivers them by number: so the order of an order's notifications is kept."""

SETTLE_MANY = "update outbox set state = :state, due = null where state = 'sending' and number in {}"

PUT_BACK = "update outbox set state = 'due', due = :due, tries = tries - 1 where state = 'sending' and number in {}"

JOBS = f"select {LISTED} from jobs where deleted is null and id in "  # noqa: S608  a constant

SETTLE = "update outbox set state = :state, due = :due where number = :number and state = 'sending'"

LEFT_CALLBACKS = "update outbox set state = 'due', due = :now where kind <> 'mail' and state = 'sending'"

LEFT_MAILS = "update outbox set state = 'unknown' where kind = 'mail' and state = 'sending'"

NOTIFICATIONS = "select kind, event, state, tries from outbox where job = :id and kind <> 'message' order by number"
