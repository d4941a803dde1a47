"""The resources that the current caller may discover."""

from collections.abc import Iterator, Mapping
from typing import Any

from auth.access import Access, Action, Policy
from auth.identity import Identity, current_identity
from auth.recent import Recent

Resource = Mapping[str, Any]
_CALLERS = 512


class VisibleResources(Mapping[str, Resource]):
    """The configured collections and processes that the current caller may discover.

    Results are cached for recent callers, as neither the policy nor the resources change.
    """

    def __init__(self, resources: Mapping[str, Resource], policy: Policy) -> None:
        self._resources = resources
        self._policy = policy
        self._seen: Recent[Identity, Mapping[str, Resource]] = Recent(_CALLERS)
        self._last: tuple[Identity | None, Mapping[str, Resource]] = (None, {})

    def _visible(self) -> Mapping[str, Resource]:
        identity = current_identity.get()
        last, visible = self._last  # read many times in one request
        return visible if last is identity else self._look_up(identity)

    def _look_up(self, identity: Identity) -> Mapping[str, Resource]:
        visible = self._seen.get(identity)
        if visible is None:
            visible = {name: entry for name, entry in self._resources.items() if self._is_seen_by(identity, name)}
            self._seen.put(identity, visible)
        self._last = (identity, visible)
        return visible

    def _is_seen_by(self, identity: Identity, name: str) -> bool:
        return self._policy(identity, Access(Action.DISCOVER, name)).allowed

    def __getitem__(self, name: str) -> Resource:
        return self._visible()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._visible())

    def __len__(self) -> int:
        return len(self._visible())
