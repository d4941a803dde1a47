"""The audit log: one record for each decision, without secrets."""

import logging

from auth.access import Access, Verdict
from auth.identity import Identity
from auth.keys.key import KeyIdentity

_LOGGER = logging.getLogger("landcast.audit")


def audit(identity: Identity, access: Access, verdict: Verdict, *, job: str | None = None) -> None:
    """Log a decision, with the id of the caller's API key; the logging setup adds the request id.

    On an open server there is no identity to record, so nothing is logged.
    """
    if identity.method == "local":
        return
    more = {
        "key": identity.key_id if isinstance(identity, KeyIdentity) else "",
        "job": job,
        "reason": "" if verdict.allowed else verdict.reason,
    }
    _LOGGER.info(
        "allowed" if verdict.allowed else "refused",
        extra={
            "who": identity.owner,
            "by": identity.method,
            "action": access.action.value,
            "resource": access.resource,
            "decision": "allowed" if verdict.allowed else "refused",
            "rule": verdict.rule,
            **{name: value for name, value in more.items() if value},
        },
    )


def audit_event(owner: str, event: str, **more: str) -> None:
    """Log an event that no policy decides: a sign-in or sign-out, a key created or revoked, a token request."""
    _LOGGER.info(event, extra={"who": owner, "action": event, **more})
