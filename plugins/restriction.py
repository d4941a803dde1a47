"""What the policy leaves of a collection to the running request, and who can keep to it."""

from http import HTTPStatus

from pygeoapi.error import GenericError

from auth.access import Verdict, current_verdict


class RestrictionUnsupported(GenericError):
    """The caller may see a part of the collection only, and what reads it cannot keep to that."""

    ogc_exception_code = "Forbidden"
    http_status_code = HTTPStatus.FORBIDDEN
    default_msg = "you may see a part of this collection only, which cannot be told apart here yet"


def refuse_restriction(verdict: Verdict | None = None) -> None:
    """Raise RestrictionUnsupported where the verdict has rows or an area; called before anything is read.

    Without one it is that of the running request; outside of a request, in work and commands, there is none.
    """
    verdict = verdict or current_verdict.get(None)
    if verdict is not None and (verdict.rows is not None or verdict.area is not None):
        raise RestrictionUnsupported
