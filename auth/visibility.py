"""What a caller may not see is not there."""

from collections.abc import Iterator, Mapping
from typing import Any

from auth.access import Access, Action, Policy
from auth.identity import current_identity

Resource = Mapping[str, Any]


class VisibleResources(Mapping[str, Resource]):
    """The configured collections and processes, as the current caller may discover them."""

    def __init__(self, resources: Mapping[str, Resource], policy: Policy) -> None:
        self._resources = resources
        self._policy = policy

    def _is_visible(self, name: str) -> bool:
        return self._policy(current_identity.get(), Access(Action.DISCOVER, name)).allowed

    def __getitem__(self, name: str) -> Resource:
        if not self._is_visible(name):
            raise KeyError(name)
        return self._resources[name]

    def __iter__(self) -> Iterator[str]:
        return filter(self._is_visible, self._resources)

    def __len__(self) -> int:
        return sum(1 for _ in self)
