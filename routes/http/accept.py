"""The Accept headers (RFC 9110, section 12.5)."""

import re
from collections.abc import Iterator, Sequence

from starlette.requests import Request

_ERRORS = ("application/problem+json", "application/problem+xml")
_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)


def choose_for(request: Request, types: Sequence[str]) -> str | None:
    """Return the result of `choose` for a request; Accept may have several lines (RFC 9110 5.3)."""
    return choose(", ".join(request.headers.getlist("accept")), types)


def choose(accept: str, types: Sequence[str]) -> str | None:
    """Return the media type that the caller prefers, the first of equal ones; None if it accepts none.

    Parameters other than `q` are not compared; invalid parts are ignored. `application/json` accepts any `+json`. A
    media type of errors states a preference for errors, and none for other answers.
    """
    said = weights(accept)
    passed_over = set(_ERRORS) - set(types)
    ranges = {name: quality for name, quality in said.items() if "/" in name and name not in passed_over}
    if not ranges:
        return types[0]
    best = max(types, key=lambda media_type: _quality(_bare(media_type), ranges))
    return best if _quality(_bare(best), ranges) > 0 else None


def weights(header: str) -> dict[str, float]:
    """Return the weight of each name in the header, the highest if a name is repeated."""
    said: dict[str, float] = {}
    for name, weight in _weights(header):
        said[name] = max(weight, said.get(name, 0))
    return said


def _weights(header: str) -> Iterator[tuple[str, float]]:
    for part in header.split(","):
        name, *parameters = (word.strip().lower() for word in part.split(";"))
        weight = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        if name and _WEIGHT.fullmatch(weight):
            yield name, float(weight)


def _bare(media_type: str) -> str:
    return media_type.split(";", maxsplit=1)[0].strip().lower()


def _quality(media_type: str, ranges: dict[str, float]) -> float:
    """Return the quality of the most specific range."""
    family = media_type.split("/", maxsplit=1)[0]
    wider = ["application/json"] if media_type.endswith("+json") else []
    for name in (media_type, *wider, f"{family}/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return 0
