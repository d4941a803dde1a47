"""Who did what, and what was decided: one line of the log for each decision, never a secret in it."""

import logging

from auth.access import Access, Verdict
from auth.identity import Identity
from auth.keys.key import KeyIdentity

_LOGGER = logging.getLogger("landcast.audit")


def audit(identity: Identity, access: Access, verdict: Verdict, *, job: str | None = None) -> None:
    """Log the decision, with the id of the key that the caller is known by; the log adds the request's id.

    The one caller of an open server is nobody to account for.
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
    """Log what somebody did that no policy decides: sign-in, sign-out, a key made or revoked, a token asked for."""
    _LOGGER.info(event, extra={"who": owner, "action": event, **more})
