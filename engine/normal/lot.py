"""Rows of a window on their way to scores: what is remembered is there at once, the rest is scored in pieces while batches come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine import kernels
from engine.normal.features import RowColumns, key_of
from engine.normal.remembered import SCORES, Remembered
from engine.records import F32, F64, I32, I64, Bool

BATCH_ROWS = 1024  # scored at a time
Score = Callable[[I32, F32, Bool], F64]  # codes, numbers, window -> nats, distance, field, members [7, n]


@dataclass(frozen=True, slots=True)
class Oddest:
    """The oddest row of each service in one window, and how many distinct rows the service had."""

    end_ns: int
    rows: RowColumns  # one a service
    nats: F64  # [s] of that row alone
    tried: I64  # [s] distinct rows of the service
    members: F64  # [s, 4]
    field: I32  # [s]
    distance: F64  # [s]


class Lot:
    """Rows of one window. A score is a function of what the model reads of a row: rows that differ in texts that it does not know are
    scored once.

    Remembered for arrival rows, new for window rows and unseen ones. Over the budget the arrival rows with the smallest keys are scored: a
    sample by a hash, whatever the order in which they came.
    Args: codes, numbers: of the rows, encoded; budget: unseen arrival rows that are scored at most.
    """

    def __init__(self, end_ns: int, rows: RowColumns, codes: I32, numbers: F32, remembered: Remembered, budget: int) -> None:
        self.end_ns, self.rows, self._remembered = end_ns, rows, remembered
        key = key_of(codes, numbers, rows.window)
        self._result = np.empty((SCORES, len(rows)))
        known, self._result[:, known] = remembered.find(key)
        self._unseen = np.flatnonzero(~known)
        self._same, first = kernels.group(key[self._unseen])
        first = self._unseen[first]
        self._key = key[first]
        self._codes, self._numbers, self._window = codes[first], numbers[first], rows.window[first]
        self._scored = np.empty((SCORES, len(first)))
        self._has = np.ones(len(first), bool)
        arrived = np.flatnonzero(~self._window)
        if len(arrived) > budget:
            self._has[arrived[np.argsort(self._key[arrived])[budget:]]] = False
        self._waiting = np.flatnonzero(self._has)

    def __len__(self) -> int:
        """Rows that wait for their score."""
        return len(self._waiting)

    @property
    def scored(self) -> int:
        """How many rows are scored for this lot."""
        return int(self._has.sum())

    @property
    def skipped(self) -> int:
        """Rows that the budget leaves without a score."""
        return int((~self._has[self._same]).sum())

    def work(self, score: Score, most: int) -> None:
        """Score at most so many of those that wait; batches may have brought some of them again since."""
        now, self._waiting = self._waiting[:most], self._waiting[most:]
        known, scores = self._remembered.find(self._key[now])
        self._scored[:, now[known]] = scores
        now = now[~known]
        for start in range(0, len(now), BATCH_ROWS):
            some = now[start : start + BATCH_ROWS]
            self._scored[:, some] = score(self._codes[some], self._numbers[some], self._window[some])
        arrived = now[~self._window[now]]
        self._remembered.put(self._key[arrived], self._scored[:, arrived])

    def oddest(self) -> Oddest | None:
        """What the scores say when none waits; None where no row has one."""
        scored, rows = self._result, self.rows
        scored[:, self._unseen] = self._scored[:, self._same]
        if self.skipped:
            done = np.ones(len(rows), bool)
            done[self._unseen] = self._has[self._same]
            rows, scored = rows.select(done), scored[:, done]
        if not len(rows):
            return None
        service = rows.codes[:, 0]
        most = np.full(int(service.max()) + 1, -np.inf)
        np.maximum.at(most, service, scored[0])
        loudest = np.flatnonzero(scored[0] == most[service])
        loudest = loudest[np.lexsort((rows.key[loudest], service[loudest]))]  # the key breaks ties, so that batches do not
        best = loudest[np.flatnonzero(np.diff(service[loudest], append=-1))]
        tried = np.bincount(service)[service[best]]
        members = scored[3:, best].T
        return Oddest(self.end_ns, rows.select(best), scored[0, best], tried, members, scored[2, best].astype(np.int32), scored[1, best])
