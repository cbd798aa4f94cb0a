"""64-bit keys to dense codes, a column at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.records import I32, I64, U64

_FIRST_SLOTS = 1024
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: multiplicative hashing (Knuth, TAOCP 3, 6.4)


class KeyTable:
    """Codes 0, 1, 2 ... of int64 keys, in the order of their first sight; -1 for what comes once there are `cap`.

    Open addressing with linear probing, at most a quarter full: nearly every known key is found by one look, without sorting.

    >>> table = KeyTable(cap=2)
    >>> table.intern(np.array([7, 5, 7, 9])).tolist(), table.find(np.array([9, 5])).tolist(), table.keys.tolist()
    ([0, 1, 0, -1], [-1, 1], [7, 5])
    """

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.overflowed = 0  # looks for keys that found no room
        self._size = 0
        self._keys: I64 = np.zeros(64, np.int64)  # by code; one more than codes, so that -1 is a place
        self._slots: I32 = np.full(_FIRST_SLOTS, -1, np.int32)

    def __len__(self) -> int:
        return self._size

    @property
    def keys(self) -> I64:
        """Key of each code."""
        return self._keys[: self._size]

    def find(self, keys: npt.NDArray[Any]) -> I32:
        """Codes [n] of keys [n], -1 for those without."""
        mask = np.uint64(len(self._slots) - 1)
        slot = self._slot(keys)
        codes: I32 = self._slots[slot]
        wrong = np.flatnonzero((self._keys[codes] != keys) | (codes < 0))
        looked = slot[wrong]
        while len(wrong):  # another key stands there: look at the next slot; an empty one ends it
            taken = codes[wrong] >= 0
            wrong, looked = wrong[taken], looked[taken] + np.uint64(1) & mask
            codes[wrong] = self._slots[looked]
            still = self._keys[codes[wrong]] != keys[wrong]
            wrong, looked = wrong[still], looked[still]
        return codes

    def intern(self, keys: npt.NDArray[Any]) -> I32:
        """Codes [n] of keys [n], new ones given out while there is room."""
        codes = self.find(keys)
        new = np.flatnonzero(codes < 0)
        if len(new):
            if self._size < self.cap:
                fresh, first = np.unique(keys[new], return_index=True)
                self._add(fresh[np.argsort(first, kind="stable")][: self.cap - self._size].astype(np.int64))
                codes[new] = self.find(keys[new])
            self.overflowed += int((codes[new] < 0).sum())
        return codes

    def clear(self) -> None:
        """Forget all keys."""
        self._size = 0
        self._slots = np.full(_FIRST_SLOTS, -1, np.int32)

    def _add(self, fresh: I64) -> None:
        """Give codes to keys that have none, each once."""
        first, self._size = self._size, self._size + len(fresh)
        if self._size >= len(self._keys):
            grown = np.zeros(max(2 * len(self._keys), self._size + 1), np.int64)
            grown[:first] = self._keys[:first]
            self._keys = grown
        self._keys[first : self._size] = fresh
        codes = np.arange(first, self._size, dtype=np.int32)
        if 4 * self._size > len(self._slots):
            size = 1 << (4 * self._size).bit_length()
            self._slots = np.full(size, -1, np.int32)
            codes = np.arange(self._size, dtype=np.int32)
        mask = np.uint64(len(self._slots) - 1)
        slot = self._slot(self._keys[codes])
        while len(codes):
            free = self._slots[slot] < 0
            self._slots[slot[free]] = codes[free]  # of several for one slot the last stays
            lost = self._slots[slot] != codes
            codes, slot = codes[lost], slot[lost] + np.uint64(1) & mask

    def _slot(self, keys: npt.NDArray[Any]) -> U64:
        shift = np.uint64(64 - (len(self._slots).bit_length() - 1))
        slot: U64 = (keys.view(np.uint64) * _GOLDEN) >> shift
        return slot
