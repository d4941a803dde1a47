"""The operations for people and their programs: sign-in, account, keys, tokens. Served where callers are known."""

from routes.http.form import FORM
from routes.openapi.operation import HTML, JSON, Value, content, form, operation, path, query, ref

PEOPLE = {"name": "people", "description": "Sign in, keys and tokens"}
_TAG = "people"
_TEXT: Value = {"type": "string"}
_WHOLE: Value = {"type": "integer"}
_TIME: Value = {"type": "string", "format": "date-time"}
_UNKNOWN = {"401": ref("responses", "problem401")}
_SLOWED = {"429": ref("responses", "problem429")}


def _object(required: tuple[str, ...] = (), /, **properties: Value) -> Value:
    closed = {"type": "object", "properties": properties}
    return {**closed, "required": list(required)} if required else closed


def _list(items: Value) -> Value:
    return {"type": "array", "items": items}


_SCOPE: Value = {"type": "string", "enum": ["read", "order"], "default": "read"}
_DAYS: Value = {"type": "integer", "minimum": 1, "maximum": 365, "default": 90}
_NAME: Value = {"type": "string", "minLength": 1, "maxLength": 80}
_CSRF: Value = {"type": "string", "description": "What the account page holds for this session."}
_KEY: Value = _object(
    ("id", "name", "scope", "state"),
    id=_TEXT,
    name=_TEXT,
    scope=_SCOPE,
    state={"type": "string", "enum": ["active", "expired", "revoked"]},
    created=_TIME,
    expires=_TIME,
    lastUsed={**_TIME, "nullable": True},
)
_RIGHTS: Value = _list(_object(("id", "may"), id=_TEXT, may=_list(_TEXT), limits=_list(_object())))
_ACCOUNT: Value = _object(
    ("who", "may"),
    who=_object(name={**_TEXT, "nullable": True}, email={**_TEXT, "nullable": True}, owner=_TEXT, method=_TEXT),
    may=_object(administer={"type": "boolean"}, collections=_RIGHTS, processes=_RIGHTS),
    keys=_list(_KEY),
    links=_list(ref("schemas", "link")),
)
_TOKENS: Value = _object(
    ("access_token", "expires_in", "token_type"),
    access_token=_TEXT,
    expires_in=_WHOLE,
    refresh_expires_in=_WHOLE,
    refresh_token=_TEXT,
    token_type=_TEXT,
    session_state=_TEXT,
    scope=_TEXT,
)
_REFRESH_TOKEN: Value = {**_object(("refresh_token",), refresh_token=_TEXT), "additionalProperties": False}


def people_paths() -> Value:
    """Return the paths of sign-in, account, keys and tokens."""
    return {
        "/auth/login": {"get": _login()},
        "/auth/callback": {"get": _callback()},
        "/auth/logout": {"post": _form("signOut", "End this session and the issuer's", "303", ("csrf",), csrf=_CSRF)},
        "/auth/backchannel-logout": {"post": _backchannel()},
        "/auth/account": {"get": _account()},
        "/auth/keys": {"post": _make_key()},
        "/auth/keys/{key_id}": {"delete": _revoke_key()},
        "/auth/keys/{key_id}/revoke": {"post": _revoke_by_form()},
        "/auth/token": {"post": _token()},
        "/auth/refresh": {"post": _refresh("refreshToken", "New tokens for a refresh token", _granted())},
        "/auth/revoke": {"post": _refresh("revokeToken", "End the session of a refresh token", _done("204"))},
    }


def _done(status: str, description: str = "Done.") -> Value:
    return {status: {"description": description}}


def _granted() -> Value:
    return {"200": {"description": "The tokens.", "content": content(_TOKENS, JSON)}}


def _body(schema: Value, media_type: str) -> Value:
    return {"required": True, "content": {media_type: {"schema": schema}}}


def _login() -> Value:
    return operation(
        "signIn",
        "Sign in with a browser",
        tag=_TAG,
        parameters=[query("return", "The path of this server to come back to.", {**_TEXT, "default": "/auth/account"})],
        responses={**_done("302", "To the issuer's login."), **_SLOWED},
        errors=(400, 503),
    )


def _callback() -> Value:
    given = {
        "state": "What the login began with.",
        "code": "The code to be exchanged for tokens.",
        "iss": "The issuer that answers (RFC 9207).",
        "error": "Why there is no code.",
    }
    return operation(
        "finishSignIn",
        "Where the issuer sends the browser back to",
        tag=_TAG,
        parameters=[query(name, description, _TEXT) for name, description in given.items()],
        responses=_done("303", "Signed in; redirects to the requested page."),
        errors=(400, 503),
    )


def _form(name: str, summary: str, status: str, required: tuple[str, ...], **fields: Value) -> Value:
    return operation(
        name,
        summary,
        tag=_TAG,
        responses=_done(status),
        errors=(400, 403, 415, 503),
        requestBody=_body(_object(required, **fields), FORM),
    )


def _backchannel() -> Value:
    return operation(
        "backchannelLogout",
        "Where the issuer tells that a session ended",
        tag=_TAG,
        responses=_done("200", "The sessions that belong to it have ended."),
        errors=(400, 415, 503),
        requestBody=_body(_object(("logout_token",), logout_token=_TEXT), FORM),
    )


def _account() -> Value:
    return operation(
        "getAccount",
        "Who am I, what may I, my keys",
        tag=_TAG,
        parameters=[form("json", "html")],
        responses={
            "200": {"description": "The account of the caller.", "content": content(_ACCOUNT, JSON, HTML)},
            **_done("303", "A browser that is not signed in: to the login."),
            **_UNKNOWN,
        },
        errors=(400, 406, 503),
    )


def _make_key() -> Value:
    made = {**_KEY, "properties": {**_KEY["properties"], "key": _TEXT}}
    members = {"name": _NAME, "scope": _SCOPE, "days": _DAYS}
    return operation(
        "makeKey",
        "Make an API key; it is shown this once",
        tag=_TAG,
        responses={
            "201": {"description": "The key.", "content": content(made, JSON, HTML)},
            "409": ref("responses", "problem409"),
            **_UNKNOWN,
        },
        errors=(400, 403, 415, 503),
        requestBody={
            "required": True,
            "content": {
                JSON: {"schema": {**_object(("name",), **members), "additionalProperties": False}},
                FORM: {"schema": _object(("name", "csrf"), **members, csrf=_CSRF)},
            },
        },
    )


def _revoke_key() -> Value:
    return operation(
        "revokeKey",
        "Revoke one of one's API keys",
        tag=_TAG,
        parameters=[path("key_id", "The key's id.")],
        responses={**_done("204", "Revoked."), **_UNKNOWN},
        errors=(400, 403, 404, 503),
    )


def _revoke_by_form() -> Value:
    revoke = _form("revokeKeyByForm", "Revoke an API key by the form of the account page", "303", ("csrf",), csrf=_CSRF)
    return {**revoke, "parameters": [path("key_id", "The key's id.")]}


def _token() -> Value:
    fields = {
        "grant_type": {"type": "string", "enum": ["password", "client_credentials"], "default": "password"},
        **dict.fromkeys(("username", "client_id", "scope"), _TEXT),
        **{name: {"type": "string", "format": "password"} for name in ("password", "client_secret")},
    }
    return operation(
        "getToken",
        "Tokens for a program's own account or, where that is switched on, for a name and password",
        tag=_TAG,
        responses={**_granted(), **_UNKNOWN, **_SLOWED},
        errors=(400, 403, 415, 503),
        requestBody=_body(_object(**fields), FORM),
    )


def _refresh(name: str, summary: str, responses: Value) -> Value:
    return operation(
        name,
        summary,
        tag=_TAG,
        responses={**responses, **_SLOWED},
        errors=(400, 415, 503),
        requestBody=_body(_REFRESH_TOKEN, JSON),
    )
