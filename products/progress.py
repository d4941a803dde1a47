"""How far a piece of work is."""

from collections.abc import Callable

Report = Callable[[float, str], None]
"""Takes the completed fraction of the step, 0 to 1, and a message for people. May raise to stop the step."""


def between(report: Report, begin: float, end: float) -> Report:
    """Return a report for a part of the step: its 0 to 1 is reported as `begin` to `end`."""
    return lambda fraction, message: report(begin + (end - begin) * fraction, message)


def unheard(_fraction: float, _message: str) -> None:
    """Take a report that nobody reads."""
