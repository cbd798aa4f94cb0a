"""Which end of slow calls is slow: shifts of call gaps and self times, pooled under hypotheses about one service.

    net: calls into it | io: calls into and out of it | host: these and its self times | self: its self times
    Z(hypothesis) = m / sqrt(1 / sum(1/V) + 1 / traces), m = mean shift weighted by 1/V; 0 if negative

The second term keeps a handful of slow traces from looking certain: a single trace may be off by a factor of e. Keys' shifts and their
variances V are those of `engine.normal.levels`; self times weigh 1 / sqrt(operations of the service) as they are slow together.
A call has two ends, so first each end is believed less where the other is slow everywhere else:

    claim(x) = x (1 - .7 clip((Z - 1) / 4, 0, 1) clip(2 m / max(x, .1), 0, 1)) for x > 0

with Z and m those of the caller as a host without this edge, or of the callee's other callers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.normal.levels import Shift
from engine.records import F64, I64
from engine.take.joined import KIND_SHIFT, SERVICE_SHIFT
from engine.windows import EDGE, SELF, Codes, View

HYPOTHESES = ("net", "io", "host", "self")
NET, IO, HOST, SELF_ONLY = range(4)
MOST_EXPLAINED = 0.7


@dataclass(frozen=True)
class Keys:
    """Edges or operations with a history: one row a key."""

    key: I64
    caller: I64  # service; of an operation its own
    callee: I64
    shift: F64
    variance: F64
    usual: F64  # ln(1 + ms)
    count: F64  # in the window


@dataclass(frozen=True)
class Latency:
    """Shifts and what they say of each service."""

    z: F64  # [4, services], in the order of HYPOTHESES
    edges: Keys
    selfs: Keys
    traces: F64  # [services]


def pooled_z(weighted: F64, precision: F64, traces: F64) -> F64:
    """Z of a precision-weighted mean shift: sum x/V and sum 1/V of each service, and its traces."""
    precision = np.maximum(precision, 1e-9)
    z: F64 = np.where(weighted > 0, weighted / precision / np.sqrt(1 / precision + 1 / np.maximum(traces, 1)), 0.0)
    return z


def latency(view: View, found: Shift, codes: Codes, services: int, *, explain_away: bool = True) -> Latency:
    """All hypotheses about all services, from the shifts of the view's values."""
    window = view.values
    known = np.flatnonzero(np.isfinite(found.shift))
    key = codes.values.keys[window.key[known]]
    kind, payload = key >> KIND_SHIFT, key & ((1 << KIND_SHIFT) - 1)
    caller = np.where(kind == EDGE, payload >> SERVICE_SHIFT, 0)
    is_self = kind == SELF
    caller[is_self] = codes.operations.keys[payload[is_self]] >> SERVICE_SHIFT
    callee = np.where(kind == EDGE, payload & ((1 << SERVICE_SHIFT) - 1), caller)

    def keys(chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Keys:
        of_window = known[chosen]
        shift, variance, usual = found.shift[of_window], found.variance[of_window], found.usual[of_window]
        return Keys(window.key[of_window], caller[chosen], callee[chosen], shift, variance, usual, window.count[of_window])

    edges, selfs = keys(kind == EDGE), keys(is_self)
    traces = view.traces_by_service(services)
    return Latency(hypotheses(edges, selfs, traces, services, most=MOST_EXPLAINED if explain_away else 0.0), edges, selfs, traces)


def hypotheses(edges: Keys, selfs: Keys, traces: F64, services: int, *, most: float = MOST_EXPLAINED) -> F64:
    """Z of the four hypotheses about each service, [4, services]. Args: most: of a call's shift that its other end may explain."""

    def total(node: I64, values: F64) -> F64:
        return np.bincount(node, weights=values, minlength=services).astype(np.float64)

    caller, callee, owner, x = edges.caller, edges.callee, selfs.caller, edges.shift
    precision = 1 / edges.variance
    self_precision = 1 / selfs.variance / np.sqrt(np.bincount(owner, minlength=services)[owner])
    into, into_precision = total(callee, precision * x), total(callee, precision)
    out, out_precision = total(caller, precision * x), total(caller, precision)
    own, own_precision = total(owner, self_precision * selfs.shift), total(owner, self_precision)

    def explained(weighted: F64, weight: F64, other: I64) -> F64:
        mean, z = weighted / np.maximum(weight, 1e-9), pooled_z(weighted, weight, traces[other])
        share: F64 = most * np.clip((z - 1) / 4, 0, 1) * np.clip(2 * mean / np.maximum(x, 0.1), 0, 1)
        return share

    by_caller = explained(
        into[caller] + out[caller] - precision * x + own[caller],
        into_precision[caller] + out_precision[caller] - precision + own_precision[caller],
        caller,
    )
    by_callee = explained(into[callee] - precision * x, into_precision[callee] - precision, callee)
    into = total(callee, precision * np.where(x > 0, x * (1 - by_caller), x))
    out = total(caller, precision * np.where(x > 0, x * (1 - by_callee), x))
    return np.stack(
        [
            pooled_z(into, into_precision, traces),
            pooled_z(into + out, into_precision + out_precision, traces),
            pooled_z(into + out + own, into_precision + out_precision + own_precision, traces),
            pooled_z(own, own_precision, traces),
        ]
    )
