"""Excess in physical units, passed down the calls: seconds of waiting and failed requests are conserved, relative deviations are not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from engine.evidence.golden import Golden
from engine.records import F64, Bool

NORMAL_LEAST: Final = 5  # rows, for a long memory
GATE_LEAST: Final = 100  # rows, to tell a callee that nobody waits for
GATE_SLOPE: Final = 0.3
GATE_NOISES: Final = 4.0
TINY: Final = 1e-12


def weighted_mean(x: F64, weight: F64) -> float:
    """Mean over finite x of positive weight; NaN if there is none."""
    ok = np.isfinite(x) & (weight > 0)
    return float((x[ok] * weight[ok]).sum() / weight[ok].sum()) if ok.any() else math.nan


def smaller_rise(level: float, baselines: Sequence[float], otherwise: float) -> float:
    """Distance of a level from its baselines: the smallest, if all have one sign, else 0. `otherwise` without any baseline.

    >>> smaller_rise(5.0, [2.0, 4.0], 0.0), smaller_rise(3.0, [2.0, 4.0], 0.0)
    (1.0, 0.0)
    """
    rises = [level - baseline for baseline in baselines if math.isfinite(baseline)]
    if not rises:
        return otherwise
    if min(rises) > 0:
        return min(rises)
    return max(rises) if max(rises) < 0 else 0.0


def excess_of_all(requests: F64, level: F64, *, normal: Bool, high: F64, low: F64, entry: int, failures: bool) -> tuple[F64, F64]:
    """Excess E of every service a row of the symptom, and its usual noise S: seconds of waiting, or failed requests.

        E = N_hi * d;  N_hi, L_hi: requests and level in the rows of the symptom;  d: the smaller of L_hi - median over normal rows (long
        memory) and L_hi - mean over the rows beside the symptom (near memory), 0 if they disagree
        S = 84 % quantile of |N (L - median)| over normal rows, half of |E| where there are fewer than five

    Where the two memories disagree on the entry itself, the near one alone counts for all, then the long one alone.
    Args: requests, level [services, rows]; normal, high (weights), low (weights) [rows].
    """
    for use_long, use_near in ((True, True), (False, True), (True, False), (True, True)):
        pairs = [
            _excess(requests[at], level[at], normal=normal, high=high, low=low, memories=(use_long, use_near), failures=failures)
            for at in range(len(requests))
        ]
        if pairs[entry][0] > 0:
            break
    return np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])


def _excess(
    requests: F64, level: F64, *, normal: Bool, high: F64, low: F64, memories: tuple[bool, bool], failures: bool
) -> tuple[float, float]:
    level_high = weighted_mean(level, high * requests)
    requests_high = float((high * requests).sum() / max(high.sum(), TINY))
    if not math.isfinite(level_high) or requests_high <= 0:
        return 0.0, 1e-9
    usable = normal & np.isfinite(level) & (requests > 0)
    known = int(usable.sum()) >= NORMAL_LEAST
    median = float(np.median(level[usable])) if known else math.nan
    near = weighted_mean(level, low * requests)
    baselines = [baseline for baseline, used in zip((median, near), memories, strict=True) if used]
    excess = requests_high * smaller_rise(level_high, baselines, level_high if failures else 0.0)
    noise = float(np.quantile(np.abs(requests[usable] * (level[usable] - median)), 0.84)) if known else 0.5 * abs(excess)
    return excess, max(noise, 1e-9 if known else 0.5e-9)


def gates(requests: F64, level: F64, normal: Bool, calls: Sequence[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """How many noises the excess of a callee must reach before its caller may be explained by it: 0, or 4 if nobody waits for it.

    On normal rows, fluctuations N (L - median), cut off at twice the 90 % quantile of their size: slope = cov(caller, callee) /
    var(callee). A callee whose fluctuations do not reach the caller (slope + 2 se < .3, at least 100 rows) is called asynchronously.
    """
    fluctuation: dict[int, F64] = {}
    for at in {end for call in calls for end in call}:
        n, x = requests[at][normal], level[at][normal]
        ok = np.isfinite(x) & (n > 0)
        if ok.sum() >= GATE_LEAST:
            deviation = np.where(ok, n * (x - np.median(x[ok])), 0.0)
            limit = max(2 * float(np.quantile(np.abs(deviation), 0.9)), 1e-9)
            fluctuation[at] = np.clip(deviation, -limit, limit)
    factors = {}
    for caller, callee in calls:
        factors[caller, callee] = 0.0
        if caller in fluctuation and callee in fluctuation:
            above, below = fluctuation[caller], fluctuation[callee]
            if above.std() > 0 and below.std() > 0:
                slope = float(np.cov(above, below, bias=True)[0, 1] / below.var())
                error = math.sqrt(max(0.0, float(above.var() - slope * slope * below.var())) / float(below.var()) / len(below))
                factors[caller, callee] = GATE_NOISES if slope + 2 * error < GATE_SLOPE else 0.0
    return factors


def callers_first(entry: int, callees: Mapping[int, Sequence[int]]) -> list[int]:
    """What can be reached from the entry, callers before callees; a cycle is cut where it closes. No recursion: chains may be long."""
    order: list[int] = []
    seen = {entry}
    stack = [(entry, iter(callees.get(entry, ())))]
    while stack:
        at, left = stack[-1]
        for callee in left:
            if callee not in seen:
                seen.add(callee)
                stack.append((callee, iter(callees.get(callee, ()))))
                break
        else:
            order.append(at)
            stack.pop()
    return order[::-1]


def flow_down(excess: F64, noise: F64, factors: Mapping[tuple[int, int], float], entry: int) -> tuple[F64, F64]:
    """Pass the entry's excess down the calls.

        at u, callers first: P_v = E_v of callees v that exceed their gate;  g = min(1, F_u / sum P)
        F_v += g P_v;  own_u = F_u - g sum P

    Returns: flow F and own [services], in units of the excess.
    """
    callees: dict[int, list[int]] = {}
    for caller, callee in sorted(factors):
        callees.setdefault(caller, []).append(callee)
    order = callers_first(entry, callees)
    flow, own = np.zeros(len(excess)), np.zeros(len(excess))
    flow[entry] = max(float(excess[entry]), TINY)
    place = {at: number for number, at in enumerate(order)}
    for at in order:
        passed = {
            callee: float(excess[callee])
            for callee in callees.get(at, ())
            if place[callee] > place[at] and excess[callee] > factors[at, callee] * noise[callee] and excess[callee] > 0
        }
        total = sum(passed.values())
        part = min(1.0, float(flow[at]) / total) if total > 0 else 0.0
        for callee, value in passed.items():
            flow[callee] += value * part
        own[at] = max(0.0, float(flow[at]) - total * part)
    return flow, own


def load_rise(golden: Golden, *, normal: Bool, high: F64, low: F64) -> tuple[F64, F64]:
    """How many more requests came than usual, by service: ratio r and the rise in noises.

        r = N_hi / max(long, near, 1);  noises = (N_hi - max(long, near)) / max(1.48 MAD, sqrt(max(long, 1)))

    long: median of normal rows; near: mean over the rows beside the symptom.
    """
    requests = golden.requests
    usual = np.median(requests[:, normal], axis=1) if normal.any() else np.zeros(len(requests))
    mad = 1.4826 * np.median(np.abs(requests[:, normal] - usual[:, None]), axis=1) if normal.any() else np.zeros(len(requests))
    risen = (high * requests).sum(axis=1) / max(float(high.sum()), TINY)
    near = (low * requests).sum(axis=1) / float(low.sum()) if low.sum() > 0 else usual
    most = np.maximum(usual, near)
    noise = np.maximum(mad, np.sqrt(np.maximum(usual, 1.0)))
    return risen / np.maximum(most, 1.0), (risen - most) / noise
