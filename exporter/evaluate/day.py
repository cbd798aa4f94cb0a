"""Synthetic days: what quiet stretches hold, drawn anew in blocks and re-timed, with a load of the hours and a routine (block bootstrap).

Whole traces keep their spans, gaps and log records; only their times and ids change. Traces that began in the same 10 s are drawn
together, metrics half an hour at a time with all series, so what hangs together stays together (moving blocks: Kuensch 1989). A block of
metrics comes with each series' deviations from the block's median, on the median of all: levels do not jump where blocks meet.
Systems with slow metrics are drawn by the hour, from hours recorded at the same time of day, their traces with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from engine.records import (
    F64,
    HOUR_NS,
    I32,
    I64,
    MINUTE_NS,
    SECOND_NS,
    Batch,
    Bool,
    LinkColumns,
    LogColumns,
    PointColumns,
    PointType,
    SpanColumns,
    series_attributes,
    series_text,
)
from engine.strings import Resources, Strings
from exporter.evaluate.columns import before, chosen, joined, joined_batches
from exporter.evaluate.pool import SLOT_NS, Pool, mixed
from exporter.evaluate.routine import Routine

METRICS_BLOCK_NS = 30 * MINUTE_NS
#: Gauges that go with the load: what is used or done a second. Levels (memory), latencies and what a host shows as a whole do not.
FOLLOWS_LOAD = re.compile("cpu|network|call|work|request|syscall|disk|io", re.IGNORECASE)
FOLLOWS_NOT = re.compile("latency|duration|node|host|memory", re.IGNORECASE)
SCATTER = 0.03  # sd of the logarithm between the instances of one service


@dataclass(slots=True)
class Day:
    """Draws telemetry an hour at a time. Equal seeds give equal days."""

    pool: Pool
    routine: Routine
    rng: Generator
    traces_a_second: float

    def hour(self, start_ns: int) -> Batch:
        """Telemetry of [start, start + 1 h), spans and records trace by trace."""
        copies, starts = self._slow_arrivals(start_ns) if self.pool.slow else self._arrivals(start_ns)
        spans, logs, links = self._traces(copies, starts)
        end_ns = start_ns + HOUR_NS
        step_ns = HOUR_NS if self.pool.slow else self._metrics_block_ns()
        points = joined([self._metrics(at, min(step_ns, end_ns - at)) for at in range(start_ns, end_ns, step_ns)], PointColumns)
        changes = tuple(change for change in self.routine.changes if start_ns <= change.time_ns < end_ns)
        return Batch(spans=spans, logs=logs, points=points, links=links, changes=changes)

    def _metrics_block_ns(self) -> int:
        """Half an hour, or as many whole minutes as the longest quiet stretch has."""
        longest = max((end - start for start, end in self.pool.stretches), default=0)
        return max(MINUTE_NS, min(METRICS_BLOCK_NS, longest // MINUTE_NS * MINUTE_NS))

    def _arrivals(self, start_ns: int) -> tuple[I64, I64]:
        """Trace numbers and start times: blocks in random order, as many traces of each 10 s as Poisson says."""
        rng, pool = self.rng, self.pool
        if not pool.blocks or not self.traces_a_second:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        kinds = pool.spans.operation[pool.first_span[:-1]]
        job = int(np.bincount(kinds).argmax())  # the commonest first operation: what the nightly job does
        common = np.flatnonzero(kinds == job)
        copies, starts = [], []
        for at_ns in range(start_ns, start_ns + HOUR_NS, SLOT_NS):
            wanted = int(rng.poisson(self.traces_a_second * SLOT_NS / SECOND_NS * self.routine.load(at_ns)))
            drawn: list[int] = []
            while len(drawn) < wanted:
                drawn += rng.permutation(pool.blocks[int(rng.integers(len(pool.blocks)))]).tolist()
            usual = self.traces_a_second * SLOT_NS / SECOND_NS * len(common) / len(kinds)
            more = rng.choice(common, int(rng.poisson(usual * self.routine.job(at_ns))))
            copies.append(np.r_[np.array(drawn[:wanted], np.int64), more])
            starts.append(np.sort(rng.integers(at_ns, at_ns + SLOT_NS, len(copies[-1]))))
        return np.concatenate(copies), np.concatenate(starts)

    def _slow_arrivals(self, start_ns: int) -> tuple[I64, I64]:
        """The traces of an hour recorded at the same time of day, at their own times."""
        hour = self._same_hour(start_ns)
        own = np.flatnonzero((self.pool.start_ns >= hour) & (self.pool.start_ns < hour + HOUR_NS))
        own = own[np.argsort(self.pool.start_ns[own], kind="stable")]
        return own, self.pool.start_ns[own] - hour + start_ns

    def _same_hour(self, start_ns: int) -> int:
        """Start of a recorded hour, at most an hour off by the clock where there is one, the same each time it is asked."""
        hours = self.pool.hours
        near = [hour for hour in hours if (hour - start_ns // HOUR_NS + 1) % 24 <= 2] or hours
        return near[int(np.random.default_rng(start_ns // HOUR_NS).integers(len(near)))] * HOUR_NS

    def _traces(self, copies: I64, starts: I64) -> tuple[SpanColumns, LogColumns, LinkColumns]:
        """The rows of each drawn trace with new times, ids and resources."""
        pool, fleet = self.pool, self.routine.fleet
        lot = self.rng.integers(1, 1 << 63, len(copies), np.uint64)
        rows, of = ragged(pool.first_span, copies)
        by, shift = lot[of], (starts - pool.start_ns[copies])[of]
        spans = chosen(pool.spans, rows)
        start_ns = spans.start_ns + shift
        spans = replace(
            spans,
            time_ns=spans.time_ns + shift,
            start_ns=start_ns,
            trace_hi=mixed(spans.trace_hi, by),
            trace_lo=spans.trace_lo ^ by,
            span=spans.span ^ by,
            parent=mixed(spans.parent, by),
            resource=fleet.of(spans.resource, start_ns, by),
        )
        log_rows, log_of = ragged(pool.first_log, copies)
        log_by, log_shift = lot[log_of], (starts - pool.start_ns[copies])[log_of]
        logs = chosen(pool.logs, log_rows)
        log_ns = logs.time_ns + log_shift
        logs = replace(
            logs,
            time_ns=log_ns,
            trace_hi=mixed(logs.trace_hi, log_by),
            trace_lo=logs.trace_lo ^ log_by,
            span=mixed(logs.span, log_by),
            resource=fleet.of(logs.resource, log_ns, log_by),
        )
        return spans, logs, self._links(copies, lot)

    def _links(self, copies: I64, lot: I64) -> LinkColumns:
        """Links inside the drawn traces."""
        pool = self.pool
        place = np.searchsorted(pool.first_span, pool.links.row, side="right") - 1  # trace of each link
        first_of_copy = np.r_[0, np.cumsum(np.diff(pool.first_span)[copies])]
        parts = []
        for number in np.flatnonzero(np.isin(copies, place)).tolist():
            own = chosen(pool.links, place == copies[number])
            by = np.full(len(own.row), lot[number], np.uint64)
            row = own.row - pool.first_span[copies[number]] + first_of_copy[number]
            parts.append(LinkColumns(row, mixed(own.trace_hi, by), own.trace_lo ^ by, mixed(own.span, by)))
        return joined(parts, LinkColumns)

    def _metrics(self, start_ns: int, length_ns: int) -> PointColumns:
        """A block of metrics from a random quiet time, at the level and with the load of its new time, for all instances that run."""
        pool = self.pool
        if not len(pool.points.time_ns):
            return pool.points
        if pool.slow:
            from_ns = self._same_hour(start_ns)
        else:
            room = np.array([max(0, end - start - length_ns + 1) for start, end in pool.stretches], np.float64)
            stretch = int(self.rng.choice(len(room), p=room / room.sum()))
            from_ns = pool.stretches[stretch][0] + int(self.rng.integers(int(room[stretch]))) // MINUTE_NS * MINUTE_NS
        a, b = np.searchsorted(pool.points.time_ns, [from_ns, from_ns + length_ns])
        points = chosen(pool.points, np.arange(a, b))
        value = points.value if pool.slow else self._on_level(points)
        points = replace(points, time_ns=points.time_ns - from_ns + start_ns, value=value)
        follows = np.isin(points.metric, self._load_metrics()) | (points.type == PointType.SUM)
        load = np.array([self.routine.load(time_ns) for time_ns in points.time_ns.tolist()])
        points = replace(points, value=np.where(follows & (not pool.slow), self._capped(points, points.value * load), points.value))
        return self._on_instances(points, follows)

    def _on_level(self, points: PointColumns) -> F64:
        """Values moved by the difference of each series' medians, in all of the pool and in the block; never below zero if it was not."""
        whole, here = _medians(self.pool.points), _medians(points)
        shift = np.array([whole[code] - here[code] for code in points.series.tolist()])
        moved = points.value + shift
        level: F64 = np.where(points.value >= 0, np.maximum(moved, 0.0), moved)
        return level

    def _load_metrics(self) -> list[int]:
        names = {code: self.pool.strings.text("value", code) for code in np.unique(self.pool.points.metric).tolist()}
        return [code for code, name in names.items() if FOLLOWS_LOAD.search(name) and not FOLLOWS_NOT.search(name)]

    def _capped(self, points: PointColumns, value: F64) -> F64:
        """Shares of a whole stay below it."""
        percent = self.pool.strings.intern("value", "%")
        capped: F64 = np.where(points.unit == percent, np.minimum(value, np.maximum(points.value, 98.0)), value)
        return capped

    def _on_instances(self, points: PointColumns, follows: Bool) -> PointColumns:
        """Points of a service that runs as another instance, or as several: what goes with the load is shared by them."""
        fleet, parts = self.routine.fleet, []
        still = np.ones(len(points.time_ns), bool)
        for code, periods in fleet.since.items():
            own = np.flatnonzero(points.resource == code)
            at = np.searchsorted([since_ns for since_ns, _ in periods], points.time_ns[own], side="right") - 1
            for number, (_, instances) in enumerate(periods):
                rows = own[at == number]
                still[rows] = False
                for instance in instances if len(rows) else ():
                    part = chosen(points, rows)
                    scatter = self.rng.lognormal(0.0, SCATTER, len(rows)) if len(instances) > 1 else 1.0
                    share = np.where(follows[rows], 1 / len(instances), 1.0) * scatter
                    series = renamed(part, instance, self.pool.strings)
                    resource = np.full(len(rows), instance, np.int32)
                    parts.append(replace(part, resource=resource, series=series, value=part.value * share))
        return joined([chosen(points, still), *parts], PointColumns)


def ragged(first: I64, numbers: I64) -> tuple[I64, I64]:
    """Rows first[i] ... first[i + 1] - 1 of each number i in turn, and for each row which of the numbers it belongs to.

    >>> [each.tolist() for each in ragged(np.array([0, 2, 3]), np.array([1, 0, 0]))]
    [[2, 0, 1, 0, 1], [0, 1, 1, 2, 2]]
    """
    sizes = np.diff(first)[numbers]
    of = np.repeat(np.arange(len(numbers)), sizes)
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return first[numbers][of] + within, of


def renamed(points: PointColumns, resource: int, strings: Strings) -> I32:
    """Series codes as they are for another resource."""
    codes = {}
    for code, metric in {(int(s), int(m)) for s, m in zip(points.series, points.metric, strict=True)}:
        attributes = series_attributes(strings.text("series", code))
        codes[code] = strings.intern("series", series_text(resource, strings.text("value", metric), attributes))
    return np.array([codes[code] for code in points.series.tolist()], np.int32)


def cut(hour: Batch, carried: Batch | None, start_ns: int, end_ns: int) -> tuple[list[Batch], Batch]:
    """What ends in [start, end) in batches of 10 s, and what ends later."""
    rest = joined_batches([carried, hour] if carried is not None else [hour])
    found = []
    now, later = before(rest, end_ns)
    for at_ns in range(start_ns + SLOT_NS, end_ns + 1, SLOT_NS):
        batch, now = before(now, at_ns)
        found.append(batch)
    return found, later


def batches(hours: Iterator[tuple[int, Batch]]) -> Iterator[Batch]:
    """Hours one after the other, in batches of 10 s in order of time; the last ones may end after their hour."""
    carried: Batch | None = None
    for start_ns, hour in hours:
        found, carried = cut(hour, carried, start_ns, start_ns + HOUR_NS)
        yield from found


def codes_of(pool: Pool) -> Sequence[int]:
    """First resources of the services that send spans, or metrics where nobody sends spans."""
    columns = pool.points.resource if pool.slow or not len(pool.spans.time_ns) else pool.spans.resource
    resources: Resources = pool.resources
    return [code for code in np.unique(columns).tolist() if resources[code].service]


def _medians(points: PointColumns) -> dict[int, float]:
    order = np.lexsort((points.value, points.series))
    codes, first, counts = np.unique(points.series[order], return_index=True, return_counts=True)
    values = points.value[order][first + counts // 2]
    return dict(zip(codes.tolist(), values.tolist(), strict=True))
