"""Which categories of a row come together: one code a combination, so that a record costs one look and not one a category."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.normal.features import SERVICE, SUBJECT
from engine.normal.scales import Pairs
from engine.records import I32, I64
from engine.take.keys import KeyTable

CAP = 131072  # a fifth of 30,000 spans a second in a window, all of them new, and as many again that are known


class Combinations:
    """Combinations of categories by packed key. A table that has no room for all of a batch or window begins anew with it; records that
    find none even then have no row.

    Args: unpack gives the category columns (codes of dictionaries) of packed keys [m].
    """

    def __init__(self, pairs: Pairs, unpack: Callable[[I64], Sequence[I32]], *, cap: int = CAP) -> None:
        self._pairs, self._unpack = pairs, unpack
        self.begun = 0  # how often the table began anew: codes of before mean nothing
        self._table = KeyTable(cap)
        self._codes = np.zeros((0, 0), np.int32)  # [m, categories]
        self._pair = np.zeros(0, np.int32)

    def __len__(self) -> int:
        return len(self._table)

    def __call__(self, packed: npt.NDArray[Any]) -> I32:
        """Combination [n] of packed keys [n], -1 where the table is full."""
        known = len(self._table)
        found = self._table.intern(packed)
        if known and len(self._table) >= self._table.cap and (found < 0).any():
            self._table.clear()
            self.begun += 1
            known, found = 0, self._table.intern(packed)
        if len(self._table) > known:
            self._extend(known)
        return found

    def codes(self, combination: npt.NDArray[Any]) -> I32:
        """Category codes [n, categories]."""
        codes: I32 = self._codes[combination]
        return codes

    def pair(self, combination: npt.NDArray[Any]) -> I32:
        """Code of (service, subject) [n]."""
        pair: I32 = np.take(self._pair, combination)
        return pair

    def _extend(self, known: int) -> None:
        columns = self._unpack(self._table.keys[known:])
        size = len(self._table)
        if size > len(self._pair):
            room = max(size, 2 * len(self._pair), 256)
            pair, codes = np.zeros(room, np.int32), np.zeros((room, len(columns)), np.int32)
            pair[:known], codes[:known] = self._pair[:known], self._codes[:known] if known else 0
            self._pair, self._codes = pair, codes
        self._codes[known:size] = np.stack(columns, axis=1)
        self._pair[known:size] = self._pairs(columns[SERVICE], columns[SUBJECT])
