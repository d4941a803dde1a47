"""The Accept header (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Iterator, Sequence

_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)


def choose(accept: str | None, offered: Sequence[str]) -> str | None:
    """Return the offered media type that the caller likes best, the earlier at a tie; None where it rules all out.

    Parameters other than `q` are not compared; nonsense is ignored. `application/json` takes any `+json`.
    """
    ranges: dict[str, float] = {}
    for name, quality in _ranges(accept or ""):
        ranges[name] = max(quality, ranges.get(name, 0))
    if not ranges:
        return offered[0]
    best = max(offered, key=lambda media_type: _quality(_bare(media_type), ranges))
    return best if _quality(_bare(best), ranges) > 0 else None


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.split(","):
        name, *parameters = (word.strip().lower() for word in part.split(";"))
        weight = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        if "/" in name and _WEIGHT.fullmatch(weight):
            yield name, float(weight)


def _bare(media_type: str) -> str:
    return media_type.split(";", maxsplit=1)[0].strip().lower()


def _quality(media_type: str, ranges: dict[str, float]) -> float:
    """Return the quality that the most specific range gives."""
    family = media_type.split("/", maxsplit=1)[0]
    wider = ["application/json"] if media_type.endswith("+json") else []
    for name in (media_type, *wider, f"{family}/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return 0
