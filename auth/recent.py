"""A memory of bounded size."""

from collections import OrderedDict
from threading import Lock


class Recent[K, V]:
    """The entries used last, `entries` at most, for many threads: however many are put in, it grows no more."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """Return what is kept under the key, None where nothing is or it was displaced."""
        with self._lock:
            value = self._kept.get(key)
            if value is not None:
                self._kept.move_to_end(key)
            return value

    def put(self, key: K, value: V) -> None:
        """Keep the value; the entry that was longest unused may go."""
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            if len(self._kept) > self._entries:
                self._kept.popitem(last=False)

    def drop(self, key: K) -> None:
        """Forget one entry."""
        with self._lock:
            self._kept.pop(key, None)

    def clear(self) -> None:
        """Forget every entry."""
        with self._lock:
            self._kept.clear()
