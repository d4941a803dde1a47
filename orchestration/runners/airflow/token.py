"""The token of the service user: fetched when there is none, renewed before it ends."""

import json
import time
from collections.abc import Callable
from threading import Lock

import jwt

_LEAST, _MOST = 0.1, 60.0
"""A token is renewed when a tenth of its life is left, a minute before its end at most."""
_UNKNOWN_LIFE = 600.0
"""Seconds for which a token is used that does not say when it ends."""


class Token:
    """The token that `fetch` last gave, by any thread; `fetch` answers with the body of `/auth/token`.

    Its life is measured from when it came, so that clocks which differ do no harm.
    """

    def __init__(self, fetch: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = Lock()
        self._text = ""
        self._renew_at = 0.0

    def __call__(self) -> str:
        """Return a token that is still good for a while. Raises what `fetch` raises, ValueError for nonsense."""
        with self._lock:
            if not self._text or self._clock() >= self._renew_at:
                self._text = _read(self._fetch())
                self._renew_at = self._clock() + _use_for(self._text)
            return self._text

    def refuse(self, text: str) -> None:
        """Note that this token was not taken, so that the next call fetches another."""
        with self._lock:
            if self._text == text:
                self._text = ""


def _read(body: str) -> str:
    answer = json.loads(body)
    text = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(text, str) or not text:
        raise ValueError("no token in the answer")
    return text


def _use_for(text: str) -> float:
    try:
        claims = jwt.decode(text, options={"verify_signature": False})
        life = float(claims["exp"]) - float(claims["iat"])
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        return _UNKNOWN_LIFE
    return life - min(_MOST, max(1.0, life * _LEAST))
