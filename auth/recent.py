"""A bounded cache."""

from collections import OrderedDict
from threading import Lock


class Recent[K, V]:
    """A thread-safe LRU cache of at most `entries` entries."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Return the value of the key, or None if it is missing or was evicted."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: K, value: V) -> None:
        """Store the value; the least recently used entry may be evicted."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._entries:
                self._values.popitem(last=False)

    def drop(self, key: K) -> None:
        """Remove one entry."""
        with self._lock:
            self._values.pop(key, None)

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._values.clear()
