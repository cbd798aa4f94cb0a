"""Metric data points of every OTLP type to PointColumns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from engine.records import F64, POINT_MONOTONIC, POINT_NO_RECORDED_VALUE, PointColumns, PointType, Temporality, series_text
from engine.strings import StringTable
from exporter.decode.buckets import explicit
from exporter.decode.drops import Drop

BOUNDS_CAP = 512  # explicit bounds a histogram, quantiles a summary
NAN = float("nan")


class PointRows:
    """Metric data points of one export."""

    def __init__(self, strings: StringTable, dropped: Counter[str]) -> None:
        self.strings = strings
        self.dropped = dropped
        self.rows: list[tuple[int | float, ...]] = []
        self.counts: list[float] = []
        self.counts_at: list[int] = [0]
        self.bounds: dict[tuple[float, ...], int] = {}
        self.metric = (0, 0, 0, 0, 0)
        self.name = ""

    def start_metric(self, name: str, unit: str, point_type: PointType, temporality: int, monotonic: bool) -> None:
        """The metric that the points added from now on belong to."""
        if not 0 <= temporality <= Temporality.CUMULATIVE:
            temporality = Temporality.UNSPECIFIED
        intern = self.strings.intern
        flags = POINT_MONOTONIC if monotonic else 0
        self.metric = intern("value", name), intern("value", unit) if unit else 0, int(point_type), temporality, flags
        self.name = name

    def add(
        self,
        resource: int,
        attributes: tuple[tuple[str, str], ...],
        times_ns: tuple[int, int],
        no_value: bool,
        value: float,
        total: float = NAN,
        count: int = 0,
        bounds: Sequence[float] = (),
        counts: Sequence[float] = (),
    ) -> None:
        """Take a point; `attributes` sorted by key, `times_ns` start and time."""
        start_ns, time_ns = times_ns
        if time_ns <= 0:
            self.dropped[Drop.NO_TIME] += 1
            return
        metric, unit, point_type, temporality, flags = self.metric
        if no_value:
            flags |= POINT_NO_RECORDED_VALUE
            value, total, count, bounds, counts = NAN, NAN, 0, (), ()
        row = -1
        if bounds or counts:
            row = self.bounds.setdefault(tuple(bounds), len(self.bounds))
            self.counts += counts
        self.counts_at.append(len(self.counts))
        series = self.strings.intern("series", series_text(resource, self.name, attributes))
        self.rows.append((time_ns, resource, series, metric, unit, point_type, temporality, flags, start_ns, value, total, count, row))

    def add_histogram(
        self,
        resource: int,
        attributes: tuple[tuple[str, str], ...],
        times_ns: tuple[int, int],
        no_value: bool,
        total: float,
        count: int,
        bounds: Sequence[float],
        counts: Sequence[int],
    ) -> None:
        """Take an explicit histogram: one bucket more than bounds, or neither."""
        if not no_value and not (
            len(counts) == (len(bounds) + 1 if bounds or counts else 0) and len(bounds) <= BOUNDS_CAP and increasing(bounds)
        ):
            self.dropped[Drop.SHAPE] += 1
            return
        self.add(resource, attributes, times_ns, no_value, NAN, total, count, bounds, [float(each) for each in counts])

    def add_exponential(
        self,
        resource: int,
        attributes: tuple[tuple[str, str], ...],
        times_ns: tuple[int, int],
        no_value: bool,
        total: float,
        count: int,
        scale: int,
        zero: tuple[int, float],
        positive: tuple[int, Sequence[int]],
        negative: tuple[int, Sequence[int]],
    ) -> None:
        """Take an exponential histogram, written out."""
        try:
            bounds, counts = ([], []) if no_value else explicit(scale, zero[0], zero[1], positive, negative)
        except ValueError:
            self.dropped[Drop.SHAPE] += 1
            return
        self.add(resource, attributes, times_ns, no_value, NAN, total, count, bounds, counts)

    def add_summary(
        self,
        resource: int,
        attributes: tuple[tuple[str, str], ...],
        times_ns: tuple[int, int],
        no_value: bool,
        total: float,
        count: int,
        quantiles: Sequence[tuple[float, float]],
    ) -> None:
        """Take a summary: quantiles as bounds, their values as counts."""
        bounds = [quantile for quantile, _ in quantiles]
        if len(bounds) > BOUNDS_CAP or not increasing(bounds):
            self.dropped[Drop.SHAPE] += 1
            return
        self.add(resource, attributes, times_ns, no_value, NAN, total, count, bounds, [value for _, value in quantiles])

    def columns(self) -> PointColumns | None:
        """The points, None for none."""
        if not self.rows:
            return None
        time, resource, series, metric, unit, kind, temporality, flags, start, value, total, count, row = zip(*self.rows, strict=True)
        return PointColumns(
            time_ns=np.array(time, np.int64),
            resource=np.array(resource, np.int32),
            series=np.array(series, np.int32),
            metric=np.array(metric, np.int32),
            unit=np.array(unit, np.int32),
            type=np.array(kind, np.uint8),
            temporality=np.array(temporality, np.uint8),
            flags=np.array(flags, np.uint8),
            start_ns=np.array(start, np.int64),
            value=np.array(value, np.float64),
            sum=np.array(total, np.float64),
            count=np.array(count, np.uint64),
            counts_at=np.array(self.counts_at, np.int64),
            counts=np.array(self.counts, np.float64),
            bounds=np.array(row, np.int32),
        )

    def all_bounds(self) -> tuple[F64, ...]:
        """Rows of Batch.bounds."""
        return tuple(np.array(bounds, np.float64) for bounds in self.bounds)


def increasing(bounds: Sequence[float]) -> bool:
    """Whether each bound is above the one before; not so where one is NaN."""
    return all(left < right for left, right in pairwise(bounds)) and (not bounds or bounds[0] == bounds[0])
