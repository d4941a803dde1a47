"""What is wrong in a policy, gathered while it is read, so that every mistake is named at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class InvalidPolicy(Exception):
    """The policy cannot be followed; `problems` names every mistake in plain words."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(slots=True)
class Problems:
    """The mistakes that were found so far."""

    _found: list[str] = field(default_factory=list)

    def say(self, place: str, problem: str) -> None:
        """Note a mistake at a place, such as `grants.products.may`."""
        self._found.append(f"{place}: {problem}")

    def end(self) -> None:
        """Raise InvalidPolicy where there are any."""
        if self._found:
            raise InvalidPolicy(self._found)

    def unknown(self, place: str, entry: Mapping[str, Any], allowed: Sequence[str]) -> None:
        """Note the members that are none of those allowed."""
        for member in entry:
            if member not in allowed:
                self.say(f"{place}.{member}", f"unknown; allowed: {', '.join(allowed)}")

    def words(self, place: str, given: Any) -> frozenset[str]:
        """Return a word or the words of a list; note anything else."""
        words = given if isinstance(given, list) else [given]
        if not words or not all(isinstance(word, str) and word for word in words):
            self.say(place, f"{given!r} is neither a word nor a list of words")
            return frozenset()
        return frozenset(words)
