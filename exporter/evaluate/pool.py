"""What the quiet stretches of a system's recordings hold: whole traces with their log records, and metrics by minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.records import HOUR_NS, I32, I64, MINUTE_NS, SECOND_NS, U64, Batch, Bool, LinkColumns, LogColumns, PointColumns, SpanColumns
from engine.strings import Resources, Strings
from exporter.decode.json import decode_json
from exporter.evaluate.columns import chosen, joined, joined_batches, part
from exporter.evaluate.planted import HARMFUL, SEEN_SHARE
from exporter.evaluate.planted_points import Gauges
from exporter.evaluate.truth import Quiet, Truth
from exporter.recording import RecordingError, lines, span_of_time

#: A trace counts if it began this long before its stretch ended: then all of it was recorded in the stretch.
WHOLE_NS = 10 * SECOND_NS
#: The end of a stretch before a fault is left out: the fault may have begun sooner than was noted.
BEFORE_NS = 15 * SECOND_NS
#: And all of it from the first 10 s on in which that fault's root takes so many times as long as it does elsewhere.
BEGUN_TIMES = 3.0
#: Traces that began in the same slot stay together.
SLOT_NS = 10 * SECOND_NS
#: Metrics that come more rarely than this are slow: their normal period is a matter of days.
SLOW_NS = 3 * MINUTE_NS
VERSION = "1.0.0"  # of every service, at first


@dataclass(frozen=True, slots=True)
class Pool:
    """Quiet telemetry to draw from. Rows of spans (logs) first_span[i]:first_span[i + 1] (first_log...) belong to trace i."""

    system: str
    strings: Strings
    resources: Resources
    spans: SpanColumns
    logs: LogColumns
    links: LinkColumns
    first_span: I64  # [traces + 1]
    first_log: I64  # [traces + 1]
    start_ns: I64  # [traces] of the first span
    blocks: tuple[I64, ...]  # traces that began in the same 10 s (slow systems: hour)
    points: PointColumns  # by time
    stretches: tuple[tuple[int, int], ...]  # from which the points are, ns
    slow: bool
    hours: tuple[int, ...]  # slow: whole hours recorded (ns / 1 h) in which nothing failed
    origin: str  # the recordings, and how much of them was quiet

    @property
    def traces_a_second(self) -> float:
        """Of the quiet stretches that hold traces."""
        return len(self.start_ns) / max(1, len(self.blocks)) / (SLOT_NS / SECOND_NS)


def read(truths: Sequence[Truth]) -> Pool:
    """The pool of one system's recordings: traces of all of them, metrics of the one with the longest quiet.

    Raises: RecordingError as `lines`, and if the quiet stretches hold neither, or less than a minute (an hour, where they are slow).
    """
    strings, resources = Strings(), Resources()
    longest = max(truths, key=lambda truth: sum(one.end_ns - one.start_ns for one in truth.quiet))
    kept: list[Batch] = []
    points: list[PointColumns] = []
    stretches = union(longest.quiet)
    for truth in truths:
        quiet = union(truth.quiet)
        if not quiet:
            continue
        for line in lines(truth.recording):
            batch = decode_json(line, strings, resources)
            times = span_of_time(batch)
            if times is None:
                continue
            if times[0] > quiet[-1][1]:
                break
            line_batch = joined_batches([batch])
            assert line_batch.spans is not None
            assert line_batch.logs is not None
            assert line_batch.points is not None
            of_spans = inside(line_batch.spans.time_ns, quiet) & inside(line_batch.spans.start_ns, quiet)
            now = part(line_batch, of_spans, inside(line_batch.logs.time_ns, quiet), np.zeros(len(line_batch.points.time_ns), bool))
            kept.append(now)
            if truth is longest:
                points.append(chosen(line_batch.points, inside(line_batch.points.time_ns, stretches)))
    everything = joined_batches(kept)
    metrics = joined(points, PointColumns)
    metrics = chosen(metrics, np.argsort(metrics.time_ns, kind="stable"))
    slow = _step_ns(metrics) >= SLOW_NS
    whole, metrics = _one_instance(everything, metrics, resources)
    assert whole.spans is not None
    assert whole.logs is not None
    assert whole.links is not None
    if not len(whole.spans.time_ns) and not len(metrics.time_ns):
        raise RecordingError(f"{longest.recording}: its quiet stretches hold neither spans nor metrics")
    if max(end - start for start, end in stretches) < (2 * HOUR_NS if slow else MINUTE_NS):
        raise RecordingError(f"{longest.recording}: its quiet stretches are too short to draw from")
    trace, starts = traces_of(whole.spans)
    intervals = tuple(stretch for truth in truths for stretch in union(truth.quiet))
    complete = np.array([any(a <= start < b - (0 if slow else WHOLE_NS) for a, b in intervals) for start in starts.tolist()], bool)
    for one in (one for truth in truths for one in truth.quiet if one.before):
        complete &= ~((starts >= begun_ns(whole.spans, resources, one)) & (starts < one.end_ns))
    spans, first_span, links = _by_trace(whole.spans, whole.links, trace, complete)
    log_trace = trace_of_logs(whole.logs, whole.spans, trace)
    logs, first_log = _logs_by_trace(whole.logs, log_trace, complete)
    start_ns = starts[complete]
    slots = start_ns // (HOUR_NS if slow else SLOT_NS)
    order = np.argsort(slots, kind="stable")
    blocks = np.split(order, np.flatnonzero(np.diff(slots[order])) + 1) if len(order) else []
    minutes = sum(end - start for start, end in stretches) // MINUTE_NS
    return Pool(
        system=truths[0].system,
        strings=strings,
        resources=resources,
        spans=spans,
        logs=logs,
        links=links,
        first_span=first_span,
        first_log=first_log,
        start_ns=start_ns,
        blocks=tuple(blocks),
        points=metrics,
        stretches=tuple(stretches),
        slow=slow,
        hours=tuple(whole_hours(stretches, failing_ns(metrics, strings, resources))) if slow else (),
        origin=f"{len(start_ns)} traces ({len(spans.time_ns)} spans, {len(logs.time_ns)} log records), {minutes} minutes of metrics",
    )


def union(quiet: Sequence[Quiet]) -> list[tuple[int, int]]:
    """Quiet stretches as disjoint intervals in ns; what comes right before a fault loses its end."""
    found: list[tuple[int, int]] = []
    for one in sorted(quiet):
        start_ns, end_ns = one.start_ns, one.end_ns - (BEFORE_NS if one.before else 0)
        if found and start_ns <= found[-1][1]:
            found[-1] = found[-1][0], max(end_ns, found[-1][1])
        elif start_ns < end_ns:
            found.append((start_ns, end_ns))
    return found


def inside(time_ns: I64, intervals: Sequence[tuple[int, int]]) -> Bool:
    """Which times lie in one of the intervals, their ends left out."""
    found = np.zeros(len(time_ns), bool)
    for start_ns, end_ns in intervals:
        found |= (time_ns >= start_ns) & (time_ns < end_ns)
    return found


def failing_ns(points: PointColumns, strings: Strings, resources: Resources) -> set[int]:
    """Times (ns) at which as many requests failed as is called harmful where it is planted: no quiet, whatever the truth says.

    Of components with at least a tenth of the busiest one's requests: usual (median) share that succeeded - share >= .05.
    """
    gauges = Gauges([Batch(points=points)], strings, resources)
    components = gauges.components()
    requests = {name: sum(gauges.values[one.requests].values()) for name, one in components.items()}
    found: set[int] = set()
    for name, one in components.items():
        if one.success is None or requests[name] < SEEN_SHARE * max(requests.values()):
            continue
        share, least = gauges.values[one.success], HARMFUL.entry_failures[0] * gauges.whole(one.success)
        usual = float(np.median(list(share.values())))
        found |= {round(seconds * SECOND_NS) for seconds, value in share.items() if usual - value >= least}
    return found


def whole_hours(stretches: Sequence[tuple[int, int]], failing: set[int]) -> list[int]:
    """Hours (since 1970) that lie in a stretch and hold no time at which requests failed. All of them where none is without."""
    hours = [hour for start_ns, end_ns in stretches for hour in range(-(-start_ns // HOUR_NS), end_ns // HOUR_NS)]
    broken = {(time_ns - 1) // HOUR_NS for time_ns in failing} | {time_ns // HOUR_NS for time_ns in failing}
    return [hour for hour in hours if hour not in broken] or hours


def begun_ns(spans: SpanColumns, resources: Resources, quiet: Quiet) -> int:
    """When the fault that follows a stretch can be seen in it: the first 10 s with a mean duration at its root of 3 times the usual one
    (the median of all 10 s that were recorded); the end of the stretch if it cannot."""
    roots = [code for code in range(len(resources)) if resources[code].service == quiet.before]
    own = np.flatnonzero(np.isin(spans.resource, roots))
    slots, at = np.unique(spans.start_ns[own] // SLOT_NS, return_inverse=True)
    if not len(slots):
        return quiet.end_ns
    mean = np.bincount(at.reshape(-1), (spans.time_ns - spans.start_ns)[own]) / np.bincount(at.reshape(-1))
    here = (slots >= quiet.start_ns // SLOT_NS) & (slots * SLOT_NS < quiet.end_ns) & (mean > BEGUN_TIMES * np.median(mean))
    return int(slots[here][0]) * SLOT_NS if here.any() else quiet.end_ns


def traces_of(spans: SpanColumns) -> tuple[I64, I64]:
    """Number of each span's trace, and each trace's first start in ns."""
    ids = np.empty(len(spans.time_ns), [("hi", np.uint64), ("lo", np.uint64)])
    ids["hi"], ids["lo"] = spans.trace_hi, spans.trace_lo
    distinct, trace = np.unique(ids, return_inverse=True)
    starts = np.full(len(distinct), np.iinfo(np.int64).max)
    trace = trace.reshape(-1).astype(np.int64)
    np.minimum.at(starts, trace, spans.start_ns)
    return trace, starts


def _by_trace(spans: SpanColumns, links: LinkColumns, trace: I64, keep: Bool) -> tuple[SpanColumns, I64, LinkColumns]:
    """Spans of the traces that are kept, trace by trace; links between spans of one trace stay."""
    rows = np.flatnonzero(keep[trace])
    order = rows[np.argsort(trace[rows], kind="stable")]
    number = np.cumsum(keep) - 1
    first = np.searchsorted(number[trace[order]], np.arange(int(keep.sum()) + 1))
    place = np.full(len(spans.time_ns), -1, np.int64)
    place[order] = np.arange(len(order))
    same = (place[links.row] >= 0) & (links.trace_lo == spans.trace_lo[links.row]) & (links.trace_hi == spans.trace_hi[links.row])
    inner = chosen(links, same)
    return chosen(spans, order), first.astype(np.int64), replace(inner, row=place[inner.row])


def trace_of_logs(logs: LogColumns, spans: SpanColumns, trace: I64) -> I64:
    """Number of each log record's trace, -1 where it has none or no span of it was kept."""
    number = dict(zip(zip(spans.trace_hi.tolist(), spans.trace_lo.tolist(), strict=True), trace.tolist(), strict=True))
    return np.array([number.get(key, -1) for key in zip(logs.trace_hi.tolist(), logs.trace_lo.tolist(), strict=True)], np.int64).reshape(-1)


def _logs_by_trace(logs: LogColumns, trace: I64, keep: Bool) -> tuple[LogColumns, I64]:
    rows = np.flatnonzero((trace >= 0) & keep[np.maximum(trace, 0)]) if len(keep) else np.zeros(0, np.int64)
    order = rows[np.argsort(trace[rows], kind="stable")]
    number = np.cumsum(keep) - 1
    first = np.searchsorted(number[trace[order]], np.arange(int(keep.sum()) + 1))
    return chosen(logs, order), first.astype(np.int64)


def _one_instance(whole: Batch, points: PointColumns, resources: Resources) -> tuple[Batch, PointColumns]:
    """Every service's telemetry on one resource, that of its metrics where there is one, and with a version: what is replaced when it
    is deployed. Pods of other days, and resources without an instance, join it."""
    assert whole.spans is not None
    assert whole.logs is not None
    home: dict[str, int] = {}
    for columns in (points, whole.spans, whole.logs):
        for with_instance in (True, False):
            for code in np.unique(columns.resource).tolist():
                if resources[code].service and bool(resources[code].instance) is with_instance:
                    home.setdefault(resources[code].service, code)
    at_home = {service: resources.intern(resources[code]._replace(version=VERSION)) for service, code in home.items()}

    def moved(column: I32, only_instances: bool) -> I32:
        table = np.arange(len(resources), dtype=np.int32)
        for code in np.unique(column).tolist():
            service = resources[code].service
            if service and (resources[code].instance or not only_instances):
                table[code] = at_home[service]
        return table[column]

    spans = replace(whole.spans, resource=moved(whole.spans.resource, False))
    logs = replace(whole.logs, resource=moved(whole.logs.resource, False))
    return replace(whole, spans=spans, logs=logs), replace(points, resource=moved(points.resource, True))


def _step_ns(points: PointColumns) -> float:
    """Usual time between two reports of the metrics."""
    times = np.unique(points.time_ns // MINUTE_NS)
    return float(np.median(np.diff(times))) * MINUTE_NS if len(times) > 1 else 0.0


def mixed(values: U64, by: U64) -> U64:
    """Ids that differ from copy to copy; 0 (none) stays 0."""
    return np.where(values > 0, values ^ by, np.uint64(0))
