"""Distinct rows kept for training: a fair sample of what was normal, after quarantine."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from engine import kernels
from engine.normal.features import RowColumns, nameless_key
from engine.records import I64, U64, Bool

ARRIVALS, WINDOWS = 12288, 4096  # rows kept of each kind
WAITING_A_WINDOW = 8192
WAITING_ROWS = 131072  # in quarantine, of 85 bytes; more are dropped and counted


class Reservoir:
    """Rows in quarantine, and rows learned. A full reservoir replaces rows at random, each distinct row equally likely to stay.

    Vitter, Random sampling with a reservoir, ACM TOMS 11 (1985), algorithm R.
    """

    def __init__(self, seed: int) -> None:
        self.learned = 0  # distinct rows that ever came
        self.dropped = 0
        self._rng = np.random.default_rng(seed)
        self._waiting: deque[tuple[int, RowColumns]] = deque()
        self._waits = 0
        self._slots: dict[int, int] = {}  # by key
        self._keys: kernels.Index | None = None  # of the slots, until they change
        self._rows: RowColumns | None = None
        self._sizes = {False: 0, True: 0}  # rows by kind (window or not)
        self._seen = {False: 0, True: 0}

    def __len__(self) -> int:
        return len(self._slots)

    def wait(self, end_ns: int, rows: RowColumns) -> None:
        """Put rows of a window in quarantine that are not kept already; of too many those with the smallest keys, a fair sample."""
        new = np.flatnonzero(~self._kept(rows))
        if len(new) > WAITING_A_WINDOW:
            self.dropped += len(new) - WAITING_A_WINDOW
            new = new[smallest(rows.key[new], WAITING_A_WINDOW)]
        rows = rows.select(new)
        if self._waits + len(rows) > WAITING_ROWS:
            self.dropped += len(rows)
            return
        self._waits += len(rows)
        self._waiting.append((end_ns, rows))

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> RowColumns | None:
        """Keep what waited long enough outside abnormal intervals; the rows that are new and have a place, None if there is none."""
        fresh = []
        while self._waiting and self._waiting[0][0] <= until_ns:
            end_ns, rows = self._waiting.popleft()
            self._waits -= len(rows)
            if not any(start <= end_ns <= end for start, end in abnormal):
                fresh.append(rows)
        if not fresh:
            return None
        rows = RowColumns.concat(fresh)
        _, first = np.unique(rows.key, return_index=True)
        rows = rows.select(np.sort(first))
        rows = self._keep(rows.select(~self._kept(rows)))
        return rows if len(rows) else None

    def rows(self) -> RowColumns | None:
        """What is kept, by time, kind and numbers: equal samples give equal jobs, and so do those of a system with other names."""
        if self._rows is None or not self._slots:
            return None
        at = np.fromiter(self._slots.values(), np.int64, len(self._slots))
        kept = self._rows.select(at)
        return kept.select(np.lexsort((kept.key, nameless_key(kept), kept.window, kept.time_ns)))

    def restore(self, rows: RowColumns, learned: int) -> None:
        """Keep these rows, in an empty reservoir."""
        self._keep(rows)
        self.learned = learned

    def _kept(self, rows: RowColumns) -> Bool:
        if self._keys is None:
            self._keys = kernels.Index(np.fromiter(self._slots, np.uint64, len(self._slots)))
        return self._keys.find(rows.key) >= 0

    def _keep(self, rows: RowColumns) -> RowColumns:
        """The rows that found a place."""
        self.learned += len(rows)
        if not len(rows):
            return rows
        if self._rows is None:
            grown = {field.name: getattr(rows, field.name) for field in fields(RowColumns)}
            shapes = {name: (ARRIVALS + WINDOWS, *column.shape[1:]) for name, column in grown.items()}
            self._rows = replace(rows, **{name: np.zeros(shapes[name], column.dtype) for name, column in grown.items()})
        slots = np.array([self._slot(window) for window in rows.window.tolist()], np.int64)
        return self._put(rows, slots)

    def _slot(self, window: bool) -> int:
        """Where the next row of a kind goes, -1: nowhere."""
        cap, base = (WINDOWS, ARRIVALS) if window else (ARRIVALS, 0)
        self._seen[window] += 1
        if self._sizes[window] < cap:
            self._sizes[window] += 1
            return base + self._sizes[window] - 1
        place = int(self._rng.integers(self._seen[window]))
        return base + place if place < cap else -1

    def _put(self, rows: RowColumns, slots: I64) -> RowColumns:
        assert self._rows is not None
        self._keys = None
        for key, slot in zip(rows.key.tolist(), slots.tolist(), strict=True):
            if slot < 0:
                continue
            old = int(self._rows.key[slot])
            if self._slots.get(old) == slot:
                del self._slots[old]
            self._slots[key] = slot
            self._rows.key[slot] = key
        final = np.array([self._slots.get(key, -1) == slot >= 0 for key, slot in zip(rows.key.tolist(), slots.tolist(), strict=True)], bool)
        for field in fields(RowColumns):
            getattr(self._rows, field.name)[slots[final]] = getattr(rows, field.name)[final]
        return rows.select(final)


def smallest(key: U64, count: int) -> I64:
    """Positions of the `count` smallest keys, of equal ones the first, ascending.

    >>> smallest(np.array([5, 9, 5, 1, 5], np.uint64), 3).tolist()
    [0, 2, 3]
    """
    last = np.partition(key, count - 1)[count - 1]
    below = np.flatnonzero(key < last)
    return np.sort(np.append(below, np.flatnonzero(key == last)[: count - len(below)]))
