"""Latency and failures of services that do not count their requests: each against its own past, less what those it calls rose by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.evidence.golden import LEVELS, Golden, conserving_services, golden
from engine.evidence.symptom import FAILURES, LEAST_SECONDS, failures_z, level
from engine.records import F64, HOUR_NS, Bool, Evidence, Family, TopologyEdge
from engine.take.points import SeriesStore
from engine.take.roles import measure

HISTORY_NS: Final = 6 * HOUR_NS
LEAST_SCALE: Final = 0.2  # of a logarithm: nobody says of how many requests it is, so a rise by half may be chance
OPENING_ROWS: Final = 12  # of history, before a departure may open an incident
CURRENT: Final = 1.5  # rows: the last row speaks until the next one is that late
FELT_Z: Final = 2.0  # of an entry, from which its users feel what its callees show
LOUD, MOST, SLOWLY = 4.0, 4.9, 6.0  # Z beyond LOUD is squeezed below MOST


@dataclass(frozen=True, slots=True)
class Departure:
    """How a statistic of a service departs in a window. Seconds, or a share of failures."""

    statistic: str  # failures, mean, p99, ...
    z: float
    scale: float  # of one standard deviation: of ln(x + 1 ms), or of a share
    onset: int  # row
    observed: float
    expected: float
    history: int  # rows


def level_evidence(store: SeriesStore, edges: Iterable[TopologyEdge], start_ns: int, end_ns: int) -> list[Evidence]:
    """Evidence of every service that reports a latency or a share of failures, and not how many requests it is of.

        y = ln(latency + 1 ms);  z = (y - median) / max(1.48 MAD, (90 % quantile - median) / 1.28, .2), over six hours before
        failures as `failures_z`, of 100 requests a row
        less what it waits for: observed - max over its callees of (observed - expected), where that is positive
        Z = z up to 4, then 4 + .9 tanh((z - 4) / 6)

    z of a window is the (lower) median of its rows': one row of a quantile is chance as often as not. The mean speaks for a service's
    latency where it is reported, else the highest quantile. Before the next row is due the last one speaks. Z is squeezed: beyond what
    opens an incident it says that users wait, and who makes them wait is better told by any evidence that is local.
    """
    own = {key.service for key in store.keys if key.service and measure(key).role in LEVELS} - conserving_services(store)
    table = golden(store, start_ns - HISTORY_NS, end_ns, own) if own else None
    if table is None or table.stamp_ns[-1] < end_ns - CURRENT * table.step_ns:
        return []
    rows = table.stamp_ns >= min(start_ns, int(table.stamp_ns[-1]))
    calls = {(edge.caller, edge.callee) for edge in edges if edge.caller != edge.callee}
    called = {callee for _, callee in calls}
    departed = {name: departures(table, at, rows) for at, name in enumerate(table.services)}
    felt = any(one.z >= FELT_Z for name, some in departed.items() if name not in called for one in some.values())
    found = []
    for service, some in departed.items():
        below = [departed[callee] for caller, callee in calls if caller == service and callee in departed]
        rest = [(remaining(one, kind, below), one) for kind, one in some.items()]
        z, most = max(rest, key=lambda each: (each[0], each[1].z), default=(0.0, None))
        if most is not None and z > 0:
            onset_ns = int(table.stamp_ns[most.onset]) - table.step_ns
            visible = service not in called or felt
            found.append(_evidence(service, squeezed(z), most, onset_ns, end_ns, int(rows.sum()), visible=visible))
    return found


def departures(table: Golden, at: int, rows: Bool) -> dict[str, Departure]:
    """How a service's failures and latency depart in the rows, by kind."""
    found = {}
    share = table.failure_share[at]
    z = failures_z(share, np.zeros(len(share)), ~rows, rows)
    if (one := _departure(FAILURES, share, z, 1.0, rows)) is not None:
        found[FAILURES] = one
    reported = [name for name, values in table.latency.items() if np.isfinite(values[at]).any()]
    if reported:
        name = max(reported, key=_telling)
        x = table.latency[name][at]
        y = np.log(np.maximum(x, 0.0) + LEAST_SECONDS)
        usual = level(y, ~rows, LEAST_SCALE)
        if usual is not None and (one := _departure(name, x, (y - usual[0]) / usual[1], usual[1], rows)) is not None:
            found["latency"] = one
    return found


def remaining(one: Departure, kind: str, below: Iterable[Mapping[str, Departure]]) -> float:
    """z of what a service's callees do not explain: what they rose by is taken off what it rose by."""
    theirs = max((some[kind].observed - some[kind].expected for some in below if kind in some and some[kind].z > 0), default=0.0)
    rise = one.observed - one.expected
    if one.z <= 0 or rise <= 0 or theirs <= 0:
        return max(one.z, 0.0)
    left = max(0.0, rise - theirs)
    if kind == FAILURES:
        return one.z * left / rise
    return min(one.z, float(np.log((one.expected + left + LEAST_SECONDS) / (one.expected + LEAST_SECONDS))) / one.scale)


def squeezed(z: float) -> float:
    """z up to 4, then slowly towards 4.9.

    >>> [round(squeezed(z), 2) for z in (3.0, 4.0, 6.0, 16.0)]
    [3.0, 4.0, 4.29, 4.87]
    """
    return z if z <= LOUD else LOUD + (MOST - LOUD) * float(np.tanh((z - LOUD) / SLOWLY))


def _telling(statistic: str) -> tuple[bool, float]:
    """Order of the statistics of a latency: the mean is of all requests, a high quantile of more than a low one."""
    return statistic == "mean", float(statistic[1:]) if statistic[1:].replace(".", "", 1).isdigit() else 0.0


def _departure(statistic: str, x: F64, z: F64, scale: float, rows: Bool) -> Departure | None:
    """The departure of a statistic, None without a row in the window."""
    inside = np.flatnonzero(rows & np.isfinite(x))
    past = x[~rows & np.isfinite(x)]
    if not len(inside) or not len(past):
        return None
    middle = float(np.quantile(z[inside], 0.5, method="lower"))
    onset = int(inside[z[inside] >= middle][0])
    return Departure(statistic, middle, scale, onset, float(np.median(x[inside])), float(np.median(past)), len(past))


def _evidence(service: str, z: float, most: Departure, onset_ns: int, end_ns: int, rows: int, *, visible: bool) -> Evidence:
    failures = most.statistic == FAILURES
    if failures:
        said = f"{most.observed:.2%} of its requests failed, {most.expected:.2%} in the 6 hours before"
    else:
        said = f"{most.statistic} latency {most.observed:.3g} s, {most.expected:.3g} s in the 6 hours before"
    return Evidence(
        family=Family.LEVEL,
        service=service,
        subject=f"{FAILURES if failures else 'latency'} of {service}",
        start_ns=onset_ns,
        end_ns=end_ns,
        z=z,
        observed=most.observed,
        expected=most.expected,
        n=rows,
        unit="1" if failures else "s",
        sentence=f"{service}: {said}; how many requests it is of is not reported.",
        for_opening=most.history >= OPENING_ROWS,
        user_visible=visible,
    )
