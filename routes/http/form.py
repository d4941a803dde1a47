"""What a form of a page, or a program in its place, sends: `application/x-www-form-urlencoded`."""

from collections.abc import Collection
from hmac import compare_digest
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.requests import Request

from auth.audit import audit_event
from auth.session import Session
from routes.http.body import SMALL_BODY, read_body
from routes.http.problem import Problem

FORM = "application/x-www-form-urlencoded"
CSRF = "csrf"
_MOST_FIELDS = 20


def media_type_of(request: Request) -> str:
    """Return the media type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_form(request: Request) -> bool:
    """Say whether the body is that of a form."""
    return media_type_of(request) == FORM


async def read_form(request: Request, *, allowed: Collection[str], others: bool = False) -> dict[str, str]:
    """Return the fields, each given once; `others` are passed over or refused. Raises Problem 400, 413, 415."""
    if not is_form(request):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Type: {media_type_of(request)[:80]!r}; allowed: {FORM}",
            headers={"Accept-Post": FORM},
        )
    body = await read_body(request, SMALL_BODY)
    return _once(_fields(body), None if others else allowed)


def _fields(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        detail = f"the body is no form of at most {_MOST_FIELDS} fields in UTF-8"
        raise Problem(HTTPStatus.BAD_REQUEST, detail) from error


def _once(fields: list[tuple[str, str]], allowed: Collection[str] | None) -> dict[str, str]:
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
    """Raise the 403 Problem unless the form came from a page that this very session was shown.

    A page of another site can have a browser send a form with the session's cookie, but cannot read what is in ours.
    """
    if session is None or not compare_digest(session.csrf.encode(), given.encode()):
        detail = "this form is not of your session; open the page again and repeat it"
        who = "unknown" if session is None else session.identity.owner
        audit_event(who, "forged-form", decision="refused", reason=detail)
        raise Problem(HTTPStatus.FORBIDDEN, detail)
