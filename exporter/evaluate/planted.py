"""Faults planted into stretches of recordings where nothing happened: whoever plants them knows the cause.

Decoded batches in, batches out, chance by argument. Confidence is fitted on them (`exporter.evaluate.calibrate`), never on recorded faults.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.random import Generator

from engine.records import I64, Batch, Status
from exporter.evaluate.columns import chosen
from exporter.evaluate.held_up import Hold, Where
from exporter.evaluate.planted_points import Change, Key, busier, excess_changes, handed_on, raised, times_as_long
from exporter.evaluate.stretch import Stretch

NOTHING_SHARE = 1 / 20
SEEN_SHARE = 0.1  # of the busiest entry's requests: what comes in anywhere else is seen by nobody
LATE_ROWS = 0.3  # a fault in slow metrics begins up to this share of the stretch after its start


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a fault may be: (least, most), log-uniform. The default ones go from hardly visible to unmistakable."""

    seconds: tuple[float, float] = (0.01, 3.0)  # added to a span
    times: tuple[float, float] = (2.0, 50.0)  # or its usual duration, times this
    shares: tuple[float, float] = (0.15, 1.0)  # of the visits that go wrong
    gauge_rises: tuple[float, float] = (0.05, 0.9)  # of what is left above a gauge of utilisation
    entry_rises: tuple[float, float] = (0.1, 3.0)  # of the usual latency where users come in
    entry_failures: tuple[float, float] = (0.01, 0.5)  # of the requests there
    least_seconds: float = 0.0  # that a visit loses, however short it usually is
    least_visits: int = 1  # of an operation


ANY = Sizes()
#: What people would want to be told of: half of a service's visits and more, by a tenth of a second and more.
HARMFUL = Sizes(
    seconds=(0.3, 3.0),
    times=(5.0, 50.0),
    shares=(0.5, 1.0),
    gauge_rises=(0.4, 0.9),
    entry_rises=(0.5, 3.0),
    entry_failures=(0.05, 0.5),
    least_seconds=0.1,
    least_visits=20,
)


class Kind(StrEnum):
    """What goes wrong."""

    NOTHING = "nothing"
    SLOW = "slow"  # code takes longer
    NETWORK = "network"  # calls into the service, or out of it too, take longer than their callees
    CUT = "cut"  # code returns early, with or without an error
    BUSY = "busy"  # everything is slower by a factor, and a gauge of utilisation rises
    WAITING = "waiting"  # a component takes longer, and so does who waits for it, in seconds
    FAILING = "failing"  # a component fails, and so does who calls it, in requests
    SILENT = "silent"  # a service sends nothing any more, and who calls it fails, or notices nothing


@dataclass(frozen=True, slots=True)
class Planted:
    """What was planted. `size`: seconds or factor for what is slow, share of visits for what is cut, rise of the gauge."""

    kind: Kind
    service: str  # "": nothing
    size: float = 0.0
    batches: tuple[Batch, ...] = ()


def plant(stretch: Stretch, edges: Mapping[tuple[str, str], bool], rng: Generator) -> Planted:
    """One random fault at a random service; one time in twenty nothing at all.

    Where components count requests and report a mean latency, it is time or failures that they hand on along
    `edges`, {(caller, callee): whether the caller waits}. Where there are
    no spans otherwise, gauges of utilisation and of calls are all that can go wrong.
    """
    if rng.random() < NOTHING_SHARE:
        return Planted(Kind.NOTHING, "", batches=tuple(stretch.batches))
    if stretch.gauges.components():
        return handed_on_from(stretch, edges, rng)
    services, busy = stretch.services(), stretch.gauges.busy()
    if not services:
        return _gauges_only(stretch, rng)
    kinds = [Kind.SLOW, Kind.NETWORK, Kind.CUT, *([Kind.BUSY] if set(services) & set(busy) else [])]
    kind = kinds[int(rng.integers(len(kinds)))]
    service = str(rng.choice([name for name in services if kind is not Kind.BUSY or name in busy]))
    return plant_at(stretch, service, kind, rng)


def plant_at(stretch: Stretch, service: str, kind: Kind, rng: Generator, sizes: Sizes = ANY) -> Planted:
    """A fault of one kind at one service, in spans: slow, network, cut, busy or silent."""
    if kind is Kind.CUT:
        return _cut(stretch, service, rng, sizes)
    if kind is Kind.NETWORK:
        return _network(stretch, service, rng, sizes)
    if kind is Kind.SILENT:
        return _silent(stretch, service, rng)
    return _slow(stretch, service, kind, rng, sizes)


def _slow(stretch: Stretch, service: str, kind: Kind, rng: Generator, sizes: Sizes) -> Planted:
    """Code of one operation, or of all visits; where the pod is busy it is all of them, by a factor, and its gauge rises."""
    rows = np.flatnonzero((stretch.service == service) & stretch.entering)
    if kind is Kind.SLOW and rng.random() < 0.5:
        rows = _one_operation(stretch, np.flatnonzero(stretch.service == service), rng, sizes.least_visits)
    rows = _share(rows, rng, sizes.shares if kind is Kind.SLOW else (1.0, 1.0))
    usual = float(np.median(stretch.spans.time_ns[rows] - stretch.spans.start_ns[rows])) / 1e9
    if kind is Kind.BUSY or rng.random() < 0.5:
        size = log_uniform(rng, *sizes.times)
        delays = _scattered(max(max(usual, 1e-4) * (size - 1), sizes.least_seconds), len(rows), rng)
    else:
        size = log_uniform(rng, *sizes.seconds)
        delays = _scattered(size, len(rows), rng)
    batches = stretch.moved([Hold(int(row), Where.INSIDE, int(delay)) for row, delay in zip(rows, delays, strict=True)])
    if kind is Kind.BUSY:
        batches = raised(batches, _busier(stretch, service, log_uniform(rng, *sizes.gauge_rises), rng))
    return Planted(kind, service, size, batches)


def _network(stretch: Stretch, service: str, rng: Generator, sizes: Sizes) -> Planted:
    """Calls into a service, and half of the time those out of it too: the way there and back is longer, nobody works longer."""
    parent = stretch.forest.parent
    called = stretch.entering & (parent >= 0)
    into, out = called & (stretch.service == service), called & (stretch.service[parent] == service)
    rows = np.flatnonzero(into | (out & (rng.random() < 0.5)))
    if not len(rows):  # nobody calls it: what it calls is all there is
        rows = np.flatnonzero(out)
    size = log_uniform(rng, *sizes.seconds)
    delays = _scattered(size / 2, 2 * len(rows), rng).tolist()
    holds = [Hold(int(row), Where.BEFORE, delays.pop()) for row in rows] + [Hold(int(row), Where.AFTER, delays.pop()) for row in rows]
    return Planted(Kind.NETWORK if len(rows) else Kind.NOTHING, service if len(rows) else "", size, stretch.moved(holds))


def _cut(stretch: Stretch, service: str, rng: Generator, sizes: Sizes) -> Planted:
    """A share of the spans of one operation end before one of their own steps; half of the time with an error."""
    own = np.flatnonzero(stretch.service == service)
    steps: dict[int, list[int]] = {int(row): [] for row in own}
    for row, parent in enumerate(stretch.forest.parent.tolist()):
        if parent in steps:
            steps[parent].append(int(stretch.spans.start_ns[row]))
    for span, time_ns in zip(stretch.log_span.tolist(), stretch.logs.time_ns.tolist(), strict=True):
        if span in steps:
            steps[span].append(time_ns)
    able = np.array([row for row, times in steps.items() if times], np.int64)
    if not len(able):
        return _slow(stretch, service, Kind.SLOW, rng, sizes)
    operation = _one_operation(stretch, able, rng, sizes.least_visits)
    size, where, fails = log_uniform(rng, *sizes.shares), rng.random(), rng.random() < 0.5
    spans, logs = stretch.spans, stretch.logs
    status, gone, silent, holds = spans.status.copy(), np.zeros(len(spans.span), bool), np.zeros(len(logs.time_ns), bool), []
    for row in operation[rng.random(len(operation)) < size].tolist():
        times = sorted(steps[row])
        at_ns = times[min(int(where * len(times)), len(times) - 1)]
        below = stretch.forest.below(row)
        lost = below[(spans.start_ns[below] >= at_ns) & (below != row)]
        gone[lost] = True
        silent |= (stretch.log_span == row) & (logs.time_ns >= at_ns)
        holds.append(Hold(row, Where.INSIDE, min(0, at_ns - int(spans.time_ns[row])), int(spans.time_ns[row])))
        if fails:
            above = int(stretch.forest.parent[row])
            status[[row, *([above] if above >= 0 and rng.random() < 0.5 else [])]] = Status.ERROR
    silent |= (stretch.log_span >= 0) & gone[stretch.log_span]
    return Planted(Kind.CUT, service, size, stretch.moved(holds, keep=~gone, keep_logs=~silent, status=status))


def _silent(stretch: Stretch, service: str, rng: Generator) -> Planted:
    """Nothing comes from a service any more, nor from what it would have called; half of the time who called it fails."""
    entering = np.flatnonzero((stretch.service == service) & stretch.entering)
    gone = stretch.service == service
    for row in entering.tolist():
        gone[stretch.forest.below(row)] = True
    status = stretch.spans.status.copy()
    if rng.random() < 0.5:
        above = stretch.forest.parent[entering]
        status[above[above >= 0]] = Status.ERROR
    names = np.array([stretch.resources[code].service for code in range(len(stretch.resources))], object)
    silent = names[stretch.logs.resource] == service
    silent |= (stretch.log_span >= 0) & gone[stretch.log_span]
    batches = stretch.moved((), keep=~gone, keep_logs=~silent, status=status)
    rest = []
    for batch in batches:
        own = None if batch.points is None else names[batch.points.resource] == service
        rest.append(batch if batch.points is None or own is None else replace(batch, points=chosen(batch.points, ~own)))
    return Planted(Kind.SILENT, service, 1.0, tuple(rest))


def _gauges_only(stretch: Stretch, rng: Generator) -> Planted:
    """A gauge of utilisation of one service rises, or the latency gauges of the calls into one."""
    busy, calls = stretch.gauges.busy(), stretch.gauges.calls()
    kinds = [kind for kind, able in ((Kind.BUSY, busy), (Kind.NETWORK, calls)) if able]
    if not kinds:
        return Planted(Kind.NOTHING, "", batches=tuple(stretch.batches))
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind is Kind.BUSY:
        service, size = str(rng.choice(sorted(busy))), log_uniform(rng, *ANY.gauge_rises)
        return Planted(kind, service, size, raised(stretch.batches, _busier(stretch, service, size, rng)))
    service, size = str(rng.choice(sorted(calls))), log_uniform(rng, *ANY.times)
    return Planted(kind, service, size, raised(stretch.batches, dict.fromkeys(calls[service], times_as_long(size, rng))))


def _busier(stretch: Stretch, service: str, rise: float, rng: Generator) -> dict[Key, Change]:
    """One of the service's gauges of utilisation rises."""
    series = stretch.gauges.busy()[service]
    key, whole = series[int(rng.integers(len(series)))]
    return {key: busier(rise, whole, rng)}


def handed_on_from(
    stretch: Stretch, edges: Mapping[tuple[str, str], bool], rng: Generator, sizes: Sizes = ANY, kind: Kind | None = None
) -> Planted:
    """A component takes longer or fails, by so much that the busiest of those that it reaches and nobody calls shows a given rise.

    Args: kind: waiting or failing; None: either.
    """
    gauges, components = stretch.gauges, stretch.gauges.components()
    called = {callee for caller, callee in edges if caller != callee and caller in components}
    waiting = [edge for edge, waits in edges.items() if waits]

    def requests_of(name: str) -> float:
        return sum(gauges.values[components[name].requests].values())

    busiest = max((requests_of(name) for name in components if name not in called), default=0.0)
    failing = (rng.random() < 0.5 if kind is None else kind is Kind.FAILING) and any(one.success for one in components.values())
    for service in rng.permutation(sorted(components)).tolist():
        own = components[service]
        counts = gauges.values[own.requests]
        reached = handed_on(gauges, waiting, service, {at: 1.0 for at, count in counts.items() if count > 0})
        tops = [name for name in reached if name not in called and requests_of(name) >= SEEN_SHARE * busiest]
        if not tops or (failing and own.success is None):
            continue
        size = log_uniform(rng, *(sizes.entry_failures if failing else sizes.entry_rises))
        top = max(tops, key=requests_of)
        requests, mean = gauges.values[components[top].requests], gauges.values[components[top].mean]
        since = min(requests) + rng.uniform(0.0, LATE_ROWS) * (max(requests) - min(requests))
        excess = {}
        for at, through in reached[top].items():
            usual = requests.get(at, 0.0) * (1.0 if failing else mean.get(at, 0.0))
            if through > 0 and at >= since:
                most = counts[at] if failing else np.inf
                excess[at] = min(float(size * usual / through * rng.lognormal(0.0, 0.3)), most)
        changes = excess_changes(gauges, handed_on(gauges, waiting, service, excess), failures=failing)
        return Planted(Kind.FAILING if failing else Kind.WAITING, service, size, raised(stretch.batches, changes))
    return Planted(Kind.NOTHING, "", batches=tuple(stretch.batches))


def log_uniform(rng: Generator, least: float, most: float) -> float:
    """A size of which every order of magnitude is as likely."""
    return math.exp(rng.uniform(math.log(least), math.log(most)))


def _one_operation(stretch: Stretch, rows: I64, rng: Generator, least_visits: int = 1) -> I64:
    """Rows of one operation, each with so many rows as likely as any other; where none has, the commonest."""
    every, counts = np.unique(stretch.spans.operation[rows], return_counts=True)
    names = every[counts >= min(least_visits, int(counts.max()))]
    chosen: I64 = rows[stretch.spans.operation[rows] == names[int(rng.integers(len(names)))]]
    return chosen


def _share(rows: I64, rng: Generator, shares: tuple[float, float]) -> I64:
    """A random share of the rows, one at least."""
    kept = rows[rng.random(len(rows)) < log_uniform(rng, *shares)]
    return kept if len(kept) else rows[:1]


def _scattered(seconds: float, count: int, rng: Generator) -> I64:
    """Delays in ns about a size (sd of the logarithm .3)."""
    delays: I64 = (seconds * 1e9 * rng.lognormal(0.0, 0.3, count)).astype(np.int64)
    return delays
