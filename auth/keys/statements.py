"""SQL statements for API keys."""

from sql.connections import DialectText

ADD = """
insert into api_keys (id, hash, owner, subject, email, person, name, scope, maker, granted, rights, rights_at, created,
                      expires)
values (:id, :hash, :owner, :subject, :email, :person, :name, :scope, :maker, :rights, :rights, :rights_at, :now,
        :expires)
returning *"""

COUNT = "select count(*) from api_keys where owner = :owner and maker = 'owner' and revoked is null and expires > :now"

GET = "select * from api_keys where id = :id"

LIST = "select * from api_keys where :owner is null or owner = :owner order by created, id"

REVOKE = """
update api_keys set revoked = :now where id = :id and revoked is null and (:owner is null or owner = :owner)"""

REVOKE_ALL = "update api_keys set revoked = :now where owner = :owner and revoked is null"

# Only keys that people created for themselves: the operator's keys do not depend on their owner's state.
OWNERS = """
select distinct owner, subject from api_keys
where maker = 'owner' and revoked is null and expires > :now order by owner"""

REVOKE_OWN = """
update api_keys set revoked = :now where owner = :owner and maker = 'owner' and revoked is null"""

SUSPEND = """
update api_keys set rights_at = 0 where owner = :owner and maker = 'owner' and revoked is null and rights_at > 0"""

USED = "update api_keys set last_used = :used where id = :id and (last_used is null or last_used < :used)"

# The newest rights win: an older token does not restore a right that was removed since.
REFRESH = DialectText(
    sqlite="""
update api_keys set rights = json_patch(rights, :rights), email = coalesce(:email, email),
    person = coalesce(:person, person), rights_at = :at
where owner = :owner and maker = 'owner' and revoked is null and rights_at < :at""",
    postgresql="""
update api_keys set rights = cast(cast(rights as jsonb) || cast(:rights as jsonb) as text),
    email = coalesce(:email, email), person = coalesce(:person, person), rights_at = :at
where owner = :owner and maker = 'owner' and revoked is null and rights_at < :at""",
)

SWEEP = "delete from api_keys where case when revoked < expires then revoked else expires end < :before"
