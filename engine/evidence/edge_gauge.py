"""Gauges of call edges: latency without spans, and edges that are no longer reported."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

import numpy as np

from engine.normal.robust import median_and_scale, quantile, ragged
from engine.records import F64, HOUR_NS, I64, Evidence, Family
from engine.take.points import SeriesStore
from engine.take.roles import words

HISTORY_NS: Final = 6 * HOUR_NS
RECENT_NS: Final = 3 * HOUR_NS  # for edges that stopped
LEAST_HISTORY: Final = 5
LEAST_SCALE: Final = 0.35  # of a logarithm: a rise that no one would call slow
MOST_STEADY: Final = 0.95  # no series is taken to report more surely than this
LEAST_REPORTS: Final = 10
LEAST_NATS: Final = 2.0
STOPPED_WEIGHT: Final = 0.5  # a sign of little traffic, too
LATENCY: Final = frozenset({"latency", "latencies", "duration", "time", "seconds", "rtt"})


class EdgeRows(NamedTuple):
    """Series that are measured between two services."""

    rows: I64  # of the store
    service: list[str]
    peer: list[str]


def edge_rows(store: SeriesStore, services: Collection[str] = ()) -> EdgeRows:
    """Gauges and statistics with an attribute whose value is the name of another service, known to the store or given."""
    known = {key.service for key in store.keys if key.service} | set(services)
    rows, owners, peers = [], [], []
    for row, key in enumerate(store.keys):
        if key.service and key.attributes and key.statistic != "rate":
            peer = next((value for _, value in key.attributes if value in known and value != key.service), "")
            if peer:
                rows.append(row)
                owners.append(key.service)
                peers.append(peer)
    return EdgeRows(np.array(rows, np.int64), owners, peers)


def edge_gauge_evidence(store: SeriesStore, start_ns: int, end_ns: int, services: Collection[str] = ()) -> list[Evidence]:
    """Latency of call edges from gauges, charged to both ends; for windows without spans.

        x = mean ln(v + c) in the window - median ln(v + c) of 6 hours;  c = a tenth of the median edge of that metric and unit
        variance = .35^2 + max(1.48 MAD, (90 % quantile - median) / 1.28)^2
        Z = sum(x / variance) / sqrt(sum(1 / variance)) over the edges of a service

    Returns evidence with Z > 0, its subject the edge that rose most.
    """
    edges = edge_rows(store, services)
    timed = [
        at
        for at, row in enumerate(edges.rows)
        if (store.keys[row].unit in ("s", "") and LATENCY & words(store.keys[row].metric)) or store.keys[row].unit == "s"
    ]
    edges = EdgeRows(edges.rows[timed], [edges.service[at] for at in timed], [edges.peer[at] for at in timed])
    count = len(edges.rows)
    if not count:
        return []
    row, time, value = store.history(edges.rows, start_ns - HISTORY_NS, end_ns)
    at = np.searchsorted(edges.rows, row).astype(np.int64)
    past = time < start_ns
    raw = ragged(at[past], value[past], count)
    small = _small(store, edges.rows, quantile(raw, 0.5))
    logs = np.log(np.maximum(value, 0.0) + small[at])
    median, mad = median_and_scale(ragged(at[past], logs[past], count))
    upper = (quantile(ragged(at[past], logs[past], count), 0.9) - median) / 1.28
    inside = np.bincount(at[~past], minlength=count)
    mean = np.bincount(at[~past], weights=logs[~past], minlength=count) / np.maximum(inside, 1)
    usable = (inside > 0) & (np.isfinite(raw).sum(axis=1) >= LEAST_HISTORY)
    shift = np.where(usable, mean - median, 0.0)
    precision = np.where(usable, 1.0 / (LEAST_SCALE**2 + np.maximum(np.maximum(mad, upper), 0.0) ** 2), 0.0)
    found = []
    for service in sorted({*edges.service, *edges.peer}):
        own = np.array([service in ends for ends in zip(edges.service, edges.peer, strict=True)])
        weight = float(precision[own].sum())
        z = float((precision[own] * shift[own]).sum() / np.sqrt(weight)) if weight > 0 else 0.0
        if z <= 0:
            continue
        most = int(np.argmax(np.where(own, precision * shift, -np.inf)))
        key, peer = store.keys[edges.rows[most]], edges.peer[most] if edges.service[most] == service else edges.service[most]
        observed, expected = float(np.exp(mean[most]) - small[most]), float(np.exp(median[most]) - small[most])
        found.append(
            Evidence(
                family=Family.GAP,
                service=service,
                subject=f"{key.metric} {edges.service[most]} - {edges.peer[most]}",
                start_ns=start_ns,
                end_ns=end_ns,
                z=z,
                observed=observed,
                expected=expected,
                n=int(inside[own].sum()),
                unit="s",
                sentence=f"{key.metric} between {service} and {peer} was {observed:.3g} s, usually {expected:.3g} s in the 6 hours before.",
                peer=peer,
            )
        )
    return found


def _small(store: SeriesStore, rows: I64, median: F64) -> F64:
    """A tenth of the median of the edges that share metric and unit, by row."""
    names = [(store.keys[row].metric, store.keys[row].unit) for row in rows]
    small = np.ones(len(rows))
    for name in set(names):
        same = np.array([each == name for each in names])
        usual = np.median(median[same & np.isfinite(median)]) if (same & np.isfinite(median)).any() else 1.0
        small[same] = max(0.1 * float(usual), 1e-9)
    return small


def stopped_evidence(store: SeriesStore, start_ns: int, end_ns: int, services: Collection[str] = ()) -> list[Evidence]:
    """Gauges of a call edge that were reported steadily in the last 3 hours and are missing in the window, charged to both ends.

        n intervals fit into the window, p = share reported before (at most .95), f = share reported now
        nats = n KL(f || p), at least 2, the largest series of the edge;  Z = .5 sqrt(2 * sum of nats over the service's edges)

    Only while the service itself reports something else. For ranking, never for opening: an edge is silent at night, too.
    """
    edges = edge_rows(store, services)
    if not len(edges.rows):
        return []
    row, time, _ = store.history(edges.rows, start_ns - RECENT_NS, end_ns)
    own = np.setdiff1d(np.flatnonzero([bool(key.service) for key in store.keys]), edges.rows)
    alive = {store.keys[each].service for each in np.unique(store.history(own, start_ns, end_ns)[0])}
    nats: dict[tuple[str, str], tuple[float, str]] = {}
    for at, each in enumerate(edges.rows):
        if edges.service[at] not in alive:
            continue
        quiet = silence_nats(time[np.searchsorted(row, each, "left") : np.searchsorted(row, each, "right")], start_ns, end_ns)
        edge = (min(edges.service[at], edges.peer[at]), max(edges.service[at], edges.peer[at]))
        if quiet >= LEAST_NATS and quiet > nats.get(edge, (0.0, ""))[0]:
            nats[edge] = (quiet, store.keys[each].metric)
    found = []
    for service in sorted({end for edge in nats for end in edge}):
        mine = {edge: said for edge, said in nats.items() if service in edge}
        total = sum(said[0] for said in mine.values())
        loudest = max(mine, key=lambda edge: mine[edge][0])
        peer = loudest[0] if loudest[1] == service else loudest[1]
        found.append(
            Evidence(
                family=Family.ABSENCE,
                service=service,
                subject=f"{mine[loudest][1]} {loudest[0]} - {loudest[1]}",
                start_ns=start_ns,
                end_ns=end_ns,
                z=float(STOPPED_WEIGHT * np.sqrt(2 * total)),
                observed=0.0,
                expected=float(len(mine)),
                n=len(mine),
                unit="{edge}",
                sentence=f"{mine[loudest][1]} between {service} and {peer} is no longer reported, while {service} still reports.",
                peer=peer,
                for_opening=False,
            )
        )
    return found


def silence_nats(time: I64, start_ns: int, end_ns: int) -> float:
    """n KL(f || p) of a series that reports less in the last n intervals than before; 0 if it does not. Times rise.

    Half an interval more is looked at: a point that is on its way is not missing.

    >>> every_second = np.arange(1, 57)
    >>> round(silence_nats(every_second, 57, 60), 2)
    8.99
    """
    before = time[time <= start_ns]
    if len(before) < LEAST_REPORTS:
        return 0.0
    interval = float(np.median(np.diff(before)))
    p = min(MOST_STEADY, len(before) / ((before[-1] - before[0]) / interval + 1))
    n = int((end_ns - start_ns) // interval)
    if n < 1:
        return 0.0
    f = min(n, int((time > end_ns - (n + 0.5) * interval).sum())) / n
    if f >= p:
        return 0.0
    reported = f * np.log(f / p) if f > 0 else 0.0
    return float(n * (reported + (1 - f) * np.log((1 - f) / (1 - p))))
