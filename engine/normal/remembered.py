"""Scores of rows by their key, so that rows that are the same to the model are scored once."""

from __future__ import annotations

import numpy as np

from engine.records import F64, I32, U64, Bool
from engine.take.keys import KeyTable

CAP = 131072  # rows, of 90 bytes
SCORES = 7  # nats, distance, field, members


class Remembered:
    """Scores [7] of at most `cap` keys; a full table begins anew."""

    def __init__(self, cap: int = CAP) -> None:
        self._table = KeyTable(cap)
        self._scores = np.zeros((SCORES, 0))  # by code
        self._holds = np.zeros(0, bool)  # by code

    def find(self, key: U64) -> tuple[Bool, F64]:
        """Which of the keys [n] have a score that holds, and the scores of those [7, m]."""
        at = self._table.find(key.view(np.int64))
        known: Bool = (at >= 0) & np.append(self._holds, False)[at]
        return known, self._scores[:, at[known]]

    def put(self, key: U64, scores: F64) -> None:
        """Keep the scores [7, n] of keys [n]."""
        if len(self._table) + len(key) > self._table.cap:
            self.clear()
        at = self._table.intern(key.view(np.int64))
        room = len(self._table) - len(self._holds)
        if room > 0:
            room = max(room, len(self._holds), 1024)
            self._scores = np.concatenate([self._scores, np.zeros((SCORES, room))], axis=1)
            self._holds = np.concatenate([self._holds, np.zeros(room, bool)])
        kept = np.flatnonzero(at >= 0)
        self._scores[:, at[kept]], self._holds[at[kept]] = scores[:, kept], True

    def outdate(self, key: U64) -> None:
        """The scores of these keys hold no more."""
        at: I32 = self._table.find(key.view(np.int64))
        self._holds[at[at >= 0]] = False

    def clear(self) -> None:
        """Forget all."""
        self._table.clear()
        self._scores, self._holds = np.zeros((SCORES, 0)), np.zeros(0, bool)
