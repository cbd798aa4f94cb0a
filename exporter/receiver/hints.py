"""Hints to senders, seldom: the Collector logs each one that it gets."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence

from engine.records import HOUR_NS

REMEMBERED = 4096  # hints whose last telling is kept


class Hints:
    """Lets a hint through once an hour, and no more than `an_hour` of all hints an hour."""

    def __init__(self, an_hour: int) -> None:
        self._an_hour = an_hour
        self._lock = threading.Lock()
        self._told: OrderedDict[str, int] = OrderedDict()
        self._recent_ns: deque[int] = deque()

    def due(self, hints: Sequence[str], now_ns: int) -> str:
        """Those hints that may be told now, joined; "" for none. A hint names its service, so it is the pair of both.

        >>> hints = Hints(2)
        >>> [hints.due(["a: x", "b: x", "c: x"], at) for at in (0, 1, HOUR_NS)]
        ['a: x; b: x', '', 'c: x; a: x']
        """
        if not hints:
            return ""
        with self._lock:
            while self._recent_ns and now_ns - self._recent_ns[0] >= HOUR_NS:
                self._recent_ns.popleft()
            fresh = [hint for hint in dict.fromkeys(hints) if hint not in self._told or now_ns - self._told[hint] >= HOUR_NS]
            fresh.sort(key=lambda hint: self._told.get(hint, -HOUR_NS))  # those never told first
            told = fresh[: max(0, self._an_hour - len(self._recent_ns))]
            for hint in told:
                self._told[hint] = now_ns
                self._told.move_to_end(hint)
                self._recent_ns.append(now_ns)
            while len(self._told) > REMEMBERED:
                self._told.popitem(last=False)
            return "; ".join(told)
