"""The slow memory: what gauges of utilisation did in every hour of four weeks, beside the fast one of six hours (`evidence.resource`).

A nightly job is usual at night, and a leak that creeps for days is its own usual by the hour; only days tell either.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final

import numpy as np

from engine.normal.robust import quantile
from engine.records import F32, F64, HOUR_NS, I64
from engine.settings import EngineSettings
from engine.take.points import SeriesStore
from engine.take.roles import Role, measure
from engine.take.series import SeriesKey

HOURS: Final = 28 * 24
SUBJECTS_MOST: Final = 1024
LEAST_DAYS: Final = 3  # with this hour, before it tells what is usual at this hour
LEAST_WEEKS: Final = 3  # with this hour of the week, before the weekday counts
DAYS_BACK: Final = 7
CREEP_DAYS: Final = 14  # at most
CREEP_LEAST: Final = 4  # days, that is three steps
DAY_HOURS: Final = 18  # of a day that must be known

Subject = tuple[str, str, tuple[tuple[str, str], ...]]  # service, metric, attributes: instances come and go


def subject_of(key: SeriesKey) -> Subject:
    """What an instance's series is one of."""
    return key.service, key.metric, key.attributes


def local_hour(hour: int, utc_offsets: Sequence[tuple[int, int]]) -> int:
    """Hours since 1970 on the clock of the people whose days count; utc_offsets: (from, ns since 1970; offset, ns), rising.

    >>> local_hour(100, ()), local_hour(100, ((0, HOUR_NS), (99 * HOUR_NS, 2 * HOUR_NS)))
    (100, 102)
    """
    at = bisect_right(utc_offsets, hour * HOUR_NS, key=itemgetter(0))
    return (hour * HOUR_NS + (utc_offsets[at - 1][1] if at else 0)) // HOUR_NS


class Days:
    """Median and peak of every hour by subject; of several instances the highest. At most 1024 subjects, four weeks of hours."""

    def __init__(self, settings: EngineSettings) -> None:
        self.refused = 0  # hours of subjects over the cap
        self._offsets = settings.utc_offsets
        self._row: dict[Subject, int] = {}
        self._hour: I64 = np.full(HOURS, -1, np.int64)  # hour since 1970 of each column
        self._median: F32 = np.zeros((0, HOURS), np.float32)
        self._peak: F32 = np.zeros((0, HOURS), np.float32)
        self._next = 0  # first hour that is not folded; 0: none was
        self._memo: tuple[int, dict[Subject, float]] = 0, {}  # usual peaks of an hour
        self._daily: tuple[int, dict[Subject, F64]] = 0, {}  # medians of days up to an hour
        self._local: tuple[int, dict[int, int]] = 0, {}  # local hour -> column, up to an hour

    def take(self, store: SeriesStore, now_ns: int) -> None:
        """Fold the hours that have ended by now; those further back than the store remembers stay unknown."""
        now = now_ns // HOUR_NS
        if self._next and now > self._next:
            for hour in range(max(self._next, now - 12), now):
                self._fold(store, hour)
        self._next = max(self._next, now)

    def _fold(self, store: SeriesStore, hour: int) -> None:
        rows = np.array([row for row, key in enumerate(store.keys) if key.service and measure(key).role is Role.UTILISATION], np.int64)
        column = hour % HOURS
        self._hour[column] = hour
        self._median[:, column] = self._peak[:, column] = np.nan
        row, _, value = store.history(rows, hour * HOUR_NS, (hour + 1) * HOUR_NS)
        bounds = np.flatnonzero(np.r_[True, row[1:] != row[:-1], True]) if len(row) else np.zeros(0, np.int64)
        for first, last in pairwise(bounds.tolist()):
            place = self._place(subject_of(store.keys[int(row[first])]))
            if place >= 0:
                own = value[first:last]
                self._median[place, column] = np.fmax(self._median[place, column], np.median(own))
                self._peak[place, column] = np.fmax(self._peak[place, column], own.max())

    def _place(self, subject: Subject) -> int:
        if subject not in self._row:
            if len(self._row) >= SUBJECTS_MOST:
                self.refused += 1
                return -1
            if len(self._row) >= len(self._peak):
                room = np.full((max(16, len(self._peak)), HOURS), np.nan, np.float32)
                self._median, self._peak = np.concatenate([self._median, room]), np.concatenate([self._peak, room])
            self._row[subject] = len(self._row)
        return self._row[subject]

    def usual_peak(self, subject: Subject, now_ns: int) -> float:
        """Median, over earlier days, of the highest value from an hour before this hour of the day to an hour after it; NaN if unknown.

        Of the last week, at least three days; from three weeks on only the days of this weekday.
        """
        hour = now_ns // HOUR_NS
        if self._memo[0] != hour:
            self._memo = hour, {}
        known = self._memo[1]
        if subject not in known:
            row = self._row.get(subject)
            known[subject] = float("nan") if row is None else self._usual_peak(row, local_hour(hour, self._offsets))
        return known[subject]

    def _usual_peak(self, row: int, here: int) -> float:
        by_week = self._same(row, here, [7 * 24 * week for week in range(1, HOURS // (7 * 24) + 1)])
        if len(by_week) >= LEAST_WEEKS:
            return float(np.median(by_week))
        by_day = self._same(row, here, [24 * day for day in range(1, DAYS_BACK + 1)])
        return float(np.median(by_day)) if len(by_day) >= LEAST_DAYS else float("nan")

    def _same(self, row: int, here: int, back: Sequence[int]) -> list[float]:
        """Peaks around the local hours that lie `back` hours before, where they are known."""
        if self._local[0] != self._next:
            columns = {local_hour(hour, self._offsets): column for column, hour in enumerate(self._hour.tolist()) if hour >= 0}
            self._local = self._next, columns
        local, found = self._local[1], []
        for hours in back:
            peaks = self._peak[row, [local[near] for near in range(here - hours - 1, here - hours + 2) if near in local]]
            if np.isfinite(peaks).any():
                found.append(float(np.nanmax(peaks)))
        return found

    def medians(self) -> Mapping[Subject, F64]:
        """Median of each of the last days by subject, oldest first, as far back as they are known without a gap; at most 14.

        A day is 24 hours that end with the last hour folded: each holds every hour once, so what is usual by day cancels.
        """
        if self._daily[0] != self._next:
            hours = np.arange(self._next - 24 * CREEP_DAYS, self._next)
            known = self._hour[hours % HOURS] == hours
            values = np.where(known, self._median[: len(self._row)][:, hours % HOURS], np.nan).reshape(-1, 24).astype(np.float64)
            enough = (np.isfinite(values).sum(axis=1) >= DAY_HOURS).reshape(-1, CREEP_DAYS)
            days = np.cumprod(enough[:, ::-1], axis=1).sum(axis=1)
            medians = quantile(values, 0.5).reshape(-1, CREEP_DAYS)
            self._daily = self._next, {subject: medians[row, CREEP_DAYS - days[row] :] for subject, row in self._row.items()}
        return self._daily[1]

    def state(self) -> dict[str, Any]:
        """Everything."""
        rows = [[service, metric, [list(pair) for pair in attributes]] for service, metric, attributes in self._row]
        used = len(rows)
        return {"rows": rows, "hour": self._hour, "median": self._median[:used], "peak": self._peak[:used], "next": self._next}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._row = {
            (service, metric, tuple((str(name), str(value)) for name, value in pairs)): row
            for row, (service, metric, pairs) in enumerate(state["rows"])
        }
        self._memo, self._daily, self._local = (0, {}), (0, {}), (0, {})
        self._hour, self._next = np.array(state["hour"], np.int64), int(state["next"])
        self._median = np.array(state["median"], np.float32).reshape(-1, HOURS)
        self._peak = np.array(state["peak"], np.float32).reshape(-1, HOURS)
