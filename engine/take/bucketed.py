"""Increments of histograms and summaries: deltas as sent, cumulative ones against the point before, across resets."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from engine.records import F64, I64, SECOND_NS, Bool
from engine.take.ragged import Ragged, positions

_COLUMNS = ("time_ns", "start_ns", "observations", "total", "lowest", "highest")


class Bucketed(NamedTuple):
    """Points of histograms and summaries, sorted by time. Of a summary `counts` are the quantiles' values."""

    row: I64  # [n]
    time_ns: I64  # [n]
    start_ns: I64  # [n]
    observations: F64  # [n]
    total: F64  # [n] sum of what was observed
    lowest: F64  # [n] first bound; with `highest` and the number of buckets it tells whether counts can be compared
    highest: F64  # [n] last bound
    buckets: I64  # [n]
    counts: F64  # [sum of buckets]

    def select(self, at: I64) -> Bucketed:
        """Some of the points."""
        counts = self.counts[positions((np.cumsum(self.buckets) - self.buckets)[at], self.buckets[at])]
        plain = {name: column[at] for name, column in self._asdict().items() if name != "counts"}
        return Bucketed(**plain, counts=counts)


class Grown(NamedTuple):
    """What was counted. `at` are positions of the points that gave something; what was observed in `seconds` is in `increment`."""

    at: I64
    increment: Bucketed
    seconds: F64
    comparable: Bool  # False: buckets are others than before, `counts` mean nothing
    late: int  # cumulative points no newer than one that was counted already


class BucketCounters:
    """The last point of every histogram and summary, by first row."""

    def __init__(self) -> None:
        self.last: dict[str, Any] = {name: np.zeros(0, np.int64 if name.endswith("_ns") else np.float64) for name in _COLUMNS}
        self.counts = Ragged()

    def reserve(self, rows: int) -> None:
        """Make room for at least so many rows."""
        more = rows - len(self.last["time_ns"])
        if more > 0:
            more = max(more, len(self.last["time_ns"]))
            self.last = {name: np.append(column, np.zeros(more, column.dtype)) for name, column in self.last.items()}
            self.counts.reserve(len(self.last["time_ns"]))

    def forget(self, row: int) -> None:
        """The series ended: its next point begins anew."""
        self.last["time_ns"][row] = 0

    def take(self, points: Bucketed, *, cumulative: Bool, values: Bool, born_ns: I64) -> Grown:
        """What was counted since the point before, and in how many seconds; formulas as in `Counters.take`.

        A histogram starts again when its number of observations falls, or its start moves behind the point before. If only its buckets
        are others than before (exponential ones change scale and offset), observations and sum go on, and counts are not comparable.
        Args: all [n]; values: `counts` are values (a summary), taken as they are.
        """
        late = cumulative & (points.time_ns <= self.last["time_ns"][points.row])
        order = np.flatnonzero(~late)
        order = order[np.lexsort((points.time_ns[order], points.row[order]))]
        again = np.zeros(len(order), bool)  # the first of several of one time counts
        again[1:] = (np.diff(points.row[order]) == 0) & (np.diff(points.time_ns[order]) == 0) & cumulative[order][1:]
        order = order[~again]
        now, cumulative, values, born = points.select(order), cumulative[order], values[order], born_ns[order]
        begins = np.ones(len(order), bool)
        begins[1:] = now.row[1:] != now.row[:-1]
        before = {name: np.where(begins, self.last[name][now.row], np.roll(getattr(now, name), 1)) for name in _COLUMNS}
        before["time_ns"] = np.maximum(before["time_ns"], self.last["time_ns"][now.row])  # a late delta
        buckets_before = np.where(begins, self.counts.length[now.row], np.roll(now.buckets, 1))
        new = before["time_ns"] == 0
        moved = (now.start_ns > before["start_ns"]) & (now.start_ns >= before["time_ns"])
        reset = (now.observations < before["observations"]) | moved
        differs = cumulative & ~new & ~reset
        same = (now.buckets == buckets_before) & (now.lowest == before["lowest"]) & (now.highest == before["highest"])
        since = np.where(cumulative & ~new & reset, np.maximum(now.start_ns, before["time_ns"]), before["time_ns"])
        since = np.where(cumulative & new, born, since)
        since = np.where(cumulative | (now.start_ns == 0), since, now.start_ns)
        seconds = (now.time_ns - since) / SECOND_NS
        good = np.flatnonzero((since > 0) & (seconds > 0))
        increment = now._replace(
            observations=now.observations - np.where(differs, before["observations"], 0),
            total=now.total - np.where(differs, before["total"], 0),
            counts=self._counted(now, begins, differs & same & ~values),
        )
        self._remember(now, begins, cumulative)
        comparable = (same | ~differs | values)[good]
        return Grown(order[good], increment.select(good), seconds[good], comparable, int(late.sum()) + int(again.sum()))

    def _counted(self, now: Bucketed, begins: Bool, differs: Bool) -> F64:
        """Counts, less those of the point before where they differ from them."""
        counts, first = now.counts.copy(), np.cumsum(now.buckets) - now.buckets
        for chosen, stored in ((np.flatnonzero(differs & begins), True), (np.flatnonzero(differs & ~begins), False)):
            length = now.buckets[chosen]
            old = self.counts.of(now.row[chosen]) if stored else now.counts[positions(first[chosen - 1], length)]
            place = positions(first[chosen], length)
            counts[place] = np.maximum(now.counts[place] - old, 0.0)
        return counts

    def _remember(self, now: Bucketed, begins: Bool, cumulative: Bool) -> None:
        last = np.flatnonzero(np.append(begins[1:], True)[: len(begins)] & (now.time_ns > self.last["time_ns"][now.row]))
        newest, row = now.select(last), now.row[last]
        for name, column in self.last.items():
            column[row] = getattr(newest, name)
        compared = np.flatnonzero(cumulative[last])  # deltas are never compared
        self.counts.put(row[compared], newest.buckets[compared], newest.select(compared).counts)

    def state(self, rows: int) -> dict[str, Any]:
        """Arrays by row, and the counts one row behind the other."""
        length = self.counts.length[:rows]
        columns = {name: column[:rows] for name, column in self.last.items()}
        return {**columns, "buckets": length, "counts": self.counts.of(np.arange(len(length)))}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        rows = len(state["time_ns"])
        self.reserve(rows)
        for name in _COLUMNS:
            self.last[name][:rows] = state[name]
        self.counts.put(np.arange(rows), np.asarray(state["buckets"], np.int64), np.asarray(state["counts"], np.float64))
