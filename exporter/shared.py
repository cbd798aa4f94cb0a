"""The dictionaries of engine.strings for several threads: decoders and the engine give out codes at the same time."""

from __future__ import annotations

import threading

from engine.records import Resource
from engine.strings import Resources, Strings


class SharedStrings(Strings):
    """Strings whose new texts are added under a lock; known ones are looked up without."""

    def __init__(self, caps: dict[str, int] | None = None) -> None:
        super().__init__(caps)
        self._lock = threading.RLock()

    def intern(self, kind: str, text: str) -> int:
        """Code of a text."""
        code = self._codes[kind].get(text)
        if code is not None:
            return code
        with self._lock:
            return super().intern(kind, text)


class SharedResources(Resources):
    """Resources whose new rows are added under a lock."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def intern(self, resource: Resource) -> int:
        """Code of a resource."""
        code = self._codes.get(resource)
        if code is not None:
            return code
        with self._lock:
            return super().intern(resource)
