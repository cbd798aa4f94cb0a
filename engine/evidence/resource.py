"""Utilisation: a gauge of a resource that peaks higher than in its own last hours, beyond what other services show."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.normal.days import Days, subject_of
from engine.normal.robust import median_and_scale, ragged
from engine.records import F64, HOUR_NS, I64, Bool, Evidence, Family
from engine.take.points import SeriesStore
from engine.take.roles import Role, measure

HISTORY_NS: Final = 6 * HOUR_NS
LEAST_HISTORY: Final = 3  # values
YOUNG_NS: Final = HOUR_NS  # a series younger than this is compared with those before it, too
IDLE_SHARE: Final = 0.1  # added before the logarithm: below it, a rise is noise of an idle pod
LEAST_SCALE: Final = 0.25  # of the logarithm
SHARED: Final = 0.2  # share of equal values above which a metric belongs to the host
SHARED_SLOTS: Final = 60  # before the window, whose values are compared for it
ELSEWHERE: Final = 0.3  # of the z of an instance, which others of its service may have, for it to be the only one
LEAST_Z: Final = 0.01  # below it nothing is said


def utilisation_evidence(store: SeriesStore, start_ns: int, end_ns: int, days: Days | None = None) -> list[Evidence]:
    """Z of a gauge of unit 1 (or %) by service and metric.

        z = (max ln(v + .1) in the window - median) / sqrt(.25^2 + (1.48 MAD)^2), median and MAD of ln(v + .1) over 6 hours
        Z = sqrt(z^2 - o^2), o the highest z of another service in the same metric, at most z: a common rise has another cause

    A service's z is that of its highest instance. A series that began in the last hour (a new version, a new pod) goes on from the
    history of its service's other series of the metric before it: else what a deploy does would be its own normal. A series without a
    value in the window speaks by its latest one, if that is not older than 1.5 of its intervals. Gauges of the host are left out.
    What is usual at this hour of the day, where `days` knows it, takes the median's place if it is higher: a nightly job is no news.
    Returns evidence with Z > 0.
    """
    rows = np.array([row for row, key in enumerate(store.keys) if key.service and measure(key).role is Role.UTILISATION], np.int64)
    if not len(rows):
        return []
    slot_ns = store.settings.series_slot_ns
    metric_of = np.array([store.keys[row].metric for row in rows])
    at, time, value = _history(store, rows, start_ns - SHARED_SLOTS * slot_ns, end_ns)
    service_of = np.unique([store.keys[row].service for row in rows], return_inverse=True)[1]
    metric_code = np.unique(metric_of, return_inverse=True)[1]
    of_host = host_metrics(metric_code[at], service_of[at], time // slot_ns, value)
    rows = rows[~np.isin(metric_code, of_host)]
    at, time, value = _history(store, rows, start_ns - HISTORY_NS, end_ns)
    in_window = (time >= start_ns) | still_current(at, time, end_ns)
    keys = [store.keys[row] for row in rows]
    metrics = np.unique([key.metric for key in keys], return_inverse=True)[1]
    services = np.unique([key.service for key in keys], return_inverse=True)[1]
    logs = np.log(np.maximum(value, 0.0) + IDLE_SHARE)
    past = ~in_window
    subjects = np.unique([f"{key.service}\x1f{key.metric}\x1f{key.attributes}" for key in keys], return_inverse=True)[1]
    of_row, of_past = inherited(at[past], time[past], logs[past], subjects, begins(at, time, len(rows)), start_ns - YOUNG_NS)
    history = ragged(of_row, of_past, len(rows))
    median, mad = median_and_scale(history)
    peak = np.full(len(rows), -np.inf)
    np.maximum.at(peak, at[in_window], logs[in_window])
    scale = np.sqrt(LEAST_SCALE**2 + mad**2)
    known = np.isfinite(history).sum(axis=1) >= LEAST_HISTORY
    if days is not None:
        median = np.fmax(median, np.log(np.array([days.usual_peak(subject_of(key), end_ns) for key in keys]) + IDLE_SHARE))
    usable = known & np.isfinite(peak)
    z = np.where(usable, np.maximum((peak - median) / scale, 0.0), 0.0)
    found = []
    for row, own in beyond_others(z, metrics, services):
        key, usual, most = keys[row], float(np.exp(median[row]) - IDLE_SHARE), float(np.exp(peak[row]) - IDLE_SHARE)
        where = f" of {key.instance}" if key.instance else ""
        found.append(
            Evidence(
                family=Family.RESOURCE,
                service=key.service,
                subject=key.metric,
                start_ns=start_ns,
                end_ns=end_ns,
                z=own,
                observed=most,
                expected=usual,
                n=int(np.isfinite(history[row]).sum()),
                unit="1",
                sentence=f"{key.metric}{where} peaked at {most:.1%}, usually {usual:.1%} in the 6 hours before.",
                instance=key.instance if alone(z, row, (metrics == metrics[row]) & (services == services[row]) & usable) else "",
            )
        )
    return found


def alone(z: F64, row: int, peers: Bool) -> bool:
    """True if there are several peers, and none but the row has more than .3 of its z."""
    others = peers & (np.arange(len(z)) != row)
    return bool(others.any() and (z[others] <= ELSEWHERE * z[row]).all())


def begins(at: I64, time: I64, count: int) -> I64:
    """Time of the first value by row, the end of time where there is none."""
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, at, time)
    return first


def inherited(at: I64, time: I64, value: F64, subject: I64, first: I64, since_ns: int) -> tuple[I64, F64]:
    """Values by row, with those of other rows of the subject before it for rows that began after `since_ns`; rows ascend.

    >>> at, time = np.array([0, 0, 1]), np.array([1, 2, 9])
    >>> inherited(at, time, np.array([0.1, 0.2, 0.9]), np.zeros(2, np.int64), np.array([1, 9]), 5)
    (array([0, 0, 1, 1, 1]), array([0.1, 0.2, 0.1, 0.2, 0.9]))
    """
    earliest = np.full(int(subject.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(earliest, subject, first)
    young = np.flatnonzero((first >= since_ns) & (first < np.iinfo(np.int64).max) & (earliest[subject] < first))
    parts = [(at, value)]
    for row in young.tolist():
        before = (subject[at] == subject[row]) & (at != row) & (time < first[row])
        parts.append((np.full(int(before.sum()), row, np.int64), value[before]))
    rows, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    own = np.arange(len(rows)) < len(at)  # comes after what was inherited: that is older
    order = np.lexsort((own, rows))
    return rows[order], values[order]


def beyond_others(z: F64, metric: I64, service: I64) -> list[tuple[int, float]]:
    """Best row of each service and metric, and its Z less that of the best other service: sqrt(z^2 - min(other, z)^2), where positive.

    >>> beyond_others(np.array([5.0, 3.0, 1.0]), np.array([0, 0, 0]), np.array([0, 1, 1]))
    [(0, 4.0)]
    """
    found = []
    order = np.lexsort((-z, metric))
    for rows in np.split(order, np.flatnonzero(np.diff(metric[order])) + 1):
        best: dict[int, int] = {}
        for row in rows.tolist():
            best.setdefault(int(service[row]), row)
        ranked = [float(z[row]) for row in best.values()]
        for row in best.values():
            own = float(z[row])
            other = (ranked[1] if len(ranked) > 1 else 0.0) if own >= ranked[0] else ranked[0]
            left = np.sqrt(own**2 - min(other, own) ** 2)
            if left > LEAST_Z:
                found.append((row, float(left)))
    return found


def host_metrics(metric: I64, service: I64, slot: I64, value: F64) -> I64:
    """Metrics that belong to the host: in more than 20 % of the values that are not 0, another service has exactly the same in that slot.

    Services on one host report the host's gauges alike; those of their own pods differ in the last digit. Args: all [n].
    """
    use = value != 0
    metric, service, slot, value = metric[use], service[use], slot[use], value[use]
    order = np.lexsort((service, value, slot, metric))
    metric, service, slot, value = metric[order], service[order], slot[order], value[order]
    same = (metric[1:] == metric[:-1]) & (slot[1:] == slot[:-1]) & (value[1:] == value[:-1])
    group = np.concatenate([[0], np.cumsum(~same)])[: len(metric)]
    other = same & (service[1:] != service[:-1])
    several = np.zeros(int(group.max(initial=-1)) + 1, bool)
    several[group[1:][other]] = True
    shared = np.bincount(metric, weights=several[group].astype(float))
    total = np.bincount(metric)
    return np.flatnonzero(shared > SHARED * np.maximum(total, 1))


def _history(store: SeriesStore, rows: I64, start_ns: int, end_ns: int) -> tuple[I64, I64, F64]:
    """As SeriesStore.history, with positions in `rows`."""
    row, time, value = store.history(rows, start_ns, end_ns)
    return np.searchsorted(rows, row).astype(np.int64), time, value


def still_current(at: I64, time: I64, end_ns: int) -> Bool:
    """The last value of each series, where it is no older than 1.5 times the distance to the value before."""
    last = np.append(at[1:] != at[:-1], True)[: len(at)]
    before = np.roll(time, 1)
    has_before = np.concatenate([[False], at[1:] == at[:-1]])[: len(at)]
    current: Bool = last & has_before & (end_ns - time < 1.5 * (time - before))
    return current
