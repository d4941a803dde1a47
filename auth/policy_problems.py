"""Collect the mistakes in a policy, so that all are reported together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class InvalidPolicy(Exception):
    """The policy is invalid; `problems` has a message for each mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(slots=True)
class Problems:
    """The mistakes found so far."""

    _found: list[str] = field(default_factory=list)

    def say(self, place: str, problem: str) -> None:
        """Add a mistake at a place, such as `grants.products.may`."""
        self._found.append(f"{place}: {problem}")

    def end(self) -> None:
        """Raise InvalidPolicy if there are any."""
        if self._found:
            raise InvalidPolicy(self._found)

    def unknown(self, place: str, entry: Mapping[str, Any], allowed: Sequence[str]) -> None:
        """Add each member that is not allowed."""
        for member in entry:
            if member not in allowed:
                self.say(f"{place}.{member}", f"unknown; allowed: {', '.join(allowed)}")

    def strings(self, place: str, given: Any) -> frozenset[str]:
        """Return the strings of a list or a single string; add a mistake for anything else."""
        strings = given if isinstance(given, list) else [given]
        if not strings or not all(isinstance(each, str) and each for each in strings):
            self.say(place, f"{given!r} is neither a string nor a list of strings")
            return frozenset()
        return frozenset(strings)
