"""Scores of past windows, the newest of them, sixteen bytes each: as many services have them as there are, and for hours."""

from __future__ import annotations

from array import array

import numpy as np

from engine.records import F64


class Past:
    """Scores with the ends of their windows, at most `most`; older ones go.

    >>> past = Past(2)
    >>> for end_ns in (10, 20, 30):
    ...     past.add(end_ns, end_ns / 10)
    >>> past.until(20).tolist(), past.entries()
    ([2.0], [(20, 2.0), (30, 3.0)])
    """

    __slots__ = ("_end_ns", "_most", "_nats")

    def __init__(self, most: int) -> None:
        self._most = most
        self._end_ns, self._nats = array("q"), array("d")

    def add(self, end_ns: int, nats: float) -> None:
        """One more. Windows that are too many leave together."""
        self._end_ns.append(end_ns)
        self._nats.append(nats)
        if len(self._nats) >= self._most + self._most // 4:
            del self._end_ns[: -self._most], self._nats[: -self._most]

    def until(self, before_ns: int) -> F64:
        """Scores of windows that ended by then."""
        end_ns, nats = np.array(self._end_ns[-self._most :], np.int64), np.array(self._nats[-self._most :], np.float64)
        return nats[end_ns <= before_ns]

    def entries(self) -> list[tuple[int, float]]:
        """(end, score) of each, for the state."""
        return list(zip(self._end_ns[-self._most :], self._nats[-self._most :], strict=True))
