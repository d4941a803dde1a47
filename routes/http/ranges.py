"""The Range header of RFC 9110, section 14."""

import re
from itertools import pairwise

_SPEC = re.compile(r"(\d{1,19})-(\d{0,19})|-(\d{1,19})")
_MOST = 32

Range = tuple[int, int]
"""First byte and the one after the last."""


class RangeNotSatisfiable(Exception):
    """No range that was asked for overlaps the file."""


def parse_ranges(header: str, size: int) -> list[Range] | None:
    """Return the satisfiable ranges in order, overlaps merged; None where the header is to be ignored.

    Ignored are malformed headers, other units, more than 32 ranges (RFC 9110 14.2 allows it).
    Raises RangeNotSatisfiable.
    """
    unit, equals, specs = header.partition("=")
    found = [_SPEC.fullmatch(spec.strip()) for spec in specs.split(",") if spec.strip()]
    if unit.strip().lower() != "bytes" or not equals or not found or len(found) > _MOST:
        return None
    ranges = []
    for match in found:
        if match is None or _backwards(match):
            return None
        ranges.append(_range(match, size))
    satisfiable = sorted((start, end) for start, end in ranges if start < end)
    if not satisfiable:
        raise RangeNotSatisfiable
    return _merged(satisfiable)


def _backwards(match: re.Match[str]) -> bool:
    return bool(match[1] and match[2] and int(match[2]) < int(match[1]))


def _range(match: re.Match[str], size: int) -> Range:
    if match[3]:
        return max(size - int(match[3]), 0), size
    return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size


def _merged(ranges: list[Range]) -> list[Range]:
    if all(before[1] < after[0] for before, after in pairwise(ranges)):
        return ranges
    merged = [ranges[0]]
    for start, end in ranges[1:]:
        if start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
