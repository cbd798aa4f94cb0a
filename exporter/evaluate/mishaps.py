"""Faults planted into synthetic days: one every so often, of every kind in turn, with calm between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from engine.records import HOUR_NS, MINUTE_NS, Batch
from engine.strings import Resources, Strings
from exporter.evaluate.columns import joined_batches, part
from exporter.evaluate.planted import HARMFUL, Kind, Planted, handed_on_from, plant_at
from exporter.evaluate.pool import trace_of_logs, traces_of
from exporter.evaluate.stretch import Stretch
from exporter.evaluate.truth import Fault

#: Minutes of each hour at which a fault begins, and how long it lasts. The first hour is calm: there is nothing to compare it with.
AT_MINUTES, LASTS_NS = (5, 35), 6 * MINUTE_NS
#: Where metrics are slow: every third hour, for half an hour, after a day.
SLOW_EVERY, SLOW_LASTS_NS, SLOW_AFTER_NS = 3, 30 * MINUTE_NS, 24 * HOUR_NS
KINDS = (Kind.SLOW, Kind.NETWORK, Kind.CUT, Kind.BUSY, Kind.SILENT)
SLOW_KINDS = (Kind.WAITING, Kind.FAILING)


@dataclass(frozen=True, slots=True)
class Mishap:
    """When a fault begins and ends, and of which kind it is."""

    start_ns: int
    end_ns: int
    kind: Kind


def mishaps(start_ns: int, hours: int, *, slow: bool) -> list[Mishap]:
    """A day's faults."""
    kinds = SLOW_KINDS if slow else KINDS
    if slow:
        times = [start_ns + hour * HOUR_NS for hour in range(SLOW_AFTER_NS // HOUR_NS, hours, SLOW_EVERY)]
    else:
        times = [start_ns + hour * HOUR_NS + minute * MINUTE_NS for hour in range(1, hours) for minute in AT_MINUTES]
    lasts_ns = SLOW_LASTS_NS if slow else LASTS_NS
    return [Mishap(time_ns, time_ns + lasts_ns, kinds[number % len(kinds)]) for number, time_ns in enumerate(times)]


def planted_hour(
    hour: Batch,
    plan: Sequence[Mishap],
    edges: Mapping[tuple[str, str], bool],
    strings: Strings,
    resources: Resources,
    rng: Generator,
) -> tuple[Batch, list[tuple[Fault, Planted]]]:
    """An hour of telemetry with its faults, and what they are. Traces that began in a fault's time go through it as a whole."""
    done = []
    for mishap in plan:
        assert hour.spans is not None
        assert hour.logs is not None
        assert hour.points is not None
        trace, starts = traces_of(hour.spans)
        during = (starts >= mishap.start_ns) & (starts < mishap.end_ns)
        spans = during[trace] if len(trace) else np.zeros(0, bool)
        of_log = trace_of_logs(hour.logs, hour.spans, trace)
        logs = (of_log >= 0) & (during[np.maximum(of_log, 0)] if len(during) else False)
        points = (hour.points.time_ns >= mishap.start_ns) & (hour.points.time_ns < mishap.end_ns)
        stretch = Stretch([part(hour, spans, logs, points)], strings, resources)
        planted = _planted(stretch, mishap.kind, edges, rng)
        if planted.kind is Kind.NOTHING:
            continue
        hour = replace(joined_batches([part(hour, ~spans, ~logs, ~points), *planted.batches]), changes=hour.changes)
        done.append((_fault(mishap, planted), planted))
    return hour, done


def _planted(stretch: Stretch, kind: Kind, edges: Mapping[tuple[str, str], bool], rng: Generator) -> Planted:
    """A harmful fault of a kind at a service that does enough for it to matter; NOTHING where none does."""
    if kind in SLOW_KINDS:
        return handed_on_from(stretch, edges, rng, HARMFUL, kind)
    called = stretch.entering & (stretch.forest.parent >= 0)
    names, visits = np.unique(stretch.service[called if kind is Kind.SILENT else stretch.entering].astype(str), return_counts=True)
    able = [name for name, count in zip(names.tolist(), visits.tolist(), strict=True) if name and count >= HARMFUL.least_visits]
    if kind is Kind.BUSY:
        busy = stretch.gauges.busy()
        able = [name for name in able if name in busy]
    if not able:
        return Planted(Kind.NOTHING, "")
    return plant_at(stretch, able[int(rng.integers(len(able)))], kind, rng, HARMFUL)


def _fault(mishap: Mishap, planted: Planted) -> Fault:
    return Fault(
        case=f"{planted.service} {planted.size:.2g}",
        kind=mishap.kind.value,
        root=planted.service,
        onset_ns=mishap.start_ns,
        given_ns=(mishap.start_ns, mishap.end_ns),
        found_from_ns=mishap.start_ns - MINUTE_NS,
        alert_ns=mishap.end_ns,
        alert_metric="",
        change=None,
    )
