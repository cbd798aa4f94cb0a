"""Plain methods to be better than, on the same cases: N-Sigma, BARO-like and loudest metric for services, the latest deploy for changes.

They see a recording's metric values and changes only, and are told the time of the fault.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from engine.records import F64, HOUR_NS, I64, Batch, ChangeType
from engine.strings import Resources, Strings

#: Values before the fault that stand for normal, and the fewest that a series must have.
HISTORY_NS = 6 * HOUR_NS
FEWEST = 5
NAMES = ("n-sigma", "baro-like", "loudest metric")
CHANGE_NAMES = ("latest deploy", "latest change")


class MetricLog:
    """Every value of a recording by series, and its changes. For scoring only: it grows with the recording."""

    def __init__(self, strings: Strings, resources: Resources) -> None:
        self._strings, self._resources = strings, resources
        self._parts: list[tuple[I64, I64, F64]] = []  # key, time, value
        self._keys: dict[tuple[int, int, int], int] = {}  # (resource, metric, series) -> key
        self._changes: dict[str, tuple[int, ChangeType]] = {}
        self._sorted: tuple[I64, F64, I64] | None = None  # times and values by key, and where each key begins

    def take(self, batch: Batch) -> None:
        """Keep a batch's values (histograms: their mean) and changes."""
        for change in batch.changes:
            self._changes.setdefault(change.id, (change.time_ns, change.type))
        points = batch.points
        if points is None or not len(points.time_ns):
            return
        triples = np.stack([points.resource, points.metric, points.series])
        distinct, inverse = np.unique(triples, axis=1, return_inverse=True)
        keys = [self._keys.setdefault((int(a), int(b), int(c)), len(self._keys)) for a, b, c in distinct.T]
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(np.isnan(points.value), points.sum / points.count, points.value)
        kept = np.isfinite(value)
        self._sorted = None
        self._parts.append((np.asarray(keys, np.int64)[inverse.reshape(-1)][kept], points.time_ns[kept], value[kept]))

    def scores(self, start_ns: int, end_ns: int, metric: str = "") -> dict[str, dict[str, float]]:
        """{method: {service: score}} for a fault in [start, end]; `metric` restricts it to one metric where some series has that name.

        With x the values in the window, r those of the six hours before it, each a service's loudest series:
            n-sigma         max |x - mean r| / sd r             (RCAEval's N-Sigma)
            baro-like       max |x - median r| / IQR r          (RobustScorer of BARO, Pham et al. 2024, without its change point)
            loudest metric  |mean x - mean r| / |mean r|
        """
        best: dict[str, dict[str, float]] = {name: defaultdict(float) for name in NAMES}
        if not self._parts:
            return {name: {} for name in NAMES}
        time_ns, value, first = self._by_key()
        names = {code: self._strings.text("value", code) for _, code, _ in self._keys}
        wanted = {code for code, name in names.items() if name == metric} or set(names)
        for (resource, code, _), row in self._keys.items():
            service = self._resources[resource].service
            if code not in wanted or not service:
                continue
            times, values = time_ns[first[row] : first[row + 1]], value[first[row] : first[row + 1]]
            at, start, end = np.searchsorted(times, [start_ns - HISTORY_NS, start_ns, end_ns + 1])
            normal, x = values[at:start], values[start:end]
            if len(normal) < FEWEST or not len(x):
                continue
            for name, score in _deviations(normal, x).items():
                best[name][service] = max(best[name][service], score)
        return {name: dict(scores) for name, scores in best.items()}

    def _by_key(self) -> tuple[I64, F64, I64]:
        if self._sorted is None:
            key, time_ns, value = (np.concatenate(column) for column in zip(*self._parts, strict=True))
            order = np.lexsort((time_ns, key))
            self._sorted = time_ns[order], value[order], np.searchsorted(key[order], np.arange(len(self._keys) + 1))
        return self._sorted

    def latest(self, before_ns: int) -> dict[str, str]:
        """{method: id} of the last deploy and of the last change of any kind before a time; "" where there is none."""
        before = [(time, id, type) for id, (time, type) in self._changes.items() if time <= before_ns]
        deploys = [(time, id) for time, id, type in before if type == ChangeType.DEPLOYMENT]
        every = [(time, id) for time, id, _ in before]
        return {name: max(known, default=(0, ""))[1] for name, known in zip(CHANGE_NAMES, (deploys, every), strict=True)}


def _deviations(normal: F64, x: F64) -> Mapping[str, float]:
    """Deviation of x by each method; a series that never moved before counts by its own size."""
    mean, spread = float(normal.mean()), float(normal.std())
    low, median, high = (float(q) for q in np.quantile(normal, [0.25, 0.5, 0.75]))
    tiny = 1e-9 + 1e-3 * abs(mean)  # a constant series: a thousandth of its size
    return {
        "n-sigma": float(np.abs(x - mean).max()) / max(spread, tiny),
        "baro-like": float(np.abs(x - median).max()) / max(high - low, tiny),
        "loudest metric": abs(float(x.mean()) - mean) / max(abs(mean), 1e-9),
    }
