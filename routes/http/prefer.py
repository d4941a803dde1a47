"""What a caller prefers (RFC 7240)."""

from dataclasses import dataclass
from urllib.request import parse_http_list

from starlette.requests import Request

_LONGEST = 9


@dataclass(frozen=True, slots=True)
class Preferences:
    """The preferences that are honoured: `respond-async`, `wait` in seconds, `handling=strict`."""

    respond_async: bool = False
    wait: int | None = None
    strict: bool = False


def read_preferences(request: Request) -> Preferences:
    """Return what all Prefer headers together say; the first of a name counts, nonsense does not."""
    said: dict[str, str] = {}
    for header in request.headers.getlist("prefer"):
        for preference in parse_http_list(header):
            name, _, value = preference.partition(";")[0].partition("=")
            said.setdefault(name.strip().lower(), value.strip().strip('"'))
    return Preferences(
        respond_async=said.get("respond-async") == "",
        wait=_seconds(said.get("wait", "")),
        strict=said.get("handling", "").lower() == "strict",
    )


def _seconds(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdecimal() and len(value) <= _LONGEST else None
