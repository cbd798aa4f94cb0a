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
from engine.take.bucketed import BucketCounters, Bucketed
from engine.take.counters import Counters
from engine.take.quantiles import Bounds, bucket_quantiles
from engine.take.ragged import positions
from engine.take.rings import Rings
from engine.take.series import NOBODY, SeriesKey, SeriesRows, quantile_name
from engine.take.summaries import QuantileRows
from engine.take.units import unit_of

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
        self._quantiles = QuantileRows()
        self._nameless: Bool = np.zeros(0, bool)  # by row: no service, as of `_named`
        self._named = -1  # revision
        self._reported: dict[int, int] = {}  # resource << 32 | metric of a counter -> time of its latest points
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
        self._take_bucketed(points, np.flatnonzero(usable & bucketed), first, window.bounds)
        for at in np.flatnonzero(gone):
            self._end(self._rows.span(int(first[at])), int(points.time_ns[at]))
        self.last_ns = max(self.last_ns, int(points.time_ns.max()))
        self._remember_reported(points, usable)

    def _count(self, first: I64, known: Bool, empty: Bool) -> None:
        self.points += int(known.sum())
        if self._named != self.revision:
            self._nameless, self._named = np.array([not key.service for key in self.keys], bool), self.revision
        self.points_unjoined += int(self._nameless[first[known]].sum())
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

    def _take_bucketed(self, points: PointColumns, at: I64, first: I64, bounds: tuple[F64, ...]) -> None:
        """Histograms and summaries: rate, mean, and a value a quantile."""
        if not len(at):
            return
        table = Bounds.of(points.bounds[at], bounds)
        lowest, highest = table.ends
        buckets = points.counts_at[at + 1] - points.counts_at[at]
        sent = Bucketed(
            row=first[at], time_ns=points.time_ns[at], start_ns=points.start_ns[at], observations=points.count[at].astype(np.float64),
            total=points.sum[at], lowest=lowest, highest=highest, buckets=buckets,
            counts=points.counts[positions(points.counts_at[at], buckets)].astype(np.float64),
        )  # fmt: skip
        summary = points.type[at] == PointType.SUMMARY
        cumulative = summary | (points.temporality[at] != Temporality.DELTA)
        born = np.zeros(len(at), np.int64)
        for number in np.flatnonzero(cumulative & (self._buckets.last["time_ns"][sent.row] == 0)):  # a series' first points
            born[number] = self._born(points, int(at[number]))
        grown = self._buckets.take(sent, cumulative=cumulative, values=summary, born_ns=born)
        self.dropped["out_of_order"] += grown.late
        increment, n = grown.increment, grown.increment.observations
        self.rings.add(increment.row, increment.time_ns, n / grown.seconds, grown.seconds)
        some = np.flatnonzero(n > 0)
        factor = self._factor(points, at[grown.at])
        self._add(increment.row[some] + 1, increment.time_ns[some], increment.total[some] / n[some] * factor[some], n[some])
        table = table.select(grown.at)
        whole = (increment.buckets == table.length + 1) & (table.length > 0)
        histograms = np.flatnonzero((n > 0) & ~summary[grown.at] & grown.comparable & whole)
        chosen = increment.select(histograms)
        values = bucket_quantiles(chosen.counts, chosen.buckets, table.values, table.first[histograms], QUANTILES)
        for place in range(len(QUANTILES)):
            self._add(chosen.row + 2 + place, chosen.time_ns, values[:, place] * factor[histograms], n[histograms])
        summaries = np.flatnonzero((n > 0) & summary[grown.at])
        row, which, value = self._quantiles.find(increment.select(summaries), table.select(summaries))
        at = summaries[which]
        self._add(row, increment.time_ns[at], value * factor[at], n[at])

    def _add(self, row: I64, time_ns: I64, value: F64, weight: F64) -> None:
        good = np.isfinite(value)
        self.rings.add(row[good], time_ns[good], value[good], weight[good])

    def _born(self, points: PointColumns, at: int) -> int:
        """Since when a cumulative series that has no point before counts; 0: nobody knows.

        If its metric already reported from that resource (with other attributes), it was 0 then: a counter of errors is born with the
        first error.
        """
        time, start = int(points.time_ns[at]), int(points.start_ns[at])
        reported = self._reported.get(int(points.resource[at]) << 32 | int(points.metric[at]), 0)
        if 0 < reported < time:
            return max(start, reported)
        return start if 0 < time - start <= NEWBORN_NS else 0

    def _remember_reported(self, points: PointColumns, usable: Bool) -> None:
        counters = usable & (points.type != PointType.GAUGE)
        pairs = points.resource[counters].astype(np.int64) << 32 | points.metric[counters].astype(np.int64)
        distinct, at = np.unique(pairs[::-1], return_index=True)
        times = points.time_ns[counters][::-1][at]
        self._reported.update(zip(distinct.tolist(), times.tolist(), strict=True))
        if len(self._reported) > 2 * self.settings.series_rows:
            self._reported = {key: time for key, time in self._reported.items() if time > self.last_ns - IDLE_NS}

    def _factor(self, points: PointColumns, at: I64) -> F64:
        kinds, back = np.unique(points.metric[at].astype(np.int64) << 32 | points.unit[at], return_inverse=True)
        text = self.strings.text
        factors: F64 = np.array(
            [unit_of(text("value", kind >> 32), text("value", kind & 0xFFFFFFFF))[1] for kind in kinds.tolist()], np.float64
        )
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
        key = NOBODY._replace(metric=metric, unit=unit_of(metric, unit)[0], type=kind, monotonic=bool(points.flags[at] & POINT_MONOTONIC))
        first = self._rows.begin(series, int(points.resource[at]), key, statistics)
        self.rings.reserve(len(self.keys))
        self._counters.reserve(len(self.keys))
        if len(self.keys) > len(self.stale_ns):
            self.stale_ns = np.append(self.stale_ns, np.zeros(len(self.keys), np.int64))
        self._buckets.reserve(len(self.keys))
        if first >= 0:
            self.stale_ns[first : first + len(statistics)] = 0
            self._quantiles.place(first, statistics, summary=kind is PointType.SUMMARY)

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
        self._buckets.forget(rows.start)
        for row in rows:
            self.stale_ns[row] = time_ns
            self._counters.forget(row)

    def state(self) -> dict[str, Any]:
        """Everything but the dictionaries: texts instead of codes."""
        used = len(self.keys)
        counters = {name: getattr(self._counters, name)[:used] for name in ("time_ns", "start_ns", "value")}
        reported = [
            [list(self.resources[pair >> 32]), self.strings.text("value", pair & 0xFFFFFFFF), time] for pair, time in self._reported.items()
        ]
        numbers = {"last_ns": self.last_ns, "points": self.points, "points_unjoined": self.points_unjoined, "swept_ns": self._swept_ns}
        rings = {name: getattr(self.rings, name)[:used] for name in ("time_ns", "value", "weight", "written")}
        return {"series": self._rows.state(), "rings": rings, "stale_ns": self.stale_ns[:used], "counters": counters,
                "bucketed": self._buckets.state(used), "reported": reported, "numbers": numbers, "dropped": dict(self.dropped)}  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state, with new dictionaries."""
        self._rows.restore(state["series"])
        self.rings.restore(**state["rings"])
        self._counters.reserve(len(self.keys))
        for name, values in state["counters"].items():
            getattr(self._counters, name)[: len(values)] = values
        self._buckets.reserve(len(self.keys))
        if "bucketed" in state:  # a state of an earlier version has others: histograms begin anew
            self._buckets.restore(state["bucketed"])
        self._reported = {
            self.resources.intern(Resource(*sender)) << 32 | self.strings.intern("value", metric): time
            for sender, metric, time in state["reported"]
        }
        self.stale_ns = np.array(state["stale_ns"], np.int64)
        for rows in self._rows.spans():
            summary = self.keys[rows.start].type is PointType.SUMMARY
            self._quantiles.place(rows.start, [self.keys[row].statistic for row in rows], summary=summary)
        self.dropped = Counter(state["dropped"])
        numbers = state["numbers"]
        self.last_ns, self._swept_ns = numbers["last_ns"], numbers["swept_ns"]
        self.points, self.points_unjoined = numbers["points"], numbers["points_unjoined"]


def _is_counted(points: PointColumns) -> Bool:
    """Sums whose increments mean something: monotonic ones, and deltas."""
    grows: Bool = (points.flags & POINT_MONOTONIC != 0) | (points.temporality == Temporality.DELTA)
    counted: Bool = grows & (points.type == PointType.SUM)
    return counted
