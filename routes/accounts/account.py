"""The account: who am I, what may I, my keys."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response

from auth.identity import Identity, current_identity
from auth.keys.key import DAYS, MOST_DAYS, ApiKey, KeyIdentity
from routes.accounts.person import KNOWN, NO_STORE, people_of, session_of
from routes.accounts.rights import describe_limits, rights_of
from routes.guard import GuardedRoute
from routes.http.return_to import ACCOUNT
from routes.middleware.edge import content_policy
from routes.pages.render import render, translator_of
from routes.pages.respond import respond
from routes.pages.translator import noted
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_KNOWN_BY = {
    "session": noted("signed in with this browser"),
    "token": noted("by an access token"),
    "key": noted("by an API key"),
}


_STATES = (noted("active"), noted("expired"), noted("revoked"))
"""What a page says of keys."""


async def get_account(request: Request) -> Response:
    """Answer with who the caller is, what they may do, and their keys, which a key does not show."""
    allow_parameters(request)
    document = await account_of(request)
    return respond(request, document, page="account.html", headers=_headers(request), only_page=_only_page(request))


async def account_of(request: Request) -> dict[str, Any]:
    """Return the document of the account of the caller."""
    identity, resources = current_identity.get(), resources_of(request)
    document = {
        "title": noted("Account"),
        "who": _who(identity),
        "may": rights_of(resources, identity),
        "links": [{"href": f"{resources.url}{ACCOUNT}", "rel": "self", "type": "application/json", "title": "Account"}],
    }
    if isinstance(identity, KeyIdentity):
        return document
    authenticator = people_of(request).authenticator
    keys = await anyio.to_thread.run_sync(authenticator.keys.list, identity.owner, limiter=authenticator.threads)
    return {**document, "keys": [key_document(key) for key in keys]}


def page_of(request: Request, document: Mapping[str, Any], made: Mapping[str, Any]) -> Response:
    """Answer with the page of the account and a new key, which is shown now and never again."""
    page = render(request, "account.html", {**document, **_only_page(request, made)})
    return Response(page, HTTPStatus.CREATED, _headers(request), media_type="text/html")


def _headers(request: Request) -> dict[str, str]:
    """Return the headers of the page.

    `Referrer-Policy: same-origin`: with `no-referrer` browsers hide the origin of our own forms, which is checked.
    """
    return {
        **NO_STORE,
        "Content-Security-Policy": content_policy(resources_of(request).url, people_of(request).issuer),
        "Referrer-Policy": "same-origin",
    }


def _only_page(request: Request, made: Mapping[str, Any] | None = None) -> dict[str, Any]:
    session = session_of(request)
    return {
        "csrf": session.csrf if session else None,
        "until": session.expires if session else None,
        "made": made,
        "known_by": _KNOWN_BY[current_identity.get().method],
        "days": DAYS,
        "most_days": MOST_DAYS,
        "describe_limits": partial(describe_limits, translator_of(request)),
    }


def _who(identity: Identity) -> dict[str, Any]:
    return {
        "name": identity.name,
        "email": identity.email,
        "owner": identity.owner,
        "method": identity.method,
        "roles": sorted(identity.roles),
        "groups": sorted(identity.groups),
        "scopes": sorted(identity.scopes),
        **({"key": identity.key_id, "keyScope": identity.key_scope} if isinstance(identity, KeyIdentity) else {}),
    }


def key_document(key: ApiKey) -> dict[str, Any]:
    """Return a key as lists show it."""
    return {
        "id": key.id,
        "name": key.name,
        "scope": key.scope,
        "state": key.state(datetime.now(UTC)),
        "created": _time(key.created),
        "expires": _time(key.expires),
        "lastUsed": None if key.last_used is None else _time(key.last_used),
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


routes = [GuardedRoute(ACCOUNT, get_account, needs=KNOWN)]
