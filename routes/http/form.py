"""Forms of pages, and of programs in their place: `application/x-www-form-urlencoded`."""

from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.requests import Request

from auth.policy import audit_event
from auth.session import Session
from routes.http.body import SMALL_BODY, media_type_of, read_body
from routes.http.problem import Problem

FORM = "application/x-www-form-urlencoded"
CSRF = "csrf"
_MOST_FIELDS = 20


def is_form(request: Request) -> bool:
    """Return whether the body is that of a form."""
    return media_type_of(request) == FORM


async def read_form(
    request: Request, *, allowed: Collection[str] | None, others: bool = False, most: int = _MOST_FIELDS
) -> dict[str, str]:
    """Return the fields, each given once, with a maximum number; `others` are ignored or refused.

    If `allowed` is None, any name is allowed. Raises Problem 400, 413, 415.
    """
    if not is_form(request):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Type: {media_type_of(request)[:80]!r}; allowed: {FORM}",
            headers={"Accept-Post": FORM},
        )
    return parse_form(await read_body(request, SMALL_BODY), None if others else allowed, most)


def parse_form(body: bytes, allowed: Collection[str] | None, most: int = _MOST_FIELDS) -> dict[str, str]:
    """Return the fields of a body, each given once, with a maximum number. Raises Problem 400."""
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=most)
    except ValueError as error:
        detail = f"the body is no form of at most {most} fields in UTF-8"
        raise Problem(HTTPStatus.BAD_REQUEST, detail) from error
    found: dict[str, str] = {}
    for name, value in fields:
        if allowed is not None and name not in allowed:
            detail = f"field {name[:80]!r}: unknown; allowed: {', '.join(sorted(allowed))}"
            raise Problem(HTTPStatus.BAD_REQUEST, detail)
        if name in found:
            raise Problem(HTTPStatus.BAD_REQUEST, f"field {name[:80]!r}: allowed once")
        found[name] = value
    return found


def check_csrf(session: Session | None, given: str) -> None:
    """Raise the 403 Problem unless the form is from a page of the same session.

    A page of another site can make a browser send a form with the session's cookie, but cannot read our forms.
    """
    if session is None or not session.sent_form(given):
        detail = "this form is not of your session; open the page again and repeat it"
        who = "unknown" if session is None else session.identity.owner
        audit_event(who, "forged-form", decision="refused", reason=detail)
        raise Problem(HTTPStatus.FORBIDDEN, detail)
