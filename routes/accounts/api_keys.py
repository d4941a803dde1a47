"""Personal API keys, made and revoked: by the forms of the account page, or as JSON with the token of a person."""

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from auth.identity import current_identity
from auth.keys.key import DAYS, ApiKey, KeyRefused, WantedKey
from auth.policy import audit_event
from routes.accounts.account import account_of, key_document, page_of
from routes.accounts.person import IN_PERSON, NO_STORE, people_of, session_of
from routes.guard import GuardedRoute
from routes.http.body import read_object
from routes.http.form import CSRF, check_csrf, is_form, read_form
from routes.http.language import in_same_language
from routes.http.problem import NOT_FOUND, Problem
from routes.http.return_to import ACCOUNT
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_MEMBERS = ("name", "scope", "days")


async def post_key(request: Request) -> Response:
    """Make a key and answer with it, the only time: as a page for the form, as JSON for JSON."""
    allow_parameters(request, one_form=True)
    if not is_form(request):
        light = resources_of(request).light
        given = _members(await read_object(request, limiter=light, such_as='{"name": "…", "scope": "read"}'))
        _refuse_session(request)
        key, text = await _make(request, _wanted(given))
        return JSONResponse({**key_document(key), "key": text}, HTTPStatus.CREATED, NO_STORE)
    form = await read_form(request, allowed=(*_MEMBERS, CSRF))
    check_csrf(session_of(request), form.pop(CSRF, ""))
    key, text = await _make(request, _wanted({**form, "days": _days(form.get("days", ""))}))
    made = {**key_document(key), "key": text}
    return page_of(request, await account_of(request), made)


async def delete_key(request: Request) -> Response:
    """Revoke one of the caller's keys."""
    allow_parameters(request, one_form=True)
    _refuse_session(request)
    await _revoke(request)
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=NO_STORE)


async def post_revocation(request: Request) -> Response:
    """Revoke one of the caller's keys by the form of the account page."""
    form = await read_form(request, allowed=(CSRF,))
    check_csrf(session_of(request), form.get(CSRF, ""))
    await _revoke(request)
    address = in_same_language(request, f"{resources_of(request).url}{ACCOUNT}")
    return RedirectResponse(address, HTTPStatus.SEE_OTHER, NO_STORE)


def _refuse_session(request: Request) -> None:
    """Refuse what a browser may send without its person's will: its forms prove that will, JSON does not."""
    if session_of(request) is not None:
        raise Problem(HTTPStatus.FORBIDDEN, "a signed-in browser uses the forms of /auth/account; JSON needs a token")


def _members(document: dict[str, Any]) -> dict[str, Any]:
    for name, value in document.items():
        if name not in _MEMBERS:
            raise _bad(f"member {name[:80]!r}: unknown; allowed: {', '.join(_MEMBERS)}")
        if not isinstance(value, int if name == "days" else str) or isinstance(value, bool):
            raise _bad(f"member {name!r}: must be {'a whole number' if name == 'days' else 'text'}")
    return document


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > len("365"):
        raise _bad("field 'days': must be a whole number")
    return int(text)


def _wanted(given: Mapping[str, Any]) -> WantedKey:
    try:
        return WantedKey(given.get("name", ""), given.get("scope", "read"), given.get("days", DAYS))
    except KeyRefused as error:
        raise _bad(str(error)) from error


def _bad(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail)


async def _make(request: Request, wanted: WantedKey) -> tuple[ApiKey, str]:
    authenticator, identity, session = people_of(request).authenticator, current_identity.get(), session_of(request)
    make = partial(authenticator.keys.create, identity, wanted, rights_at=session.created if session else None)
    try:
        key, text = await anyio.to_thread.run_sync(make, limiter=authenticator.threads)
    except KeyRefused as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from error
    audit_event(identity.owner, "make-key", key=key.id, scope=key.scope)
    return key, text


async def _revoke(request: Request) -> None:
    authenticator, owner, key_id = people_of(request).authenticator, current_identity.get().owner, _key_id(request)
    revoke = partial(authenticator.keys.revoke, key_id, owner=owner)
    if not await anyio.to_thread.run_sync(revoke, limiter=authenticator.threads):
        raise Problem(HTTPStatus.NOT_FOUND, f"you have no key {key_id[:80]!r} to revoke", type_=NOT_FOUND)
    audit_event(owner, "revoke-key", key=key_id)


def _key_id(request: Request) -> str:
    key_id: str = request.path_params["key_id"]
    return key_id


routes = [
    GuardedRoute("/auth/keys", post_key, needs=IN_PERSON, methods=["POST"]),
    GuardedRoute("/auth/keys/{key_id}", delete_key, needs=IN_PERSON, methods=["DELETE"]),
    GuardedRoute("/auth/keys/{key_id}/revoke", post_revocation, needs=IN_PERSON, methods=["POST"]),
]
