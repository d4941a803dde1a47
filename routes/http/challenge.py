"""The refusal of credentials in HTTP: 401 with a challenge, 429, 503."""

import logging
from http import HTTPStatus

from auth.credentials import InvalidCredential
from auth.database import AccessUnavailable
from auth.issuer import IssuerUnreachable
from auth.keys.text import InvalidKey
from auth.refusal import InvalidToken, KeysUnavailable
from auth.throttle import TooManyFailures
from routes.http.problem import Problem

_LOGGER = logging.getLogger(__name__)
_RETRY = 5

REALM = 'realm="landcast"'
BEARER = f"Bearer {REALM}"
_BASIC = f'Basic {REALM}, charset="UTF-8"'


def refusal_of(error: Exception) -> Problem | None:
    """Return the problem for credentials that are refused or cannot be verified now, None for any other error."""
    match error:
        case InvalidToken() | InvalidKey():
            return _unauthorized("invalid_token", str(error))
        case InvalidCredential():
            return _unauthorized("invalid_request", str(error))
        case TooManyFailures():
            headers = {"Retry-After": str(error.seconds)}
            return Problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), headers=headers)
        case KeysUnavailable() | IssuerUnreachable() | AccessUnavailable():
            return _unavailable(error)
    return None


def refused_access(reason: str, *, known: bool, page: bool) -> Problem:
    """Return the 401 for a caller without credentials, the 403 for one who is known: what is missing.

    A browser, which prefers a `page`, is not challenged for a password, which is not how people sign in.
    """
    if known:
        return Problem(HTTPStatus.FORBIDDEN, reason)
    challenge = BEARER if page else f"{BEARER}, {_BASIC}"
    return Problem(HTTPStatus.UNAUTHORIZED, reason, headers={"WWW-Authenticate": challenge})


def _unavailable(error: KeysUnavailable | IssuerUnreachable | AccessUnavailable) -> Problem:
    """Return the 503; the reason is only in the log."""
    _LOGGER.warning("unavailable: %s", error)
    match error:
        case KeysUnavailable():
            detail = "the token cannot be verified at present: its issuer does not answer"
        case IssuerUnreachable():
            detail = "sign-in and tokens are unavailable at present: the issuer does not answer"
        case _:
            detail = "the credentials cannot be verified at present"
    seconds = error.retry_after if isinstance(error, KeysUnavailable) else _RETRY
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(seconds)})


def _unauthorized(error: str, reason: str) -> Problem:
    """Return the 401 of RFC 6750, section 3; its description is in the header and in the body."""
    said = reason.replace("\\", "").replace('"', "'").replace("`", "'")
    challenge = f'{BEARER}, error="{error}", error_description="{said}"'
    return Problem(HTTPStatus.UNAUTHORIZED, reason, headers={"WWW-Authenticate": challenge})
