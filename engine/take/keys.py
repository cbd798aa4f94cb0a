"""64-bit keys to dense codes, a column at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine import kernels
from engine.records import I32, I64

_FIRST_SLOTS = 1024


class KeyTable:
    """Codes 0, 1, 2 ... of int64 keys, in the order of their first sight; -1 for what comes once there are `cap`.

    >>> table = KeyTable(cap=2)
    >>> table.intern(np.array([7, 5, 7, 9])).tolist(), table.find(np.array([9, 5])).tolist(), table.keys.tolist()
    ([0, 1, 0, -1], [-1, 1], [7, 5])
    """

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.overflowed = 0  # looks for keys that found no room
        self._size = 0
        self.clear()

    def __len__(self) -> int:
        return self._size

    @property
    def keys(self) -> I64:
        """Key of each code."""
        return self._keys[: self._size]

    def find(self, keys: npt.NDArray[Any]) -> I32:
        """Codes [n] of keys [n], -1 for those without."""
        return kernels.lookup(_whole(keys), self._slot_key, self._slot_code)

    def intern(self, keys: npt.NDArray[Any]) -> I32:
        """Codes [n] of keys [n], new ones given out while there is room."""
        keys, codes, at = _whole(keys), np.empty(len(keys), np.int32), 0
        while True:
            limit = min(self.cap, len(self._slot_key) // 2)
            at, self._size = kernels.intern(keys, codes, at, self._slot_key, self._slot_code, self._keys, self._size, limit)
            if at == len(keys):
                return codes
            if limit == self.cap:
                codes[at:] = self.find(keys[at:])
                self.overflowed += int((codes[at:] < 0).sum())
                return codes
            self._grow()

    def clear(self) -> None:
        """Forget all keys."""
        self._size = 0
        self._keys: I64 = np.zeros(_FIRST_SLOTS // 2, np.int64)  # by code
        self._slot_key: I64 = np.zeros(_FIRST_SLOTS, np.int64)
        self._slot_code: I32 = np.full(_FIRST_SLOTS, -1, np.int32)

    def _grow(self) -> None:
        """More slots: four times as many, or what the cap needs; half of them are taken at most."""
        slots, old = min(4 * len(self._slot_key), 1 << (2 * self.cap - 1).bit_length()), self.keys
        self._slot_key, self._slot_code = np.zeros(slots, np.int64), np.full(slots, -1, np.int32)
        self._keys = np.zeros(slots // 2, np.int64)
        kernels.intern(old, np.empty(len(old), np.int32), 0, self._slot_key, self._slot_code, self._keys, 0, len(old))


def _whole(keys: npt.NDArray[Any]) -> I64:
    return np.ascontiguousarray(keys, np.int64)
