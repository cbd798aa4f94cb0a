"""Metric points to regular series: rates from sums, means and quantiles from histograms, gauges as they are."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from engine.records import (
    F64,
    HOUR_NS,
    I64,
    MINUTE_NS,
    POINT_MONOTONIC,
    POINT_NO_RECORDED_VALUE,
    Bool,
    PointColumns,
    PointType,
    Resource,
    Temporality,
    Window,
)
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.counters import BucketCounters, Bucketed, Counters
from engine.take.quantiles import bucket_quantiles
from engine.take.rings import Rings
from engine.take.series import NOBODY, SeriesKey, SeriesRows, quantile_name
from engine.take.units import base_unit

QUANTILES = (0.50, 0.95, 0.99)
#: A series that sent nothing for so long gives its rows to new ones, when they are all taken.
IDLE_NS = 6 * HOUR_NS
#: A counter that was never seen before counts from its start if that is no further back than this.
NEWBORN_NS = 10 * MINUTE_NS


class SeriesStore:
    """Series of all metrics, in slots of `series_slot_ns`, or of their reporting interval if that is longer.

    Values are in base units (seconds, bytes, ratios, per second). A rate's weight is the seconds that it covers, that of a mean or a
    quantile the number of observations, that of a gauge the number of points. At most `series_rows` rows of `series_slots` slots of
    16 bytes.
    """

    def __init__(self, strings: Strings, resources: Resources, settings: EngineSettings) -> None:
        self.strings, self.resources, self.settings = strings, resources, settings
        self.rings = Rings(slots=settings.series_slots, slot_ns=settings.series_slot_ns)
        self.last_ns = 0  # latest point
        self.points = 0
        self.points_unjoined = 0
        self.dropped: Counter[str] = Counter()  # series_cap, out_of_order, no_value
        self.stale_ns: I64 = np.zeros(0, np.int64)  # by row: when the sender said that it reports no more; 0: it reports
        self._rows = SeriesRows(strings, resources, settings.series_rows)
        self._counters, self._buckets = Counters(), BucketCounters()
        self._reported: dict[tuple[int, str], int] = {}  # resource, metric of a counter -> time of its latest points
        self._swept_ns = 0

    @property
    def keys(self) -> list[SeriesKey]:
        """What the rows measure. A row given back has a key without metric."""
        return self._rows.keys

    @property
    def revision(self) -> int:
        """Rises when keys change, not when values come."""
        return self._rows.revision

    @property
    def unjoined_share(self) -> float:
        """Share of all points whose resource names no service and joined none."""
        return self.points_unjoined / self.points if self.points else 0.0

    def history(self, rows: I64 | None, start_ns: int, end_ns: int) -> tuple[I64, I64, F64]:
        """Values with start_ns <= time < end_ns, by row, oldest first: row int64 [n], time_ns int64 [n], value float64 [n]."""
        return self.weighted(rows, start_ns, end_ns)[:3]

    def weighted(self, rows: I64 | None, start_ns: int, end_ns: int) -> tuple[I64, I64, F64, F64]:
        """As `history`, and the weight of each value: seconds of a rate, observations of a mean or quantile, points of a gauge."""
        chosen = np.arange(len(self.keys), dtype=np.int64) if rows is None else np.asarray(rows, np.int64)
        at, time_ns, value, weight = self.rings.between(chosen, start_ns, end_ns)
        return chosen[at], time_ns, value, weight

    def take(self, window: Window) -> None:
        """Add a window's points. Resources of any signal tell which nameless ones belong to which service."""
        self._rows.join()
        points = window.points
        if not len(points.time_ns):
            return
        first = self._find(points, window.bounds)
        known = first >= 0
        gone = known & (points.flags & POINT_NO_RECORDED_VALUE != 0)
        bucketed = points.type >= PointType.HISTOGRAM
        empty = known & ~gone & ~bucketed & ~np.isfinite(points.value)
        usable = known & ~gone & ~empty
        counted = ~bucketed & _is_counted(points)
        self._count(first, known, empty)
        self.stale_ns[first[usable]] = 0
        self._take_gauges(points, np.flatnonzero(usable & ~bucketed & ~counted), first)
        self._take_sums(points, np.flatnonzero(usable & counted), first)
        found = [self._grown(points, at, int(first[at]), window.bounds) for at in np.flatnonzero(usable & bucketed).tolist()]
        if found:
            row, time_ns, value, weight = (np.concatenate(column) for column in zip(*found, strict=True))
            good = np.flatnonzero(np.isfinite(value))
            self.rings.add(row[good], time_ns[good], value[good], weight[good])
        for at in np.flatnonzero(gone):
            self._end(self._rows.span(int(first[at])), int(points.time_ns[at]))
        self.last_ns = max(self.last_ns, int(points.time_ns.max()))
        self._remember_reported(points, usable)

    def _count(self, first: I64, known: Bool, empty: Bool) -> None:
        self.points += int(known.sum())
        rows, times = np.unique(first[known], return_counts=True)
        self.points_unjoined += sum(count for row, count in zip(rows.tolist(), times.tolist(), strict=True) if not self.keys[row].service)
        self.dropped["series_cap"] += int((~known).sum())
        self.dropped["no_value"] += int(empty.sum())

    def _take_gauges(self, points: PointColumns, at: I64, first: I64) -> None:
        self.rings.add(first[at], points.time_ns[at], points.value[at] * self._factor(points, at), np.ones(len(at)))

    def _take_sums(self, points: PointColumns, at: I64, first: I64) -> None:
        row, time, start = first[at], points.time_ns[at], points.start_ns[at]
        cumulative = points.temporality[at] != Temporality.DELTA
        born = np.zeros(len(at), np.int64)
        for number in np.flatnonzero(cumulative & (self._counters.time_ns[row] == 0)):
            born[number] = self._born(points, int(at[number]))
        grown = self._counters.take(row, time_ns=time, start_ns=start, value=points.value[at], cumulative=cumulative, born_ns=born)
        self.dropped["out_of_order"] += grown.late
        rate = grown.rate * self._factor(points, at[grown.at])
        self.rings.add(row[grown.at], time[grown.at], rate, grown.seconds)

    def _grown(self, points: PointColumns, at: int, row: int, bounds: tuple[F64, ...]) -> tuple[I64, I64, F64, F64]:
        """Row, time, value and weight of what one histogram or summary gives: rate, mean, and a value a quantile."""
        time, summary = int(points.time_ns[at]), bool(points.type[at] == PointType.SUMMARY)
        counts = points.counts[points.counts_at[at] : points.counts_at[at + 1]].astype(np.float64)
        now = Bucketed(time, int(points.start_ns[at]), float(points.count[at]), float(points.sum[at]), counts)
        cumulative = summary or bool(points.temporality[at] != Temporality.DELTA)
        born = self._born(points, at) if cumulative and row not in self._buckets.before else 0
        grown = self._buckets.take(row, now, cumulative=cumulative, values=summary, born_ns=born)
        if grown is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
        increment, seconds = grown
        values, weights = [increment.observations / seconds], [seconds]
        if increment.observations > 0:
            edges = bounds[points.bounds[at]] if points.bounds[at] >= 0 else np.zeros(0)
            quantiles = self._quantiles(row, increment.counts, edges, summary)
            factor = base_unit(self.strings.text("value", int(points.unit[at])))[1]
            values += [increment.total / increment.observations * factor, *(quantiles * factor)]
            weights += [increment.observations] * (len(values) - 1)
        return row + np.arange(len(values)), np.full(len(values), time), np.array(values), np.array(weights)

    def _quantiles(self, row: int, counts: F64, edges: F64, summary: bool) -> F64:
        if not summary:
            whole = len(counts) == len(edges) + 1 and len(edges) > 0
            return bucket_quantiles(counts, edges, QUANTILES) if whole else np.full(len(QUANTILES), np.nan)
        sent = {quantile_name(share): float(value) for share, value in zip(edges, counts, strict=False)}
        return np.array([sent.get(self.keys[at].statistic, np.nan) for at in self._rows.span(row)[2:]])

    def _born(self, points: PointColumns, at: int) -> int:
        """Since when a cumulative series that has no point before counts; 0: nobody knows.

        If its metric already reported from that resource (with other attributes), it was 0 then: a counter of errors is born with the
        first error.
        """
        time, start = int(points.time_ns[at]), int(points.start_ns[at])
        reported = self._reported.get((int(points.resource[at]), self.strings.text("value", int(points.metric[at]))), 0)
        if 0 < reported < time:
            return max(start, reported)
        return start if 0 < time - start <= NEWBORN_NS else 0

    def _remember_reported(self, points: PointColumns, usable: Bool) -> None:
        counters = usable & (points.type != PointType.GAUGE)
        pairs = points.resource[counters].astype(np.int64) << 32 | points.metric[counters].astype(np.int64)
        distinct, at = np.unique(pairs[::-1], return_index=True)
        times = points.time_ns[counters][::-1][at]
        for pair, time in zip(distinct.tolist(), times.tolist(), strict=True):
            self._reported[pair >> 32, self.strings.text("value", pair & 0xFFFFFFFF)] = time
        if len(self._reported) > 2 * self.settings.series_rows:
            self._reported = {key: time for key, time in self._reported.items() if time > self.last_ns - IDLE_NS}

    def _factor(self, points: PointColumns, at: I64) -> F64:
        codes, back = np.unique(points.unit[at], return_inverse=True)
        factors: F64 = np.array([base_unit(self.strings.text("value", int(code)))[1] for code in codes], np.float64)
        return factors[back]

    def _find(self, points: PointColumns, bounds: tuple[F64, ...]) -> I64:
        """First row of every point's series, new ones included; negative where there is no room."""
        first = self._rows.find(points.series)
        new = np.flatnonzero(first < 0)
        if len(new):
            codes, at = np.unique(points.series[new], return_index=True)
            for number in np.argsort(at, kind="stable"):
                self._begin(int(codes[number]), points, int(new[at[number]]), bounds)
            first = self._rows.find(points.series)
        return first

    def _begin(self, series: int, points: PointColumns, at: int, bounds: tuple[F64, ...]) -> None:
        kind = PointType(int(points.type[at]))
        statistics = [""]
        if kind in (PointType.HISTOGRAM, PointType.EXPONENTIAL_HISTOGRAM):
            statistics = ["rate", "mean", *map(quantile_name, QUANTILES)]
        elif kind is PointType.SUMMARY:
            shares = bounds[points.bounds[at]] if points.bounds[at] >= 0 else np.zeros(0)
            statistics = ["rate", "mean", *map(quantile_name, shares.tolist())]
        elif _is_counted(points)[at]:
            statistics = ["rate"]
        if self._rows.full(len(statistics)):
            self._sweep()
        metric, unit = self.strings.text("value", int(points.metric[at])), self.strings.text("value", int(points.unit[at]))
        key = NOBODY._replace(metric=metric, unit=base_unit(unit)[0], type=kind, monotonic=bool(points.flags[at] & POINT_MONOTONIC))
        first = self._rows.begin(series, int(points.resource[at]), key, statistics)
        self.rings.reserve(len(self.keys))
        self._counters.reserve(len(self.keys))
        if len(self.keys) > len(self.stale_ns):
            self.stale_ns = np.append(self.stale_ns, np.zeros(len(self.keys), np.int64))
        if first >= 0:
            self.stale_ns[first : first + len(statistics)] = 0

    def _sweep(self) -> None:
        """Give back the rows of idle series, at most every tenth of the time after which they count as such."""
        if self.last_ns < self._swept_ns + IDLE_NS // 10:
            return
        self._swept_ns = self.last_ns
        latest = self.rings.time_ns[: len(self.keys)].max(axis=1, initial=0)
        for rows in self._rows.give_back(np.flatnonzero(latest < self.last_ns - IDLE_NS)):
            self._end(rows, self.last_ns)
            for row in rows:
                self.rings.clear(row)

    def _end(self, rows: range, time_ns: int) -> None:
        """A series reports no more: should it come again, it begins anew."""
        self._buckets.before.pop(rows.start, None)
        for row in rows:
            self.stale_ns[row] = time_ns
            self._counters.forget(row)

    def state(self) -> dict[str, Any]:
        """Everything but the dictionaries: texts instead of codes."""
        used = len(self.keys)
        counters = {name: getattr(self._counters, name)[:used] for name in ("time_ns", "start_ns", "value")}
        buckets = [[row, *before[:4], before.counts.tolist()] for row, before in self._buckets.before.items()]
        reported = [[list(self.resources[resource]), metric, time] for (resource, metric), time in self._reported.items()]
        numbers = {"last_ns": self.last_ns, "points": self.points, "points_unjoined": self.points_unjoined, "swept_ns": self._swept_ns}
        rings = {name: getattr(self.rings, name)[:used] for name in ("time_ns", "value", "weight", "written")}
        return {"series": self._rows.state(), "rings": rings, "stale_ns": self.stale_ns[:used], "counters": counters,
                "buckets": buckets, "reported": reported, "numbers": numbers, "dropped": dict(self.dropped)}  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state, with new dictionaries."""
        self._rows.restore(state["series"])
        self.rings.restore(**state["rings"])
        self._counters.reserve(len(self.keys))
        for name, values in state["counters"].items():
            getattr(self._counters, name)[: len(values)] = values
        for row, time, start, observations, total, counts in state["buckets"]:
            self._buckets.before[row] = Bucketed(time, start, observations, total, np.array(counts, np.float64))
        self._reported = {(self.resources.intern(Resource(*sender)), metric): time for sender, metric, time in state["reported"]}
        self.stale_ns = np.array(state["stale_ns"], np.int64)
        self.dropped = Counter(state["dropped"])
        numbers = state["numbers"]
        self.last_ns, self._swept_ns = numbers["last_ns"], numbers["swept_ns"]
        self.points, self.points_unjoined = numbers["points"], numbers["points_unjoined"]


def _is_counted(points: PointColumns) -> Bool:
    """Sums whose increments mean something: monotonic ones, and deltas."""
    grows: Bool = (points.flags & POINT_MONOTONIC != 0) | (points.temporality == Temporality.DELTA)
    counted: Bool = grows & (points.type == PointType.SUM)
    return counted
