"""Rows of metric points: how far a value is from the past of its own series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.normal.features import SCHEMAS, Dictionary, RowColumns, Source, Translation, distinct, hash_rows, quantised
from engine.normal.sender import Senders, hours
from engine.records import (
    F32,
    F64,
    HOUR_NS,
    I32,
    I64,
    POINT_MONOTONIC,
    POINT_NO_RECORDED_VALUE,
    Batch,
    PointColumns,
    PointType,
    Resource,
    Temporality,
    Window,
)
from engine.strings import Strings

SCHEMA = SCHEMAS[Source.METRICS]
FAST_NS, SLOW_NS = HOUR_NS, 7 * 24 * HOUR_NS
YOUNG = 8.0  # points under which a series has no deviation
WINSOR = 4.0
SETTLED = 30.0  # points from which a value is clipped before it moves the memories
_FLOOR = 0.05  # of the mean: a deviation under 5 % means nothing
_COLUMNS = ("last", "last_ns", "n", "slow", "slow_var", "fast", "fast_var", "raw", "raw_n", "raw_ns")


class PointRows:
    """State: for each series its last value and two memories (1 h and 7 days) of mean and variance.

    mean <- mean + a (x - mean), var <- (1 - a)(var + a (x - mean)^2), a = max(1/(n + 1), 1 - exp(-dt/tau)); x clipped to 4 s once settled,
    so that no outlier moves them far.
    """

    def __init__(self, strings: Strings, senders: Senders) -> None:
        self.senders = senders
        self.skipped = 0  # every record has a row
        self._strings = strings
        self.dictionaries = (senders.services, Dictionary(), senders.environments, senders.zones, senders.hosts)
        self._metric = Translation(self.dictionaries[1], lambda code: strings.text("value", code))
        self.state_of = {name: np.zeros(1024) for name in _COLUMNS}
        self._first_ns = 0

    def rows(self, window: Window) -> RowColumns | None:
        """Distinct arrival rows; a metric has no window rows: its points are windows already."""
        points = window.points
        if not len(points.time_ns):
            return None
        self._first_ns = self._first_ns or int(points.time_ns[0])
        service = self.senders.service(points.resource)
        rows = np.flatnonzero((service > 0) & (points.series > 0))
        if not len(rows):
            return None
        service, resource = service[rows], points.resource[rows]
        numbers = self._numbers(points, rows)
        metric = self._metric(points.metric[rows])
        environment = self.senders.environment(resource)
        codes = np.stack([service, metric, environment, self.senders.zone(resource), self.senders.host(resource)], axis=1)
        known = ~np.isnan(numbers[:, 0])
        if not known.any():
            return None
        codes, numbers, environment, time_ns = codes[known], numbers[known], environment[known], points.time_ns[rows][known]
        key = hash_rows(self.dictionaries, codes, numbers)
        ones = np.ones(len(codes), np.int64)
        return distinct(RowColumns(codes, numbers, key, time_ns, environment, ones, np.zeros(len(codes), bool)))

    def arrivals(self, batch: Batch) -> None:
        """None before their window: the memories of a series move with each of its points."""

    def forget(self) -> None:
        """Nothing was given."""

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Nothing waits: memories are slow and clipped."""

    def state(self) -> dict[str, Any]:
        """Series as texts (resource, then the rest of the series' text), and their memories."""
        known = np.flatnonzero(self.state_of["n"] > 0)
        texts = []
        for code in known.tolist():
            resource, _, rest = self._strings.text("series", code).partition("\x1f")
            texts.append([list(self.senders.resources[int(resource)]), rest])
        return {"first_ns": self._first_ns, "series": texts, "memories": {name: column[known] for name, column in self.state_of.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._first_ns = state["first_ns"]
        texts = [f"{self.senders.resources.intern(Resource(*resource))}\x1f{rest}" for resource, rest in state["series"]]
        codes = np.array([self._strings.intern("series", text) for text in texts], np.int64)
        self._grow(int(codes.max(initial=0)) + 1)
        for name, column in state["memories"].items():
            self.state_of[name][codes[codes > 0]] = column[codes > 0]

    def _grow(self, size: int) -> None:
        if size > len(self.state_of["n"]):
            self.state_of = {name: np.concatenate([old, np.zeros(max(size, len(old)))]) for name, old in self.state_of.items()}

    def _numbers(self, points: PointColumns, rows: I64) -> F32:
        """Deviations [n, numbers]; points of one series one after the other, in order of time."""
        series = points.series[rows]
        self._grow(int(series.max()) + 1)
        order = np.argsort(series, kind="stable")
        _, first, lengths = np.unique(series[order], return_index=True, return_counts=True)
        turn = np.empty(len(rows), np.int64)
        turn[order] = np.arange(len(rows)) - np.repeat(first, lengths)
        numbers = np.full((len(rows), len(SCHEMA.numbers)), np.nan, np.float32)
        for number in range(int(lengths.max())):
            at = np.flatnonzero(turn == number)
            numbers[at] = self._step(points, rows[at], series[at])
        return numbers

    def _step(self, points: PointColumns, rows: I64, series: I32) -> F32:
        """One point of each of distinct series: deviations, then the memories take it."""
        time_ns = points.time_ns[rows]
        x = self._value(points, rows, series)
        state = {name: column[series] for name, column in self.state_of.items()}
        n = state["n"]
        scale = np.sqrt(state["slow_var"] + (_FLOOR * state["slow"]) ** 2) + 1e-12
        fast = np.sqrt(state["fast_var"] + (_FLOOR * state["fast"]) ** 2) + 1e-12
        hour, weekday = hours(time_ns, self._first_ns)
        z = np.stack(
            [(x - state["slow"]) / scale, (state["fast"] - state["slow"]) / scale, np.log(fast / scale), (x - state["last"]) / scale]
        )
        numbers = np.empty((len(rows), len(SCHEMA.numbers)), np.float32)
        numbers[:, :4] = quantised(np.where((n < YOUNG) | np.isnan(x), np.nan, z)).T
        numbers[:, 4], numbers[:, 5] = hour, weekday
        self._remember(series, x, time_ns, n, scale, state)
        return numbers

    def _remember(self, series: I32, x: F64, time_ns: I64, n: F64, scale: F64, state: dict[str, F64]) -> None:
        fine = ~np.isnan(x)
        series, x, time_ns, n, scale = series[fine], x[fine], time_ns[fine], n[fine], scale[fine]
        before = {name: column[fine] for name, column in state.items()}
        clipped = np.where(n >= SETTLED, np.clip(x, before["slow"] - WINSOR * scale, before["slow"] + WINSOR * scale), x)
        elapsed = np.where(n > 0, np.maximum(time_ns - before["last_ns"], 0), 0.0)
        for memory, tau in (("slow", SLOW_NS), ("fast", FAST_NS)):
            share = np.maximum(1 / (n + 1), -np.expm1(-elapsed / tau))
            shift = clipped - before[memory]
            self.state_of[memory][series] = before[memory] + share * shift
            self.state_of[f"{memory}_var"][series] = (1 - share) * (before[f"{memory}_var"] + share * shift**2)
        self.state_of["n"][series] = n + 1
        self.state_of["last"][series] = x
        self.state_of["last_ns"][series] = time_ns

    def _value(self, points: PointColumns, rows: I64, series: I32) -> F64:
        """One number a point: gauges as they are, sums per second, histograms and summaries their mean; NaN where there is none.

        A cumulative point is the difference to the series' last one; after a reset there is none.
        """
        kind, raw, count = points.type[rows], points.value[rows].copy(), points.count[rows].astype(np.float64)
        spread = kind >= PointType.HISTOGRAM
        raw[spread] = points.sum[rows][spread]
        time_ns = points.time_ns[rows]
        cumulative = (points.temporality[rows] == Temporality.CUMULATIVE) & (spread | (points.flags[rows] & POINT_MONOTONIC > 0))
        cumulative |= kind == PointType.SUMMARY
        delta = (points.temporality[rows] == Temporality.DELTA) & (kind == PointType.SUM)
        last, last_count, last_ns = (self.state_of[name][series] for name in ("raw", "raw_n", "raw_ns"))
        usable = (last_ns > 0) & (time_ns > last_ns) & (raw >= last) & (count >= last_count)
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = (raw - last) / np.where(spread, count - last_count, (time_ns - last_ns) / 1e9)
            whole = np.where(spread, raw / count, raw)
            started = points.start_ns[rows]
            whole = np.where(delta & (started > 0) & (started < time_ns), raw / ((time_ns - started) / 1e9), whole)
        x = np.where(cumulative, np.where(usable, rate, np.nan), whole)
        gone = (points.flags[rows] & POINT_NO_RECORDED_VALUE > 0) | ~np.isfinite(x)
        for name, value in (("raw", raw), ("raw_n", count), ("raw_ns", np.where(gone & ~cumulative, 0, time_ns))):
            self.state_of[name][series] = value
        values: F64 = np.where(gone, np.nan, x)
        return values
