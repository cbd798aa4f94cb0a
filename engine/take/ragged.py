"""Vectors of different lengths: one behind the other in one array."""

from __future__ import annotations

import numpy as np

from engine.records import F64, I64


def positions(first: I64, length: I64) -> I64:
    """Where the elements of many stretches lie, stretch by stretch.

    >>> positions(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(length)
    found: I64 = np.repeat(first - ends + length, length) + np.arange(ends[-1] if len(ends) else 0)
    return found


class Ragged:
    """The latest vector of each row. At most twice as much room as the vectors take, or took when they were put last."""

    def __init__(self) -> None:
        self.first: I64 = np.zeros(0, np.int64)
        self.length: I64 = np.zeros(0, np.int64)
        self.values: F64 = np.zeros(0, np.float64)
        self._used = 0

    def reserve(self, rows: int) -> None:
        """Make room for at least so many rows."""
        if rows > len(self.length):
            more = np.zeros(max(rows - len(self.length), len(self.length)), np.int64)
            self.first, self.length = np.append(self.first, more), np.append(self.length, more)

    def of(self, row: I64) -> F64:
        """The vectors of rows, one behind the other."""
        found: F64 = self.values[positions(self.first[row], self.length[row])]
        return found

    def put(self, row: I64, length: I64, values: F64) -> None:
        """New vectors of distinct rows: `values` holds them one behind the other."""
        moved = np.flatnonzero(length != self.length[row])
        self.length[row[moved]] = 0
        need = int(length[moved].sum())
        if self._used + need > len(self.values):
            self._compact(need)
        self.first[row[moved]] = self._used + np.cumsum(length[moved]) - length[moved]
        self.length[row[moved]] = length[moved]
        self._used += need
        self.values[positions(self.first[row], length)] = values

    def _compact(self, need: int) -> None:
        live = np.flatnonzero(self.length)
        kept, length = self.of(live), self.length[live]
        self._used = len(kept)
        self.values = np.append(kept, np.zeros(self._used + 2 * need))
        self.first[live] = np.cumsum(length) - length
