"""The language of an answer, chosen as pygeoapi does: by `lang`, by Accept-Language (RFC 9110, 12.5.4), else the first.

It is chosen once a request. The scope has the choice and the language of the answer, for the headers.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from starlette.requests import HTTPConnection

from routes.http.accept import weights

LANG = "lang"
_TAG = re.compile(r"([a-z]{2,3})(?:[-_][a-z]{4})?(?:[-_]([a-z]{2}|[0-9]{3}))?", re.IGNORECASE | re.ASCII)
SCOPE_KEY = "landcast.language"
"""The key of a mapping in the scope: the `chosen` language, the one that the answer is `written` in, and whether it
`varies` by the caller, and the `route` of the request. The first middleware makes it, as later ones copy the scope."""
_MOST = 20
"""The most languages of a request that are considered."""


def choose_language(request: HTTPConnection, languages: Sequence[str]) -> str:
    """Return the one of the languages that the request prefers, else the first."""
    note: dict[str, Any] = request.scope.setdefault(SCOPE_KEY, {})
    if "chosen" not in note:
        note["chosen"] = best_language(asked_languages(request), languages)
    chosen: str = note["chosen"]
    return chosen


def in_same_language(request: HTTPConnection, address: str) -> str:
    """Return the address of a page with the language that the request's own address names, if any."""
    lang = request.query_params.get(LANG)
    return f"{address}{'&' if '?' in address else '?'}{urlencode({LANG: lang})}" if lang else address


def asked_languages(request: HTTPConnection) -> list[str]:
    """Return the languages of the request, the preferred one first, without invalid ones."""
    header = ", ".join(request.headers.getlist("accept-language"))
    said = weights(request.query_params.get(LANG) or header)
    liked = sorted((name for name, weight in said.items() if weight > 0), key=lambda name: -said[name])
    return [*islice(filter(_TAG.fullmatch, liked), _MOST)]


def best_language(asked: Iterable[str], languages: Sequence[str]) -> str:
    """Return the first match for an asked language: with its territory, else without one, else with another one."""
    parts = {language: _parts(language) for language in languages}
    for tag in asked:
        wanted, territory = _parts(tag)
        near = {there: language for language, (name, there) in reversed(parts.items()) if name == wanted}
        if near:
            first = next(language for language, (name, _) in parts.items() if name == wanted)
            return near.get(territory) or near.get("") or first
    return languages[0]


def _parts(tag: str) -> tuple[str, str]:
    """Return language and territory, which may be empty."""
    found = _TAG.fullmatch(tag)
    return (found[1].lower(), (found[2] or "").upper()) if found else (tag.lower(), "")
