"""What users see: a component that nobody calls, and the statistic of it that departs most from its past."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.evidence.golden import Golden
from engine.normal.robust import MAD_TO_SD
from engine.records import F64, Bool, TopologyEdge

FAILURES: Final = "failures"  # the statistic that is no latency
LEAST_SCALE: Final = 0.05  # of a logarithm of a latency: 5 % more is what no one would call slow
LEAST_SECONDS: Final = 1e-3  # added to latencies before the logarithm: a millisecond matters to no one
HISTORY_LEAST: Final = 5  # rows
RECENT: Final = 3  # rows whose lowest is the near memory
UNCOUNTED: Final = 100.0  # requests that a row is taken to hold where nobody counts them
HIGH: Final = 0.5  # elevation of a row that shows the symptom
LOW: Final = 0.3  # and below which one lies beside it


@dataclass(frozen=True)
class Symptom:
    """A departure at an entry. Rows as in the table it was found in: `normal` lie before the window, `low` beside the symptom."""

    service: str
    statistic: str  # failures, mean, p50, ...
    z: float
    observed: float  # seconds, or share
    expected: float
    normal: Bool
    elevation: F64  # 0 ... 1; 0 outside the window
    low: F64  # 1 or 0

    @property
    def failures(self) -> bool:
        """Requests fail, instead of taking longer."""
        return self.statistic == FAILURES

    @property
    def high(self) -> F64:
        """Weights of the rows that show the symptom."""
        return np.where(self.elevation >= HIGH, self.elevation, 0.0)


def entries(golden: Golden, edges: Iterable[TopologyEdge]) -> dict[str, float]:
    """Services that no other calls, and how much a departure counts there: sqrt(requests / requests of the busiest entry).

    Where all are called (a cycle), all are entries. One whose requests nobody counts weighs 1.
    """
    called = {edge.callee for edge in edges if edge.caller != edge.callee}
    uncalled = [at for at, name in enumerate(golden.services) if name not in called] or list(range(len(golden.services)))
    volume = golden.requests.sum(axis=1)
    most = max((float(volume[at]) for at in uncalled), default=0.0)
    return {
        golden.services[at]: float(np.sqrt(volume[at] / most)) if most > 0 and golden.services[at] in golden.counted else 1.0
        for at in uncalled
    }


def latency_z(x: F64, normal: Bool, rows: Bool) -> F64:
    """Z of the rows of a latency, one-sided; 0 outside `rows`.

        y = ln(x + 1 ms);  Z = (y - min(median, least of the 3 rows before)) / max(1.48 MAD, (90 % quantile - median) / 1.28, .05)

    Median, MAD and quantile are those of the normal rows. The least of the rows before is there because the long median may lie above
    today's level. Args: x float64 [rows], NaN where not reported.
    """
    z, y = np.zeros(len(x)), np.log(np.maximum(x, 0.0) + LEAST_SECONDS)
    known = level(y, normal, LEAST_SCALE)
    if known is None:
        return z
    median, scale = known
    for at in np.flatnonzero(rows & np.isfinite(y)):
        recent = y[max(0, at - RECENT) : at]
        least = float(np.min(recent[np.isfinite(recent)], initial=median))
        z[at] = max(0.0, (y[at] - least) / scale)
    return z


def level(y: F64, normal: Bool, least_scale: float) -> tuple[float, float] | None:
    """Median and scale, max(1.48 MAD, (90 % quantile - median) / 1.28, least scale), of the normal rows; None with fewer than 5."""
    past = y[normal & np.isfinite(y)]
    if len(past) < HISTORY_LEAST:
        return None
    median = float(np.median(past))
    mad, upper = MAD_TO_SD * float(np.median(np.abs(past - median))), (float(np.quantile(past, 0.9)) - median) / 1.28
    return median, max(mad, upper, least_scale)


def failures_z(share: F64, requests: F64, normal: Bool, rows: Bool) -> F64:
    """Z of the rows of a share of failed requests, one-sided; 0 outside `rows`.

    r = 2 (sqrt(k + 3/8) - sqrt(N p + 3/8)), k = N share, p the share over all normal rows     (Anscombe 1948)
    Z = (r - median r) / max(1.48 MAD r, (90 % quantile - median) / 1.28, 1)
    """
    z = np.zeros(len(share))
    count = np.where(requests > 0, requests, UNCOUNTED if not requests.any() else 0.0)
    known = np.isfinite(share) & (count > 0)
    past = normal & known
    if not past.any():
        return z
    failed = np.where(known, np.nan_to_num(share) * count, 0.0)
    usual = float(failed[past].sum() / count[past].sum())
    r = 2 * (np.sqrt(failed + 0.375) - np.sqrt(count * usual + 0.375))
    usual_r = level(r, past, 1.0)
    if usual_r is None:
        return z
    return np.where(rows & known, np.maximum((r - usual_r[0]) / usual_r[1], 0.0), 0.0)


def departures(golden: Golden, at: int, normal: Bool, rows: Bool) -> dict[str, float]:
    """Largest Z of a service in the given rows, by statistic.

    The mean and the highest quantile, where both rise in one row, say more than each: Z = (Z1 + Z2) / sqrt(3), half of their noise
    being common.
    """
    found = {FAILURES: float(failures_z(golden.failure_share[at], golden.requests[at], normal, rows).max(initial=0.0))}
    by_row = {name: latency_z(values[at], normal, rows) for name, values in golden.latency.items()}
    quantiles = sorted((name for name in by_row if name.startswith("p")), key=lambda name: float(name[1:]))
    if "mean" in by_row:
        z = by_row["mean"]
        both = (z + by_row[quantiles[-1]]) / np.sqrt(3.0) if quantiles else z
        found["mean"] = float(np.maximum(z, both).max(initial=0.0))
    return found


def find_symptom(golden: Golden, edges: Iterable[TopologyEdge], start_ns: int) -> Symptom | None:
    """The largest departure among the entries in rows stamped at or after start_ns; None if nothing departs.

    Where the last row is stamped before start_ns it stands for the window: slow metrics do not wait for their next point.
    """
    if not len(golden.stamp_ns):
        return None
    rows = golden.stamp_ns >= min(start_ns, int(golden.stamp_ns[-1]))
    normal = ~rows
    best: tuple[float, str, str] | None = None
    for name, weight in entries(golden, edges).items():
        for statistic, z in departures(golden, golden.services.index(name), normal, rows).items():
            if z * weight > 0 and (best is None or z * weight > best[0]):
                best = (z * weight, name, statistic)
    if best is None:
        return None
    z, service, statistic = best
    at = golden.services.index(service)
    x = golden.failure_share[at] if statistic == FAILURES else golden.latency[statistic][at]
    elevation, low, usual = row_weights(x, normal, rows)
    if not (elevation >= HIGH).any():
        return None
    return Symptom(service, statistic, z, float(np.nanmax(np.where(rows, x, np.nan))), usual, normal, elevation, low)


def row_weights(x: F64, normal: Bool, rows: Bool) -> tuple[F64, F64, float]:
    """How much each row shows the symptom, which rows lie beside it, and the level they are compared with.

        elevation = clip((x - ref) / (max x - ref), 0, 1);  ref = min(median of normal rows, least x of the window)

    Beside it: rows of the window with an elevation below .3; if there are none, up to three rows before the window, which then count
    for the least x, too.
    """
    usable = rows & np.isfinite(x)
    if usable.sum() and not (usable & (x < np.nanmax(x[usable]))).any():
        before = np.flatnonzero(normal & np.isfinite(x))[-RECENT:]
    else:
        before = np.zeros(0, np.int64)
    past = x[normal & np.isfinite(x)]
    reference = min(float(np.median(past)) if len(past) else np.inf, float(np.min(x[usable])))
    if len(before):
        reference = min(reference, float(x[before].min()))
    span = max(float(np.max(x[usable])) - reference, 1e-12)
    elevation = np.where(usable, np.clip((np.nan_to_num(x) - reference) / span, 0.0, 1.0), 0.0)
    low = np.where(usable & (elevation < LOW), 1.0, 0.0)
    if not low.any():
        low[np.flatnonzero(normal & np.isfinite(x))[-RECENT:]] = 1.0
    return elevation, low, reference
