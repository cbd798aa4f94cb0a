"""When it began, and where: series that depart, warnings never seen before, failed spans; walked back from the window to the onset.

T0 = earliest sign of the chain of signs that reaches the window over gaps of at most 15 min
R(s) = exp(-(onset(s) - T0) / 900 s), times .35 where a callee of s is sick itself
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from engine.judge.attribution.series import BACKLOG, FILLS, SERVED, arrivals, series_kind
from engine.records import F64, I64, MINUTE_NS, SECOND_NS, TopologyEdge
from engine.take.points import SeriesStore

GAP_NS: Final = 15 * MINUTE_NS
BACK_NS: Final = 120 * MINUTE_NS  # the walk goes back no further
FADE_SECONDS: Final = 900.0
CALLEE_SICK: Final = 0.35
FLOOD_RATIO: Final = 1.5
STARVED_RATIO: Final = 0.67
RISE_MOST: Final = 240  # points that a slow rise is followed back
TOGETHER_NS: Final = 2 * MINUTE_NS
HISTORY_LEAST: Final = 12
QUIET_NS: Final = 20 * MINUTE_NS  # before the window, that are not history yet: onsets come before alerts
DEPART_Z: Final = 5.0
STAY_Z: Final = 4.0
LEAST_SHARE: Final = 0.05  # of the median: the least scale
LEAST_SHARE_SLOW: Final = 0.1


class Sign(NamedTuple):
    """Something that is not as usual, from `time_ns` on."""

    time_ns: int
    service: str
    kind: str  # errors, saturation, latency, requests, drive (more of what it starts itself), other
    what: str


@dataclass(frozen=True, slots=True)
class Departure:
    """A series that left its usual level. `z` is signed, at its largest."""

    service: str
    metric: str
    kind: str
    time_ns: int
    z: float
    old: float
    new: float
    before_ns: int  # last point at the old level; where a slow rise began
    until_ns: int = 0  # last point that is loud


def departures(store: SeriesStore, start_ns: int, end_ns: int, back_ns: int) -> list[Departure]:
    """Series that depart within [start - BACK, end], each at its earliest departure that has no pause of 15 min behind it.

        |z| > 5 at a point and > 4 at three of the four from there;  z = (x - median) / max(1.48 MAD, 5 % of |median|, q90 / 1.645)

    Median, MAD and q90 (of distances from the median) over the points from `back_ns` to 20 minutes before start.
    """
    row, time_ns, value = store.history(None, start_ns - back_ns, end_ns)
    found = []
    first_of = np.flatnonzero(np.diff(row, prepend=-1))  # history comes by row
    for begin, end in pairwise([*first_of.tolist(), len(row)]):
        at = slice(begin, end)
        key = store.keys[int(row[begin])]
        if not key.service or not key.metric:
            continue
        departure = departure_of(time_ns[at], value[at], start_ns, slow=bool(FILLS.search(key.metric)))
        if departure is not None:
            first, last, z, old, new = departure
            when, before = int(time_ns[at][first]), int(time_ns[at][rise_of(value[at], first, old)])
            until = int(time_ns[at][last])
            found.append(Departure(key.service, key.metric, series_kind(key.metric), when, z, old, new, before, until))
    return sorted(found, key=lambda each: (each.time_ns, each.service, each.metric))


Found = tuple[int, int, float, float, float]


def departure_of(time_ns: I64, value: F64, start_ns: int, *, slow: bool = False) -> Found | None:
    """Index of the first and of the last loud point, z, old and new level of a series' departure; None where it keeps its level.

    What is `slow` may have begun to fill up long ago: the older half of its history is what is usual, and half as much again departs.
    """
    usual = value[time_ns < start_ns - QUIET_NS]
    early = len(usual) >= HISTORY_LEAST
    usual = usual if early else value[time_ns < start_ns]
    if len(usual) < HISTORY_LEAST:
        return None
    if slow and early and len(usual) >= 2 * HISTORY_LEAST:
        found = _departure(time_ns, value, start_ns, _usual(usual[: len(usual) // 2], LEAST_SHARE_SLOW, early=early))
        if found is not None:
            return found
    return _departure(time_ns, value, start_ns, _usual(usual, LEAST_SHARE, early=early))


def _usual(usual: F64, least: float, *, early: bool) -> tuple[float, float]:
    """Level and scale of a history."""
    median = _quantile(np.sort(usual), 0.5)
    distance = np.sort(np.abs(usual - median))
    # a history that ends where the window begins may hold the departure itself: its tail is no measure of what is usual
    tail = _quantile(distance, 0.9) / 1.645 if early else 0.0
    middle = _quantile(distance, 0.5)
    scale = max(1.4826 * middle, least * abs(median), tail)
    if middle == 0 and scale > least * abs(median):
        # nearly constant: the few odd points may be the departure itself
        scale = max(least * abs(median), _quantile(distance[distance > 0], 0.5) / 20)
    return median, max(scale, 1e-9)


def _departure(time_ns: I64, value: F64, start_ns: int, usual: tuple[float, float]) -> Found | None:
    median, scale = usual
    z = (value - median) / scale
    loud, high = np.abs(z) > DEPART_Z, np.abs(z) > STAY_Z
    stays = np.convolve(high, np.ones(4, int))[3:] >= 3 if len(z) >= 4 else np.zeros(len(z), bool)
    stays = np.append(stays, np.zeros(max(0, len(z) - len(stays)), bool))[: len(z)]
    # the last points have fewer than three behind them: all of them must stay
    for at in range(max(0, len(z) - 3), len(z)):
        stays[at] = bool(high[at:].all()) and len(z) - at >= 2
    begins = np.flatnonzero(loud & stays & (time_ns >= start_ns - BACK_NS))
    if not len(begins):
        return None
    first = len(begins) - 1
    while first and time_ns[begins[first]] - time_ns[begins[first - 1]] <= GAP_NS:
        first -= 1
    at = int(begins[first])
    after = value[at : at + 10]
    peak = z[at:]
    return at, int(begins[-1]), float(peak[np.argmax(np.abs(peak))]), median, _quantile(np.sort(after), 0.5)


def _quantile(ordered: F64, share: float) -> float:
    """Quantile of sorted values, straight lines between them: np.quantile, for thousands of short series."""
    place = share * (len(ordered) - 1)
    low = int(place)
    below, above = float(ordered[low]), float(ordered[min(low + 1, len(ordered) - 1)])
    return below + (above - below) * (place - low)


def rise_of(value: F64, first: int, old: float) -> int:
    """Index of the last point at the old level before a departure at `first`: of a slow rise, where it began.

    The rise begins where the mean of five points leaves the old level for good, by a fifth of what it is at `first`.
    """
    low = max(0, first - RISE_MOST)
    window = np.convolve(value[low : first + 1], np.ones(5) / 5, mode="valid")  # ends at low + 4, low + 5, ...
    gone = float(value[first]) - old
    usual = np.flatnonzero((window - old) * np.sign(gone) < 0.2 * abs(gone))
    return int(min(max(0, first - 1), low + 4 + usual[-1])) if len(usual) else max(0, first - 1)


def fills(each: Departure) -> bool:
    """Whether a series rose that fills up until something is full."""
    return each.new > each.old and bool(FILLS.search(each.metric))


def walk(signs: Iterable[Sign], start_ns: int, end_ns: int, filling: Iterable[Departure] = ()) -> int:
    """T0: from the last sign before `start_ns` (else the first one after it) back over gaps of at most 15 minutes; start without signs.

    Times in ns. A request rate alone is a sign like the others: a surge begins there. What fills up is a sign all the time: no gap ends the
    walk between where a series of `filling` departs and where it is loud last.
    """
    times = sorted({sign.time_ns for sign in signs if start_ns - BACK_NS <= sign.time_ns <= end_ns})
    if not times:
        return start_ns
    before = [time for time in times if time <= start_ns]
    if not before or start_ns - before[-1] > GAP_NS:
        after = [time for time in times if time > start_ns]
        return after[0] if after else start_ns
    slow = [(each.time_ns, each.until_ns) for each in filling]
    at = before[-1]
    while True:
        back = min((time for time in before if at - GAP_NS <= time < at), default=at)
        back = min((first for first, last in slow if start_ns - BACK_NS <= first < at <= last + GAP_NS), default=back)
        if back >= at:
            return at
        at = back


def flooded(risen: Iterable[Departure], edges: Iterable[TopologyEdge]) -> frozenset[str]:
    """Services that get at least 1.5 times their requests without their callers getting more: one of the callers asks too often.

    What a service that calls nobody counts as queries or commands came in, too.
    """
    edges = tuple(edges)
    calling = {edge.caller for edge in edges if edge.caller != edge.callee}
    ratio: dict[str, float] = {}
    for each in risen:
        served = each.service not in calling and bool(SERVED.search(each.metric))
        if each.old > 0 and (served or (each.kind == "requests" and arrivals(each.metric))):
            ratio[each.service] = max(ratio.get(each.service, 1.0), each.new / each.old)
    callers: dict[str, set[str]] = {}
    for edge in edges:
        if edge.caller != edge.callee:
            callers.setdefault(edge.callee, set()).add(edge.caller)
    return frozenset(
        service
        for service, grown in ratio.items()
        if grown >= FLOOD_RATIO and callers.get(service) and all(ratio.get(caller, 1.0) < 0.6 * grown for caller in callers[service])
    )


def starved(risen: Iterable[Departure], signs: Iterable[Sign] = ()) -> frozenset[str]:
    """Services that do less than two thirds of their usual work and are neither slow nor failing: their callers send less."""
    less: set[str] = set()
    ill = {sign.service for sign in signs if sign.kind in ("errors", "saturation")}
    for each in risen:
        if each.kind == "requests" and each.new < STARVED_RATIO * each.old:
            less.add(each.service)
        elif each.kind in ("errors", "latency", "saturation"):
            ill.add(each.service)
    return frozenset(less - ill)


def apart(signs: Iterable[Sign], edges: Iterable[TopologyEdge], onset_ns: int) -> tuple[str, ...]:
    """Services that fail or are slow within two minutes of the onset, and of which none calls, or shares a callee with, another.

    Those that call an ill service are left out: they have it from there. Sorted; fewer than two say nothing.
    """
    ill = {
        sign.service for sign in signs if sign.kind in ("errors", "latency", "saturation") and abs(sign.time_ns - onset_ns) <= TOGETHER_NS
    }
    callees: dict[str, set[str]] = {}
    for edge in edges:
        if edge.caller != edge.callee:
            callees.setdefault(edge.caller, set()).add(edge.callee)
    alone = sorted(service for service in ill if not callees.get(service, set()) & ill)
    shared = [one for one in alone for other in alone if one != other and callees.get(one, set()) & callees.get(other, set())]
    return tuple(service for service in alone if service not in shared)


def root_weights(
    signs: Sequence[Sign], edges: Iterable[TopologyEdge], onset_ns: int, overrun: frozenset[str] = frozenset()
) -> Mapping[str, float]:
    """R(s) of every service with a sign at or after the onset.

    A callee that merely gets more requests is not sick, and one that falls ill five minutes later than its caller explains nothing;
    a queue that calls nobody grows because those that call it, its consumers, are slow;
    one that is overrun (`flooded`, or `starved`) is the sufferer, and one that starts more of its own (jobs, outgoing calls) the driver.
    """
    first: dict[str, int] = {}
    sick: dict[str, int] = {}
    callees: dict[str, set[str]] = {}
    for edge in edges:
        if edge.caller != edge.callee:
            callees.setdefault(edge.caller, set()).add(edge.callee)
    driving = {sign.service for sign in signs if sign.kind == "drive" and sign.time_ns >= onset_ns - SECOND_NS}
    for sign in signs:
        if sign.time_ns < onset_ns - SECOND_NS:
            continue
        first[sign.service] = min(first.get(sign.service, sign.time_ns), sign.time_ns)
        waits = sign.service not in callees and bool(BACKLOG.search(sign.what))
        if sign.kind not in ("requests", "drive") and not waits:
            sick[sign.service] = min(sick.get(sign.service, sign.time_ns), sign.time_ns)
    weights = {}
    for service, time_ns in first.items():
        weight = math.exp(-max(0, time_ns - onset_ns) / SECOND_NS / FADE_SECONDS)
        below = callees.get(service, set()) - overrun
        if service not in driving and (
            service not in sick
            or service in overrun
            or any(callee in sick and sick[callee] <= sick[service] + 5 * MINUTE_NS for callee in below)
        ):
            weight *= CALLEE_SICK
        weights[service] = weight
    return weights
