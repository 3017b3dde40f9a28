# A bounded map from prompt to what was read from it, forgetting the least recently used.

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class PromptCache(Generic[K, V]):
    """A least-recently-used cache, safe to use from several threads.

    Parameters
    ----------
    size : int
        Most prompts to keep, >= 0; with 0 nothing is kept.

    Examples
    --------
    >>> cache = PromptCache[str, int](2)
    >>> cache.put("a", 1), cache.put("b", 2), cache.get("a"), cache.put("c", 3)
    (None, None, 1, None)
    >>> cache.get("b") is None, cache.get("a"), len(cache)
    (True, 1, 2)
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, prompt: K) -> bool:
        """Tell whether something is kept for a prompt, without using it."""
        return prompt in self._entries

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()

    def get(self, prompt: K) -> V | None:
        """Return what is kept for a prompt, which becomes the most recently used, or None."""
        with self._lock:
            value = self._entries.get(prompt)
            if value is not None:
                self._entries.move_to_end(prompt)
            return value

    def put(self, prompt: K, value: V) -> None:
        """Keep a value for a prompt, forgetting the least recently used beyond the size."""
        with self._lock:
            self._entries[prompt] = value
            self._entries.move_to_end(prompt)
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)
