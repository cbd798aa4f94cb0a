"""Increments of sums: deltas as sent, cumulative ones against the point before, across resets."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from engine.records import F64, I64, SECOND_NS, Bool


class Increments(NamedTuple):
    """What was counted, per second. `at` are positions of the points that gave something."""

    at: I64
    rate: F64
    seconds: F64
    late: int  # cumulative points older than one that was counted already


class Counters:
    """The last point of every sum, by row."""

    def __init__(self) -> None:
        self.time_ns: I64 = np.zeros(0, np.int64)  # 0: none
        self.start_ns: I64 = np.zeros(0, np.int64)
        self.value: F64 = np.zeros(0, np.float64)

    def reserve(self, rows: int) -> None:
        """Make room for at least so many rows."""
        more = rows - len(self.time_ns)
        if more > 0:
            more = max(more, len(self.time_ns))
            self.time_ns = np.append(self.time_ns, np.zeros(more, np.int64))
            self.start_ns = np.append(self.start_ns, np.zeros(more, np.int64))
            self.value = np.append(self.value, np.zeros(more, np.float64))

    def forget(self, row: int) -> None:
        """The series ended: its next point begins anew."""
        self.time_ns[row] = 0

    def take(self, row: I64, *, time_ns: I64, start_ns: I64, value: F64, cumulative: Bool, born_ns: I64) -> Increments:
        """Increment of every point over the time that it covers.

            cumulative: (value - before) / (time - time before); after a reset (the start moved behind the point before, or the value
            fell): value / (time - max(start, time before)). Delta: value / (time - start).

        Args: all [n]; born_ns: since when a series that has no point before counts, 0 = nobody knows.
        OTLP metrics data model, "Resets and gaps"; deltas without a start cover the time since the point before.
        """
        if not len(row):
            return Increments(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), 0)
        order = np.lexsort((time_ns, row))
        row, time, start, value = row[order], time_ns[order], start_ns[order], value[order]
        cumulative, born = cumulative[order], born_ns[order]
        begins = np.concatenate([[True], row[1:] != row[:-1]])
        before_time = np.where(begins, self.time_ns[row], np.roll(time, 1))
        before_start = np.where(begins, self.start_ns[row], np.roll(start, 1))
        before_value = np.where(begins, self.value[row], np.roll(value, 1))
        new = before_time == 0
        before_time, before_value = np.where(new, born, before_time), np.where(new, 0.0, before_value)
        late = cumulative & ~new & (time <= before_time)
        reset = ~new & ((value < before_value) | ((start > before_start) & (start >= before_time)))
        since = np.where(reset, np.maximum(start, before_time), before_time)
        since = np.where(cumulative | (start == 0), since, start)
        increment = np.where(cumulative & ~reset, value - before_value, value)
        seconds = (time - since) / SECOND_NS
        good = (since > 0) & (seconds > 0) & ~late
        # The last of a row that is not late: late points come first of their row, in order of time.
        newest = np.append(row[1:] != row[:-1], True) & (time > self.time_ns[row])
        self.time_ns[row[newest]], self.start_ns[row[newest]], self.value[row[newest]] = time[newest], start[newest], value[newest]
        return Increments(order[good], increment[good] / seconds[good], seconds[good], int(late.sum()))

    def state(self) -> dict[str, Any]:
        """Arrays by row."""
        return {"time_ns": self.time_ns, "start_ns": self.start_ns, "value": self.value}
